"""Faces of a stream: YuNet every few frames, optical flow between, the same number for the same person."""

from __future__ import annotations

import math

import cv2
import numpy as np

from affectrt.bundle.errors import UsageError

from ..faces import Face, Frame
from .association import best_pairs
from .flow import Grey, moves, points_on
from .geometry import Geometry, overlap
from .known_face import KnownFace
from .look import Look, look_of
from .yunet import Detection, Detector

__all__ = ["YuNetFinder"]

_BORN_FROM = 0.65
_CLEAR_FROM = 0.8
_LOOK_EVERY_S = 0.2
_LOOK_CLOSELY_S = 0.08
_UNSEEN_S = 0.25
_FORGET_S = 1.0
_SAME_FACE = 0.3
_BIGGER = 1.5
_BACKWARDS_S = 1.0
MOST_FACES = 8  # the exact assignment grows steeply: 2 ms for 8 that are all near each other, 1.5 s for 16


class YuNetFinder:
    """Finds up to `max_faces` faces, the largest first; fulfils `FaceFinder`, for one stream.

    The detector looks every 0.2 s of media, at the beginning and at once when a face was lost, at the frame with its
    longer side shrunk to `look_px`. A face that it misses for 0.25 s, or that another one covers, is not in view and
    not told. Who comes back within a second, near to where they were going, of a like size and look, keeps
    their number; everybody else is new. A newcomer takes a free place, or that of a face a third smaller. The same
    frames give the same faces. UsageError for `max_faces` outside 1 … 8.
    """

    def __init__(self, detector: Detector, *, max_faces: int = 4, look_px: int = 416) -> None:
        if not 1 <= max_faces <= MOST_FACES:
            raise UsageError(f"{max_faces} faces", expected=f"1 … {MOST_FACES}", fix="give another --max-faces")
        self._detector = detector
        self._max_faces = max_faces
        self._look_px = look_px
        self._next_number = 0
        self.reset()

    def reset(self) -> None:
        """Forget every face, as a gap demands; numbers go on."""
        self._known: list[KnownFace] = []
        self._before: Grey | None = None
        self._frame_shape: tuple[int, ...] = ()
        self._at_s = self._looked_s = -math.inf

    def find(self, frame: Frame, pts_s: float) -> list[Face]:
        """Faces in view in the next frame (uint8 RGB) at media time `pts_s`; time that leaps back is a gap."""
        if frame.shape[:2] != self._frame_shape or pts_s < self._at_s - _BACKWARDS_S:
            self.reset()
            self._frame_shape = frame.shape[:2]
        pts_s = max(pts_s, self._at_s)
        small = _shrunk(frame, self._look_px)
        grey: Grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        lost = self._follow(grey, pts_s)
        if lost or pts_s - self._looked_s >= self._patience_s(pts_s) - 1e-6:
            self._look(small, grey, pts_s)
        self._before, self._at_s = grey, pts_s
        return self._told(frame, small)

    def _patience_s(self, pts_s: float) -> float:
        """Time between two looks: none while a face in view was missed, less while faces overlap."""
        shown = [face for face in self._known if face.shown]
        if any(face.confirmed_s < self._looked_s for face in shown):
            return 0.0
        near = any(overlap(a.now, b.now) > 0 for i, a in enumerate(shown) for b in shown[:i])
        return _LOOK_CLOSELY_S if near else _LOOK_EVERY_S

    def _follow(self, grey: Grey, pts_s: float) -> bool:
        """Move every face in view with the flow since the frame before; whether one was lost."""
        shown = [face for face in self._known if face.shown]
        if self._before is None or not shown:
            return False
        lost = False
        for face, move in zip(shown, moves(self._before, grey, [face.points for face in shown]), strict=True):
            if move is None:
                face.points = face.points[:0]
                lost = True
            else:
                face.follow(move, pts_s - self._at_s)
        return lost

    def _look(self, small: Frame, grey: Grey, pts_s: float) -> None:
        detected = [(one, look_of(small, one.geometry)) for one in self._detector.detect(small)]
        found = [(one, look) for one, look in detected if look is not None]
        self._looked_s = pts_s
        self._known = [face for face in self._known if face.shown or pts_s - face.confirmed_s <= _FORGET_S]
        fits = [
            {at: fit for at, (one, look) in enumerate(found) if (fit := face.affinity(one, look, pts_s)) > 0}
            for face in self._known
        ]
        pairs = best_pairs(fits)
        for row, at in pairs.items():
            self._known[row].confirm(*found[at], pts_s)
        sure = [face for row, face in enumerate(self._known) if row in pairs]
        for row, face in enumerate(self._known):
            if row not in pairs and face.shown and self._gone(face, sure, pts_s):
                face.hide()
        taken = set(pairs.values())
        new = [pair for at, pair in enumerate(found) if at not in taken and pair[0].score >= _BORN_FROM]
        for one, look in sorted(new, key=lambda pair: -pair[0].geometry.side):
            self._welcome(one, look, pts_s)
        for face in self._known:
            if face.shown and face.confirmed_s == pts_s:
                face.points = points_on(grey, face.now)

    @staticmethod
    def _gone(face: KnownFace, sure: list[KnownFace], pts_s: float) -> bool:
        """Whether a face that the detector missed is out of view: flow lost it, it is covered, or missed for long."""
        covered = any(overlap(face.now, other.now) > _SAME_FACE for other in sure)
        return covered or not len(face.points) or pts_s - face.confirmed_s > _UNSEEN_S

    def _welcome(self, one: Detection, look: Look, pts_s: float) -> None:
        if any(face.shown and overlap(face.now, one.geometry) > _SAME_FACE for face in self._known):
            return  # the same face twice
        if one.score < _CLEAR_FROM and any(not face.shown and face.near(one.geometry, pts_s) for face in self._known):
            return  # perhaps one who comes back, as yet half covered
        if len(self._known) >= self._max_faces:
            smallest = min(self._known, key=lambda face: (face.now.side, -face.number))
            if one.geometry.side < _BIGGER * smallest.now.side:
                return
            self._known.remove(smallest)
        self._known.append(KnownFace.born(self._next_number, one, look, pts_s))
        self._next_number += 1

    def _told(self, frame: Frame, small: Frame) -> list[Face]:
        """Faces in view in the frame's own pixels."""
        height, width = frame.shape[:2]
        scale = np.array([width / small.shape[1], height / small.shape[0]])
        faces = []
        for known in sorted((f for f in self._known if f.shown), key=lambda f: (-f.now.side, f.number)):
            place = Geometry(known.now.rows * scale)
            x0, y0, x1, y1 = place.box
            if x0 < width and y0 < height and x1 > 0 and y1 > 0:
                marks = tuple((x, y) for x, y in place.landmarks.tolist())
                faces.append(Face(known.number, place.box, min(1.0, known.score), marks))
        return faces


def _shrunk(frame: Frame, longest_px: int) -> Frame:
    """At most `longest_px` long: halved by averaging while that is less than half, which OpenCV does fastest by far."""
    while max(frame.shape[:2]) >= 2 * longest_px and min(frame.shape[:2]) > 1:
        frame = _resized(frame, 0.5, cv2.INTER_AREA)
    if max(frame.shape[:2]) > longest_px:
        frame = _resized(frame, longest_px / max(frame.shape[:2]), cv2.INTER_LINEAR)
    return frame


def _resized(frame: Frame, by: float, how: int) -> Frame:
    height, width = frame.shape[:2]
    size = (max(1, round(width * by)), max(1, round(height * by)))
    return np.asarray(cv2.resize(frame, size, interpolation=how), np.uint8)
