"""Where a face is: box and five points as one array, so that they move as one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..five_point import Points

__all__ = ["Geometry", "overlap"]


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """`rows`, shape = (7, 2), pixels: the box's centre, its width and height, then the five points."""

    rows: Points

    @staticmethod
    def of(box_xywh: npt.ArrayLike, landmarks: npt.ArrayLike) -> Geometry:
        """From the box's left, top, width and height, and ten coordinates of points."""
        box = np.asarray(box_xywh, np.float64)
        points = np.asarray(landmarks, np.float64).reshape(5, 2)
        return Geometry(np.vstack([box[:2] + box[2:] / 2, box[2:], points]))

    @property
    def centre(self) -> Points:
        centre: Points = self.rows[0]
        return centre

    @property
    def side(self) -> float:
        """Geometric mean of width and height."""
        return math.sqrt(float(self.rows[1, 0]) * float(self.rows[1, 1]))

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1)."""
        (x, y), (width, height) = self.rows[0].tolist(), self.rows[1].tolist()
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2

    @property
    def landmarks(self) -> Points:
        return self.rows[2:]

    def moved(self, similarity: Points) -> Geometry:
        """Under a (2, 3) similarity; the box stays upright."""
        turn, shift = similarity[:, :2], similarity[:, 2]
        rows = self.rows @ turn.T + shift
        rows[1] = self.rows[1] * math.hypot(similarity[0, 0], similarity[1, 0])
        return Geometry(rows)

    def shifted(self, by: npt.ArrayLike) -> Geometry:
        rows = self.rows + np.asarray(by, np.float64)
        rows[1] = self.rows[1]
        return Geometry(rows)


def overlap(one: Geometry, other: Geometry) -> float:
    """Intersection over union of the boxes."""
    a, b = one.box, other.box
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
