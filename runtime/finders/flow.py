"""How a face moved from one picture to the next: optical flow of points on it, checked by going back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ..five_point import Points, similarity_between
from .geometry import Geometry

__all__ = ["Grey", "moves", "points_on"]

Grey = npt.NDArray[np.uint8]
"""A grey picture, shape = (height, width)."""

_MOST_POINTS = 24
_FEWEST_POINTS = 6
_FEWEST_SHARE = 0.4
_BACK_PX = 0.7
_WINDOW = (15, 15)
_LEVELS = 3
_REACH_PX = 48
_SCALES = (0.8, 1.25)


def points_on(grey: Grey, face: Geometry) -> Points:
    """Places, shape = (n, 2), on the inner part of a face that are easy to follow; its five points come first."""
    height, width = grey.shape
    cx, cy = face.centre.tolist()
    reach = 0.4 * face.rows[1]
    x0, y0 = max(0, round(cx - reach[0])), max(0, round(cy - reach[1]))
    x1, y1 = min(width, round(cx + reach[0])), min(height, round(cy + reach[1]))
    marks = face.landmarks
    inside = (marks > 1).all(axis=1) & (marks < (width - 1, height - 1)).all(axis=1)
    points = marks[inside]
    if x1 - x0 >= 4 and y1 - y0 >= 4:
        apart = max(2.0, face.side / 12)
        corners = cv2.goodFeaturesToTrack(np.ascontiguousarray(grey[y0:y1, x0:x1]), _MOST_POINTS, 0.02, apart)
        if corners is not None:
            middle = np.array([x0 + 0.5, y0 + 0.5])
            points = np.vstack([points, np.asarray(corners, np.float64).reshape(-1, 2) + middle])
    return points


def moves(before: Grey, now: Grey, points: Sequence[Points]) -> list[tuple[Points, Points] | None]:
    """For each face's points the similarity (2, 3) that they underwent and where they are now; None: it is lost.

    A point counts if following it there and back ends where it began; a face needs 6 of them and 40 %.
    """
    if not points:
        return []
    own = np.vstack(points)
    there: Points = own
    sound = np.zeros(len(own), bool)
    if len(own):
        # Only where faces are: the cost is that of the pictures' pyramids.
        x0, y0 = np.maximum(own.min(axis=0) - _REACH_PX, 0).astype(int).tolist()
        x1, y1 = np.ceil(own.max(axis=0) + _REACH_PX).astype(int).tolist()
        before, now = np.ascontiguousarray(before[y0:y1, x0:x1]), np.ascontiguousarray(now[y0:y1, x0:x1])
        corner = np.array([x0 + 0.5, y0 + 0.5])  # cv2 counts from the middle of a pixel
        start = (own - corner).astype(np.float32)
        found, ok, _ = cv2.calcOpticalFlowPyrLK(before, now, start, start.copy(), winSize=_WINDOW, maxLevel=_LEVELS)
        back, back_ok, _ = cv2.calcOpticalFlowPyrLK(now, before, found, start.copy(), winSize=_WINDOW, maxLevel=_LEVELS)
        limits = (now.shape[1], now.shape[0])
        sound = (np.ravel(ok) > 0) & (np.ravel(back_ok) > 0) & (np.abs(np.asarray(back) - start).max(axis=1) < _BACK_PX)
        ends_at = np.asarray(found, np.float64)
        sound &= (ends_at >= 0).all(axis=1) & (ends_at < limits).all(axis=1)
        there = ends_at + corner
    ends = np.cumsum([len(p) for p in points]).tolist()
    answers: list[tuple[Points, Points] | None] = []
    for face, end in zip(points, ends, strict=True):
        rows = slice(end - len(face), end)
        kept = sound[rows]
        enough = kept.sum() >= max(_FEWEST_POINTS, _FEWEST_SHARE * len(face))
        answers.append(_robust(face[kept], there[rows][kept]) if enough else None)
    return answers


def _robust(source: Points, target: Points) -> tuple[Points, Points] | None:
    """Least squares, twice: the second time without points that go their own way."""
    kept = np.ones(len(source), bool)
    similarity = None
    for _ in range(2):
        similarity = similarity_between(source[kept], target[kept])
        if similarity is None:
            return None
        error = np.linalg.norm(source @ similarity[:, :2].T + similarity[:, 2] - target, axis=1)
        kept = error <= max(0.5, 2.5 * float(np.median(error)))
        if kept.sum() < _FEWEST_POINTS:
            return None
    assert similarity is not None
    scale = math.hypot(similarity[0, 0], similarity[1, 0])
    return (similarity, target[kept]) if _SCALES[0] < scale < _SCALES[1] else None
