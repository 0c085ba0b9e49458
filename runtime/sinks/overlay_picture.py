"""One picture of the overlay: a frame with its faces, and what was estimated up to it. Drawn with OpenCV, in RGB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import cv2
import numpy as np

from ..estimate import Estimate
from ..faces import Face, Frame
from .base import Header
from .overlay_layout import BACKGROUND, GRID, INK, Colour, Layout, Rectangle, colour_of, mixed

__all__ = ["CURVES_S", "OverlayPicture", "name_of"]

CURVES_S = 10.0
_TRAIL_S = 3.0
_MISSING = {"video": "no face", "audio": "no sound", "text": "no words"}
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def name_of(track: int) -> str:
    return "voice" if track < 0 else f"track {track}"


class OverlayPicture:
    """Draws for frames of one size; frames of other sizes are fitted into the same place."""

    def __init__(self, width: int, height: int, header: Header) -> None:
        self.layout = Layout.of_frames(width, height)
        self._ranges = {str(o["name"]): (float(o["low"]), float(o["high"])) for o in header.outputs}
        self._modalities = header.modalities
        # Estimates further apart than that are not joined by a line: something was lost between them.
        self._joined_s = 1.5 * max(1, header.hop_steps) / header.step_hz + 1e-9
        self._empty = self._without_anything()

    def draw(self, frame: Frame, at_s: float, faces: Sequence[Face], known: Mapping[int, Sequence[Estimate]]) -> Frame:
        """A new picture. `known`: by track, estimates of the last CURVES_S seconds up to `at_s`, oldest first."""
        canvas: Frame = self._empty.copy()
        self._show(canvas, frame)
        for face in faces:
            self._box(canvas, frame, face)
        now = {track: told[-1] for track, told in known.items() if told and self._still(told[-1], at_s)}
        # Words after all the boxes, so that no line runs through them.
        for face in faces:
            self._label(canvas, frame, face, now.get(face.track))
        seen = {face.track for face in faces}
        self._corner(canvas, at_s, {track: told for track, told in now.items() if track not in seen})
        for track, told in sorted(known.items()):
            self._curves(canvas, track, told, at_s)
            self._trail(canvas, track, told, at_s, current=track in now)
        return canvas

    def _still(self, estimate: Estimate, at_s: float) -> bool:
        return at_s - estimate.t_s <= self._joined_s

    # -- the picture -----------------------------------------------------------------------------------------------

    def _show(self, canvas: Frame, frame: Frame) -> None:
        height, width = frame.shape[:2]
        left, top = self.layout.in_picture(0, 0, width, height)
        right, bottom = self.layout.in_picture(width, height, width, height)
        if (right - left, bottom - top) != (width, height):
            how = cv2.INTER_CUBIC if right - left > width else cv2.INTER_AREA
            frame = np.asarray(cv2.resize(frame, (right - left, bottom - top), interpolation=how), np.uint8)
        canvas[top:bottom, left:right] = frame

    def _box(self, canvas: Frame, frame: Frame, face: Face) -> None:
        (left, top), (right, bottom) = self._corners(frame, face)
        line = self.layout.line
        # A dark rim keeps the colour visible on skin, walls and windows.
        cv2.rectangle(canvas, (left, top), (right, bottom), BACKGROUND, line + 2)
        cv2.rectangle(canvas, (left, top), (right, bottom), colour_of(face.track), line)

    def _corners(self, frame: Frame, face: Face) -> tuple[tuple[int, int], tuple[int, int]]:
        height, width = frame.shape[:2]
        x0, y0, x1, y1 = face.box
        inset = self.layout.line // 2
        left, top = self.layout.in_picture(max(0.0, x0), max(0.0, y0), width, height)
        right, bottom = self.layout.in_picture(min(x1, width), min(y1, height), width, height)
        return (left + inset, top + inset), (right - 1 - inset, bottom - 1 - inset)

    def _label(self, canvas: Frame, frame: Frame, face: Face, estimate: Estimate | None) -> None:
        (left, top), _ = self._corners(frame, face)
        lines = self._words(face.track, estimate)
        if face.score is None:
            lines[0] = lines[0].replace(name_of(face.track), f"{name_of(face.track)}, whole frame")
        height = self._line_height * len(lines)
        above = top - self.layout.line - height
        self._write(canvas, lines, left, above if above >= 0 else top + self.layout.line, colour_of(face.track))

    def _corner(self, canvas: Frame, at_s: float, unseen: Mapping[int, Estimate]) -> None:
        """The time, and the tracks that are not in the picture, at its lower edge."""
        picture, up = self.layout.picture, self._line_height
        clock = f"{int(at_s // 60)}:{at_s % 60:04.1f}"
        width = cv2.getTextSize(clock, _FONT, self.layout.text, 1)[0][0] + 8
        self._write(canvas, [clock], picture.right - width, picture.bottom - up, INK)
        for track, estimate in sorted(unseen.items(), reverse=True):
            lines = self._words(track, estimate)
            self._write(canvas, lines, picture.left, picture.bottom - up * len(lines), colour_of(track))
            up += self._line_height * len(lines)

    def _words(self, track: int, estimate: Estimate | None) -> list[str]:
        """A name with its numbers, then what is to be known of them."""
        if estimate is None:
            return [name_of(track), "no estimate"]
        numbers = [
            f"{letter} {value:+.2f}"
            for letter, value in (("V", estimate.valence), ("A", estimate.arousal))
            if value is not None
        ]
        marks = ["warming up"] if estimate.warming_up else []
        marks += [_MISSING[name] for name in self._modalities if name not in estimate.modalities]
        return ["  ".join([name_of(track), *numbers]), *([", ".join(marks)] if marks else [])]

    @property
    def _line_height(self) -> int:
        return round(38 * self.layout.text)

    def _write(self, canvas: Frame, lines: Sequence[str], left: int, top: int, colour: Colour) -> None:
        """Words on a dark plate, moved into the picture where they would not fit."""
        size, height = self.layout.text, self._line_height
        width = max(cv2.getTextSize(line, _FONT, size, 1)[0][0] for line in lines) + 8
        left = max(0, min(left, self.layout.picture.right - width))
        top = max(0, min(top, self.layout.picture.bottom - height * len(lines)))
        plate = canvas[top : top + height * len(lines), left : left + width]
        plate[:] = plate // 6
        for index, line in enumerate(lines):
            at = (left + 4, top + index * height + round(0.72 * height))
            cv2.putText(canvas, line, at, _FONT, size, colour if index == 0 else INK, 1, cv2.LINE_AA)

    # -- the panel -------------------------------------------------------------------------------------------------

    def _range(self, name: str) -> tuple[float, float]:
        return self._ranges.get(name, (-1.0, 1.0))

    def _share(self, name: str, value: float) -> float:
        """Where a value lies within its output's range: 0 … 1."""
        low, high = self._range(name)
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def in_plane(self, valence: float, arousal: float) -> tuple[int, int]:
        """The pixel (x, y) of a point of the plane."""
        return self.layout.in_plane(self._share("valence", valence), self._share("arousal", arousal))

    def _curves(self, canvas: Frame, track: int, told: Sequence[Estimate], at_s: float) -> None:
        for name, place in (("valence", self.layout.valence), ("arousal", self.layout.arousal)):
            for run in self._runs(told, name):
                colour = mixed(colour_of(track), 0.45) if run[-1].warming_up else colour_of(track)
                low, high = self._range(name)
                ago = (at_s - np.array([e.t_s for e in run])) / CURVES_S
                up = (np.array([getattr(e, name) for e in run]) - low) / (high - low)
                x = place.left + np.round((1 - np.clip(ago, 0, 1)) * (place.width - 1))
                y = place.bottom - 1 - np.round(np.clip(up, 0, 1) * (place.height - 1))
                points = np.stack([x, y], axis=1).astype(np.int32)[:, None]
                cv2.polylines(canvas, [points], False, colour, self.layout.line, cv2.LINE_AA)

    def _runs(self, told: Sequence[Estimate], name: str) -> Iterator[list[Estimate]]:
        """Stretches that one line joins: without a gap, and all warming up or none (but for the first)."""
        run: list[Estimate] = []
        for estimate in told:
            if getattr(estimate, name) is None:
                continue
            if run and estimate.t_s - run[-1].t_s > self._joined_s:
                yield run
                run = []
            elif len(run) > 1 and estimate.warming_up != run[-1].warming_up:
                yield run
                run = run[-1:]
            run.append(estimate)
        if run:
            yield run

    def _trail(self, canvas: Frame, track: int, told: Sequence[Estimate], at_s: float, *, current: bool) -> None:
        """The way through the plane, fading with age, and at its end a dot: hollow while warming up."""
        points = [
            (e.t_s, self.in_plane(e.valence, e.arousal))
            for e in told
            if at_s - e.t_s <= _TRAIL_S and e.valence is not None and e.arousal is not None
        ]
        for (since, start), (until, end) in pairwise(points):
            if until - since <= self._joined_s:
                fresh = 0.75 * (1 - (at_s - until) / _TRAIL_S)
                cv2.line(canvas, start, end, mixed(colour_of(track), 0.15 + fresh), self.layout.line, cv2.LINE_AA)
        if current and points:
            radius = 2 + 2 * self.layout.line
            cv2.circle(canvas, points[-1][1], radius + 1, BACKGROUND, -1, cv2.LINE_AA)
            hollow = told[-1].warming_up
            cv2.circle(canvas, points[-1][1], radius, colour_of(track), 2 if hollow else -1, cv2.LINE_AA)

    def _without_anything(self) -> Frame:
        """The panel without a single estimate, below a dark picture."""
        layout = self.layout
        canvas: Frame = np.empty((layout.height, layout.width, 3), np.uint8)
        canvas[:] = BACKGROUND
        canvas[: layout.picture.bottom] = 0
        plane, small = layout.plane, 0.85 * layout.text
        middle_x, middle_y = layout.in_plane(0.5, 0.5)
        cv2.line(canvas, (plane.left, middle_y), (plane.right - 1, middle_y), GRID, 1)
        cv2.line(canvas, (middle_x, plane.top), (middle_x, plane.bottom - 1), GRID, 1)
        cv2.rectangle(canvas, (plane.left, plane.top), (plane.right - 1, plane.bottom - 1), GRID, 1)
        width, height = cv2.getTextSize("valence", _FONT, small, 1)[0]
        across = (plane.right - width - 3, middle_y + height + 3)
        cv2.putText(canvas, "valence", across, _FONT, small, INK, 1, cv2.LINE_AA)
        cv2.putText(canvas, "arousal", (middle_x + 4, plane.top + height + 2), _FONT, small, INK, 1, cv2.LINE_AA)
        for name, place in (("valence", layout.valence), ("arousal", layout.arousal)):
            self._axis(canvas, name, place, small)
        return canvas

    def _axis(self, canvas: Frame, name: str, place: Rectangle, small: float) -> None:
        low, high = self._range(name)
        middle = (place.top + place.bottom) // 2
        cv2.line(canvas, (place.left, middle), (place.right - 1, middle), GRID, 1)
        cv2.rectangle(canvas, (place.left, place.top), (place.right - 1, place.bottom - 1), GRID, 1)
        width, height = cv2.getTextSize("+1", _FONT, small, 1)[0]
        for text, y in ((f"{high:+g}", place.top + height), (f"{low:+g}", place.bottom - 1)):
            width = cv2.getTextSize(text, _FONT, small, 1)[0][0]
            cv2.putText(canvas, text, (place.left - width - 4, y), _FONT, small, INK, 1, cv2.LINE_AA)
        words = f"{name}, last {CURVES_S:g} s" if name in self._ranges else f"{name}: not estimated"
        at = (place.left, place.top - round(0.4 * height))
        cv2.putText(canvas, words, at, _FONT, small, INK, 1, cv2.LINE_AA)
