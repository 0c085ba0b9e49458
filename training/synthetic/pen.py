"""A pen that draws in head coordinates onto a pixel canvas through the head's pose."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Pen", "Pose", "arc", "blend", "closed_curve"]

Floats = npt.NDArray[np.float64]
Colour = tuple[int, int, int]

FRACTION_BITS = 4  # OpenCV takes points as fixed-point integers
BULGE = np.array([1 / 0.62**2, 1 / 0.9**2])  # the face bulges as an ellipsoid of these half axes
DEPTH = 0.45  # how far the middle of the face stands before its outline


@dataclass(frozen=True)
class Pose:
    """`yaw` and `pitch` shift what stands out of the face; `roll` in radians; `shift` in half frames."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)


class Pen:
    """Draws antialiased shapes; `canvas` is (px, px, 3) or (px, px) uint8 and is changed in place."""

    def __init__(self, canvas: npt.NDArray[np.uint8], pose: Pose) -> None:
        self.canvas = canvas
        self.pose = pose
        half = canvas.shape[0] / 2
        self.unit = half * pose.scale
        turn = self.unit * np.array([[np.cos(pose.roll), np.sin(pose.roll)], [-np.sin(pose.roll), np.cos(pose.roll)]])
        self._turn = turn * (1 << FRACTION_BITS)
        self._rows: list[list[float]] = self._turn.tolist()
        self._stand_out = DEPTH * np.array([pose.yaw, pose.pitch]) @ self._turn
        self._origin = (half * (1 + np.array(pose.shift)) - 0.5) * (1 << FRACTION_BITS) + 0.5  # astype rounds down

    def _place(self, points: Floats) -> npt.NDArray[np.int32]:
        inside = 1 - (points * points) @ BULGE
        out = np.sqrt(np.maximum(inside, 0, out=inside), out=inside)
        placed = points @ self._turn
        placed += out[:, None] * self._stand_out
        placed += self._origin
        fixed: npt.NDArray[np.int32] = placed.astype(np.int32)
        return fixed

    def fill(self, points: Floats, colour: Colour | int) -> None:
        cv2.fillPoly(self.canvas, [self._place(points)], _scalar(colour), cv2.LINE_AA, FRACTION_BITS)

    def line(self, points: Floats, colour: Colour | int, width: float, *, closed: bool = False) -> None:
        thickness = max(1, round(width * self.unit))
        placed = [self._place(points)]
        cv2.polylines(self.canvas, placed, closed, _scalar(colour), thickness, cv2.LINE_AA, FRACTION_BITS)

    def disc(self, x: float, y: float, radius: float, colour: Colour | int) -> None:
        out = max(0.0, 1 - x * x * float(BULGE[0]) - y * y * float(BULGE[1])) ** 0.5
        x, y = x + DEPTH * self.pose.yaw * out, y + DEPTH * self.pose.pitch * out
        (xx, xy), (yx, yy) = self._rows
        at = (int(x * xx + y * yx + self._origin[0]), int(x * xy + y * yy + self._origin[1]))
        fixed = max(1, round(radius * self.unit * (1 << FRACTION_BITS)))
        cv2.circle(self.canvas, at, fixed, _scalar(colour), cv2.FILLED, cv2.LINE_AA, FRACTION_BITS)


def _scalar(colour: Colour | int) -> tuple[float, ...]:
    return (colour,) if isinstance(colour, int) else colour


@lru_cache(maxsize=1024)
def blend(a: Colour, b: Colour, share: float) -> Colour:
    """`share` 0 gives a, 1 gives b."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


@lru_cache(maxsize=16)
def _unit_circle(n: int) -> Floats:
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def arc(x: float, y: float, half_width: float, half_height: float) -> Floats:
    """An ellipse as 20 points."""
    return _unit_circle(20) * (half_width, half_height) + (x, y)


@lru_cache(maxsize=32)
def _catmull_rom(n: int, pieces: int) -> Floats:
    """Matrix (n·pieces, n) that turns the knots of a closed curve into points on it."""
    t = np.arange(pieces)[:, None] / pieces
    weights = 0.5 * np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3])
    matrix = np.zeros((n * pieces, n))
    for knot in range(n):
        for offset in range(4):
            matrix[knot * pieces : (knot + 1) * pieces, (knot + offset - 1) % n] += weights[:, offset]
    return matrix


def closed_curve(knots: Floats, pieces: int = 5) -> Floats:
    """A smooth closed curve (Catmull-Rom) through the knots."""
    return _catmull_rom(knots.shape[0], pieces) @ knots
