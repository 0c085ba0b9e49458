"""Faces: where they are in a frame, whose they are, and the crop that the video encoder sees.

For now the whole frame is the face; a detector and tracker fill the same interface.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Face", "FaceFinder", "Frame", "WholeFrame", "crop_face", "whole_frame"]

Frame = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one frame: its track, box (left, top, right, bottom) in pixels, score in [0, 1] or None."""

    track: int
    box: tuple[float, float, float, float]
    score: float | None = None

    @property
    def side_px(self) -> float:
        """The longer side of the box; the crop is a square of this side around the box's centre."""
        left, top, right, bottom = self.box
        return max(right - left, bottom - top)


class FaceFinder(Protocol):
    """Finds and tracks the faces of one stream."""

    def find(self, frame: Frame, pts_s: float) -> list[Face]:
        """Faces of an RGB frame (height × width × 3) at media time `pts_s`."""
        ...


def whole_frame(frame: Frame) -> Face:
    """The largest centred square of a frame, as track 0."""
    height, width = frame.shape[:2]
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return Face(track=0, box=(left, top, left + side, top + side))


class WholeFrame:
    """The face finder for pictures that show one face and nothing else."""

    def find(self, frame: Frame, pts_s: float) -> list[Face]:
        return [whole_frame(frame)]


def crop_face(frame: Frame, face: Face, resize_px: int, crop_px: int) -> Frame:
    """The square around the face, resized to `resize_px`, its centre `crop_px`: uint8 (crop, crop, 3).

    Shrinking averages areas, enlarging interpolates. Where the square leaves the frame its border is repeated.
    """
    left, top, right, bottom = face.box
    side = max(1, round(face.side_px))
    x0 = round((left + right - side) / 2)
    y0 = round((top + bottom - side) / 2)
    height, width = frame.shape[:2]
    square = frame[max(y0, 0) : max(y0 + side, 0), max(x0, 0) : max(x0 + side, 0)]
    if square.shape[0] != side or square.shape[1] != side:
        rows = np.clip(np.arange(y0, y0 + side), 0, height - 1)
        columns = np.clip(np.arange(x0, x0 + side), 0, width - 1)
        square = frame[rows[:, None], columns[None, :]]
    shrinks = side >= resize_px
    small = cv2.resize(
        square, (resize_px, resize_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    edge = (resize_px - crop_px) // 2
    return np.ascontiguousarray(small[edge : edge + crop_px, edge : edge + crop_px], dtype=np.uint8)
