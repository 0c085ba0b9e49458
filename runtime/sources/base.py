"""What a source gives: chunks of audio, video and words on media time, and at the end a word on how it went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from ..faces import Frame
from ..words.word import WordsChunk

__all__ = [
    "AudioChunk",
    "Event",
    "Gap",
    "LiveSource",
    "Note",
    "NoteKind",
    "Outcome",
    "Source",
    "StreamEnd",
    "StreamName",
    "VideoChunk",
    "VideoWish",
    "WordsChunk",
]

StreamName = Literal["video", "audio", "text"]


@dataclass(frozen=True, slots=True, eq=False)
class VideoChunk:
    """Frames (uint8 RGB, each of shape (height, width, 3)) and their media times in seconds, increasing."""

    frames: Sequence[Frame]
    pts_s: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class AudioChunk:
    """Mono samples (float32 in [-1, 1], shape = (n,)); the first of them at media time `pts_s`."""

    samples: npt.NDArray[np.float32]
    pts_s: float


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The source has no more of this modality. Every opened modality ends exactly once, unless stopped."""

    modality: StreamName


@dataclass(frozen=True, slots=True)
class Gap:
    """Media was lost, for this reason. What follows goes on at later times of the same clock, as a new segment."""

    reason: str


Event = VideoChunk | AudioChunk | WordsChunk | StreamEnd | Gap

NoteKind = Literal["truncated", "damaged", "missing_decoder", "no_video", "no_audio", "stopped", "warning"]


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that went otherwise than hoped, as a sentence for people."""

    kind: NoteKind
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How reading ended.

    `notes` come gravest first; none means that everything wanted was read to its end. `decoded_s` is media time up
    to the end of the last chunk, per modality; `duration_s` is what the container claims, None where it is silent.
    """

    notes: tuple[Note, ...] = ()
    decoded_s: Mapping[str, float] = field(default_factory=dict)
    duration_s: float | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(note.kind for note in self.notes) or ("complete",)

    @property
    def complete(self) -> bool:
        """Everything that the container holds of the wanted modalities was read; a modality may be absent."""
        return not {"truncated", "damaged", "missing_decoder", "stopped"} & set(self.kinds)


@dataclass(frozen=True, slots=True)
class VideoWish:
    """How frames shall look: the longer side is scaled down to `max_side_px`, never up; pixels are square.

    Of a live source, frames above `max_rate_hz` are left out before they are converted; None takes all.
    """

    max_side_px: int = 640
    max_rate_hz: int | None = None


class Source(Protocol):
    """Use in a `with` block, iterate once. Entering raises MediaError for what cannot be read at all."""

    @property
    def name(self) -> str:
        """How results call this source: a file name without its folder."""
        ...

    @property
    def modalities(self) -> frozenset[str]:
        """The wanted modalities that are really there; known once entered."""
        ...

    @property
    def duration_s(self) -> float | None:
        """What the container claims; None for live sources and silent containers."""
        ...

    @property
    def outcome(self) -> Outcome:
        """Known once iteration has ended."""
        ...

    def stop(self) -> None:
        """End iteration soon (within 0.2 s). May be called from a signal handler or another thread."""
        ...

    def __iter__(self) -> Iterator[Event]: ...

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LiveSource(Source, Protocol):
    """A source that does not wait for its reader: what is not read in time is dropped, oldest first, and counted."""

    @property
    def epoch_s(self) -> float:
        """`time.monotonic()` at media time 0: a chunk's age is `time.monotonic() - epoch_s - pts_s`."""
        ...

    @property
    def ended(self) -> bool:
        """Nothing will come any more, and everything that came has been read."""
        ...

    def next_event(self, timeout_s: float) -> Event | None:
        """The next event, or None when there is none within `timeout_s`. Raises MediaError when the source is lost."""
        ...

    def counters(self) -> Mapping[str, int | float]:
        """Since the first reading: frames_in, frames_dropped, audio_chunks_in, audio_chunks_dropped; since entering:
        not_advancing, frozen, gaps, reconnects; now: queue_video, queue_audio (entries waiting), skew_ms, drift_ppm
        (0 until measured).

        `not_advancing` counts frames and chunks whose time did not advance or leapt ahead. `skew_ms` is how much
        later sound arrives than the picture of the same media time. `drift_ppm` is how much faster the samples come
        than their timestamps advance.
        """
        ...
