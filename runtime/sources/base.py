"""What a source gives: chunks of audio and video on media time, and at the end a word on how it went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from ..faces import Frame

__all__ = [
    "AudioChunk",
    "Event",
    "Note",
    "NoteKind",
    "Outcome",
    "Source",
    "StreamEnd",
    "VideoChunk",
    "VideoWish",
]

StreamName = Literal["video", "audio"]


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


Event = VideoChunk | AudioChunk | StreamEnd

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
    """How frames shall look: the longer side is scaled down to `max_side_px`, never up; pixels are square."""

    max_side_px: int = 640


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
