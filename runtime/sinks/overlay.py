"""The frames of a run with what was estimated drawn on them, as a film: `overlay.mp4` or `overlay.mkv`.

Estimates come after the frames that they speak of: a model looks ahead, its fusion runs once a hop, encoders wait for
company. So frames wait here until the estimate of their own time is there, for a bounded time; a frame whose estimate
does not come is shown with the last one that is recent, or with none. The sound of the source is left out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from affectrt.bundle.errors import AffectError, UsageError

from ..estimate import Estimate
from ..faces import Face, Frame, whole_frame
from .base import Header
from .overlay_picture import CURVES_S, OverlayPicture
from .video_file import VideoFile

__all__ = ["OverlaySink"]

# What a frame waits for beyond look-ahead and hop: encoders gather batches, decoders give sound in blocks.
_SLACK_S = 1.0
_MAX_HELD_BYTES = 256 << 20
# How long the last picture lasts, and one before a pause of unknown length.
_LAST_S = 0.04
_MAX_PICTURE_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    frame: Frame
    at_s: float
    faces: tuple[Face, ...]


class OverlaySink:
    """Takes frames by `show`, estimates by `write`, each in the order of time; the frame first.

    The file can be played at any moment, also after a kill, up to about its last second. Where the encoder does not
    keep up, a run that reads a file waits for it; of a live one frames are left out (`left_out`), never queued.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path = path
        self.name = str(path)
        self.written = 0
        self.left_out = 0
        self._file = VideoFile(path, overwrite=overwrite)
        self._header: Header | None = None
        self._picture: OverlayPicture | None = None
        self._held: deque[_Held] = deque()
        self._held_bytes = 0
        self._told: dict[int, list[Estimate]] = {}
        self._next: _Held | None = None
        self._shown_s = -1.0
        self._failed = False

    @property
    def wants_frames(self) -> bool:
        """True: the run hands it every frame."""
        return True

    def open(self, header: Header) -> None:
        """UsageError when the run has no pictures."""
        if "video" not in header.modalities:
            raise UsageError(
                f"{self.name} cannot be drawn: this run has no pictures",
                expected="a source with video, and a model that takes it",
                fix="name a sink that takes estimates alone, such as NAME.jsonl",
            )
        self._header = header

    def show(self, frame: Frame, pts_s: float, faces: Sequence[Face] | None = None) -> None:
        """One frame (uint8 RGB) of media time `pts_s`; without `faces` its largest square. Kept, never changed.

        A frame that is not later than the one before is left out.
        """
        if self._header is None:
            raise ValueError(f"{self.name} is not open")
        if pts_s <= self._shown_s:
            self.left_out += 1
            return
        self._shown_s = pts_s
        found = (whole_frame(frame),) if faces is None else tuple(faces)
        self._held.append(_Held(frame, pts_s, found))
        self._held_bytes += frame.nbytes
        self._draw_due()

    def write(self, estimates: Sequence[Estimate]) -> None:
        """Estimates of one source, in the order of time within each track."""
        if self._header is None:
            raise ValueError(f"{self.name} is not open")
        for estimate in estimates:
            self._told.setdefault(estimate.track, []).append(estimate)
        self._draw_due()

    def close(self) -> None:
        """Draw what still waits and finish the file. No file is left when there was no frame."""
        try:
            while self._held and not self._failed:
                self._draw(self._held.popleft())
            if self._next is not None and not self._failed:
                self._encode(self._next, _LAST_S)
            self._file.close()
        finally:
            self._held.clear()
            self._next = self._header = None

    def __enter__(self) -> OverlaySink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except AffectError:
            if error is None:
                raise

    # -- which frame is due ----------------------------------------------------------------------------------------

    def _draw_due(self) -> None:
        while self._held and not self._failed and self._due(self._held[0]):
            held = self._held.popleft()
            self._held_bytes -= held.frame.nbytes
            self._draw(held)

    def _due(self, held: _Held) -> bool:
        """Whether nothing better will come: each face has an estimate of the frame's time, or the wait is over."""
        header = self._header
        assert header is not None
        longest_s = header.look_ahead_s + header.hop_steps / header.step_hz + _SLACK_S
        if self._shown_s - held.at_s > longest_s or self._held_bytes > _MAX_HELD_BYTES:
            return True
        reached = {track: told[-1].t_s for track, told in self._told.items()}
        if held.faces:
            until_s = min(reached.get(face.track, -1.0) for face in held.faces)
        else:
            until_s = max(reached.values(), default=-1.0)
        return until_s >= held.at_s - 0.5 / header.step_hz

    # -- drawing and encoding --------------------------------------------------------------------------------------

    def _draw(self, held: _Held) -> None:
        """A picture lasts until the next one, so that each is encoded when the next is due."""
        if self._next is not None:
            self._encode(self._next, min(held.at_s - self._next.at_s, _MAX_PICTURE_S))
        self._next = held

    def _encode(self, held: _Held, lasts_s: float) -> None:
        header = self._header
        assert header is not None
        if self._picture is None:
            height, width = held.frame.shape[:2]
            self._picture = OverlayPicture(width, height, header)
            self._file.open(self._picture.layout.width, self._picture.layout.height)
        elif header.live and self._file.busy:
            self.left_out += 1
            return
        until_s = held.at_s + 0.5 / header.step_hz
        known = {track: self._recent(told, until_s) for track, told in self._told.items()}
        self._told = {track: told for track, told in self._told.items() if told}
        picture = self._picture.draw(held.frame, held.at_s, held.faces, known)
        try:
            self._file.push(picture, held.at_s, lasts_s)
        except BaseException:
            self._failed = True  # nothing more is drawn while the run unwinds
            raise
        self.written += 1

    def _recent(self, told: list[Estimate], until_s: float) -> list[Estimate]:
        """What the curves show at that moment; older estimates are forgotten."""
        gone = bisect_right(told, until_s - CURVES_S - 1, key=lambda e: e.t_s)
        del told[:gone]
        return told[: bisect_right(told, until_s, key=lambda e: e.t_s)]
