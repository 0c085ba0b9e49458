"""One raw video read through the runtime's own file source, each picture with its number and its face."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType

import numpy as np

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import MediaError
from affectrt.runtime.faces import Face, FaceFinder, Frame, whole_frame
from affectrt.runtime.sources.base import AudioChunk, Event, StreamEnd, VideoChunk, VideoWish
from affectrt.runtime.sources.file import FileSource

from .person import person_of
from .raw import GivenCrops, RawVideo
from .stills import Part, StillsSource, WindowedSound

__all__ = ["RawSource", "View", "faces_of_person", "given_view", "whole_view"]

View = Callable[[int, Frame], tuple[Frame, list[Face]]]
"""From a picture's index and the picture to what the session sees, and the person's face in it, if any."""

WINDOWED_HZ = 25.0  # pictures a second of sound that was cut into windows
_ONLY_TIMES = VideoWish(max_side_px=16)


class RawSource:
    """The events of a raw video; use in a `with` block, iterate once.

    `times_s` has the media time of every picture that came so far: row i of a picture-wise annotation belongs to the
    ith. With `shrunk`, pictures are too small to see anything: only their times are wanted. Sound comes from
    `raw.audio` where that is given; both clocks then begin at 0.
    """

    def __init__(self, raw: RawVideo, contract: Contract, *, shrunk: bool = False) -> None:
        rate = contract.audio.sample_rate_hz if contract.audio is not None else None
        wish = _ONLY_TIMES if shrunk else VideoWish()
        apart = raw.audio is not None and rate is not None
        self._media: Part
        if raw.stills is not None:
            self._media = StillsSource(raw.stills)
        else:
            self._media = FileSource(raw.media, video=wish, audio_rate_hz=None if apart else rate)
        self._sound = _sound_apart(raw, rate) if apart and rate is not None else None
        self._stack = ExitStack()
        self.times_s: list[float] = []

    @property
    def modalities(self) -> frozenset[str]:
        return self._media.modalities | (self._sound.modalities if self._sound is not None else frozenset())

    @property
    def notes(self) -> tuple[str, ...]:
        """What the sources had to say, without what is known already: that sound is elsewhere."""
        sources = [source for source in (self._media, self._sound) if source is not None]
        return tuple(note.message for source in sources for note in source.outcome.notes)

    def __enter__(self) -> RawSource:
        with ExitStack() as stack:
            for source in (self._media, self._sound):
                if source is not None:
                    stack.enter_context(source)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[Event]:
        for event in self._merged():
            if isinstance(event, VideoChunk):
                self.times_s.extend(float(at) for at in event.pts_s)
            yield event

    def _merged(self) -> Iterator[Event]:
        """What has come less far goes first, so that neither waits in memory for the other."""
        if self._sound is None:
            yield from self._media
            return
        streams = [iter(self._media), iter(self._sound)]
        reached = [0.0, 0.0]
        while streams:
            at = reached.index(min(reached))
            event = next(streams[at], None)
            if event is None:
                del streams[at], reached[at]
                continue
            reached[at] = _end_s(event, reached[at])
            yield event


def _sound_apart(raw: RawVideo, rate_hz: int) -> Part:
    assert raw.audio is not None
    if raw.audio.is_dir():
        return WindowedSound(raw.audio, rate_hz, raw.stills.hz if raw.stills is not None else WINDOWED_HZ)
    return FileSource(raw.audio, audio_rate_hz=rate_hz)


def _end_s(event: Event, before: float) -> float:
    if isinstance(event, VideoChunk):
        return float(event.pts_s[-1])
    if isinstance(event, AudioChunk):
        return event.pts_s
    return float("inf") if isinstance(event, StreamEnd) else before


def whole_view(index: int, frame: Frame) -> tuple[Frame, list[Face]]:
    return frame, [whole_frame(frame)]


def given_view(crops: GivenCrops) -> View:
    """The crop of the picture's number, counted from 1, in its place; no face where there is no crop."""

    def view(index: int, frame: Frame) -> tuple[Frame, list[Face]]:
        crop = crops(index + 1)
        return (frame, []) if crop is None else (crop, [whole_frame(crop)])

    return view


def faces_of_person(raw: RawVideo, finder: FaceFinder) -> View:
    """Reads all pictures once, as a run would, to know who is the person, and remembers where its face is.

    The person is track 0 from then on, whichever of the finder's tracks it was.
    """
    pictures: list[list[Face]] = []
    width = 0
    with FileSource(raw.media, video=VideoWish()) as source:
        for event in source:
            if isinstance(event, VideoChunk):
                for frame, at in zip(event.frames, event.pts_s, strict=True):
                    pictures.append(finder.find(frame, float(at)))
                    width = frame.shape[1]
    chosen = person_of(pictures, width, raw.side)

    def view(index: int, frame: Frame) -> tuple[Frame, list[Face]]:
        if index >= len(chosen):
            raise MediaError(f"{raw.media} has more pictures when it is read a second time")
        face = chosen[index]
        return frame, [] if face is None else [Face(0, face.box, face.score, face.landmarks)]

    return view


def picture_rate(times_s: list[float]) -> tuple[float | None, float | None]:
    """Pictures a second, and the longest time from one picture to the next; None of fewer than two."""
    if len(times_s) < 2:
        return None, None
    return (len(times_s) - 1) / (times_s[-1] - times_s[0]), float(np.diff(times_s).max())
