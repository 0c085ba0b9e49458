"""Where the face is in a frame, and the crop of it that a model sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import FaceView

from .five_point import FIVE_POINTS, aligned_square

__all__ = ["Face", "FaceFinder", "Frame", "WholeFrame", "crop_face", "whole_frame"]

Frame = npt.NDArray[np.uint8]
"""One picture: uint8 RGB, shape = (height, width, 3)."""


WHOLE = FaceView()


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one frame: `box` = (x0, y0, x1, y1) in pixels, x1 and y1 one past the last.

    `score` lies in [0, 1]; None where nothing was detected and the box is an assumption. `landmarks`, where the finder
    has them, are (x, y) in the same pixels of the person's right eye, left eye, nose tip, right and left mouth corner.
    """

    track: int
    box: tuple[float, float, float, float]
    score: float | None = None
    landmarks: tuple[tuple[float, float], ...] | None = None

    @property
    def side_px(self) -> float:
        """The longer side of the box."""
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, y1 - y0)


class FaceFinder(Protocol):
    """Finds the faces of one stream's frames in turn; a track number stays with one person and is never reused.

    A finder has the state of one stream: another stream takes another finder. `reset` forgets all faces, as a gap
    demands; whoever comes after it has a new number.
    """

    def find(self, frame: Frame, pts_s: float) -> list[Face]: ...

    def reset(self) -> None: ...


class WholeFrame:
    """Finds one face in every frame: the largest centred square, always track 0."""

    def find(self, frame: Frame, pts_s: float) -> list[Face]:
        return [whole_frame(frame)]

    def reset(self) -> None:
        """Nothing to forget."""


def whole_frame(frame: Frame) -> Face:
    """The largest centred square of a frame as track 0; it has no score because nothing was detected."""
    height, width = frame.shape[:2]
    side = min(height, width)
    x0, y0 = (width - side) // 2, (height - side) // 2
    return Face(track=0, box=(x0, y0, x0 + side, y0 + side))


def crop_face(frame: Frame, face: Face, resize_px: int, crop_px: int, view: FaceView = WHOLE) -> Frame:
    """The model's view of a face, shape = (crop_px, crop_px, 3), uint8 RGB, its own memory.

    `view` is the contract's. By "box" the box grows to a square about its centre and by the margin, and is scaled to
    `resize_px` (area averaging when it shrinks, bilinear when it grows); by "five_point" the landmarks are brought to
    their places in such a square. The centre `crop_px` square of that is kept. Beyond the frame its border pixels are
    repeated. A face that nothing detected is taken as the crop it is, without margin or alignment: a frame may be an
    aligned crop already. ValueError for a box that misses the frame, and for a detected face without the five points.
    """
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = face.box
    if not (math.isfinite(x0 + y0 + x1 + y1) and x0 < min(x1, width) and y0 < min(y1, height)):
        raise ValueError(f"face box {face.box} has no part in a frame of {width}x{height}")
    if x1 <= 0 or y1 <= 0 or face.side_px > 4 * max(height, width):
        raise ValueError(f"face box {face.box} has no part in a frame of {width}x{height} or dwarfs it")
    assumed = face.score is None and face.landmarks is None
    if view.alignment == "five_point" and not assumed:
        if face.landmarks is None or len(face.landmarks) != len(FIVE_POINTS):
            raise ValueError("the contract aligns faces by five points, and this one has none")
        square = aligned_square(frame, face.landmarks, resize_px, view.margin)
    else:
        square = _boxed_square(frame, face, resize_px, 0.0 if assumed else view.margin)
    edge = (resize_px - crop_px) // 2
    kept = square[edge : edge + crop_px, edge : edge + crop_px]
    return np.array(kept, dtype=np.uint8, order="C")


def _boxed_square(frame: Frame, face: Face, resize_px: int, margin: float) -> Frame:
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = face.box
    side = max(1, round(face.side_px * (1 + 2 * margin)))
    # Rounding may push a sliver of a box out of the frame; at least one pixel of the square stays inside.
    left = min(max(round((x0 + x1 - side) / 2), 1 - side), width - 1)
    top = min(max(round((y0 + y1 - side) / 2), 1 - side), height - 1)
    # Pixels of the square that lie outside the frame, on each of the four sides.
    over_l, over_t = max(0, -left), max(0, -top)
    over_r, over_b = max(0, left + side - width), max(0, top + side - height)
    square = frame[top + over_t : top + side - over_b, left + over_l : left + side - over_r]
    if over_l or over_t or over_r or over_b:
        bordered = cv2.copyMakeBorder(square, over_t, over_b, over_l, over_r, cv2.BORDER_REPLICATE)
        square = np.asarray(bordered, np.uint8)
    if side != resize_px:
        how = cv2.INTER_AREA if side > resize_px else cv2.INTER_LINEAR
        square = np.asarray(cv2.resize(square, (resize_px, resize_px), interpolation=how), np.uint8)
    return square
