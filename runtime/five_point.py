"""The crop that has eyes, nose and mouth corners in fixed places, however a face is turned in its plane."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["FIVE_POINTS", "aligned_square", "similarity_between"]

Points = npt.NDArray[np.float64]

FIVE_POINTS: Points = (
    np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]) / 112
)
"""Where the five points lie in a square of side 1: ArcFace's template, in the order of `Face.landmarks`."""

_MAX_SHRINK = 64


def similarity_between(source: Points, target: Points) -> Points | None:
    """The turn, scale and shift, shape = (2, 3), that brings `source` (n, 2) nearest to `target` in least squares.

    Umeyama's solution in the plane, without mirrors. None where it has none: all points in one place, or not finite.
    """
    middle, goal = source.mean(axis=0), target.mean(axis=0)
    x, y = (source - middle).T
    u, v = (target - goal).T
    spread = float(np.sum(x * x + y * y))
    if not spread > 1e-12 or not math.isfinite(spread):
        return None
    cos, sin = float(np.sum(x * u + y * v)) / spread, float(np.sum(x * v - y * u)) / spread
    if not 1e-12 < math.hypot(cos, sin) < math.inf:
        return None
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([turn, goal - turn @ middle])


def aligned_square(
    frame: npt.NDArray[np.uint8], landmarks: npt.ArrayLike, resize_px: int, margin: float
) -> npt.NDArray[np.uint8]:
    """The `resize_px` square of a frame in which `landmarks` (5, 2), in pixels, lie as the contract wants.

    ValueError for points that make no face, or one that dwarfs the frame.
    """
    points = np.asarray(landmarks, np.float64)
    places = ((FIVE_POINTS - 0.5) / (1 + 2 * margin) + 0.5) * resize_px
    onto = similarity_between(points, places)
    scale = 0.0 if onto is None else math.hypot(onto[0, 0], onto[1, 0])
    height, width = frame.shape[:2]
    if onto is None or not resize_px / scale <= 4 * (1 + 2 * margin) * max(height, width):
        raise ValueError(f"the five points {points.round(1).tolist()} make no face in a frame of {width}x{height}")
    # Sampled as finely as the frame is, then averaged: a face larger than the square does not alias.
    times = min(math.ceil(1 / scale - 1e-9), _MAX_SHRINK) if scale < 1 else 1
    onto = onto * times
    # Places count from the pixel's corner, cv2 from its middle.
    onto[:, 2] += onto[:, :2].sum(axis=1) / 2 - 0.5
    side = resize_px * times
    fine = cv2.warpAffine(frame, onto, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if times > 1:
        fine = cv2.resize(fine, (resize_px, resize_px), interpolation=cv2.INTER_AREA)
    return np.asarray(fine, np.uint8)
