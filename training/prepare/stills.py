"""Pictures and sound that were cut into files of their own: a clock for the pictures, one stream of the sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import MediaError
from affectrt.runtime.sources.base import AudioChunk, Event, Outcome, StreamEnd, VideoChunk
from affectrt.runtime.sources.file import FileSource

__all__ = ["SOUND_FRAMES", "Part", "Stills", "StillsSource", "WindowedSound"]

SOUND_FRAMES = 128  # of one window of sound
_CHUNK = 32
_SIDE_PX = 16


class Part(Protocol):
    """What `RawSource` needs of a source that reads one part of a recording."""

    @property
    def modalities(self) -> frozenset[str]: ...

    @property
    def outcome(self) -> Outcome: ...

    def __iter__(self) -> Iterator[Event]: ...

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True)
class Stills:
    """`count` pictures that no media file holds; picture i is shown at i / hz."""

    count: int
    hz: float


class _Whole:
    outcome = Outcome()

    def __enter__(self) -> _Whole:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __iter__(self) -> Iterator[Event]:
        raise NotImplementedError


class StillsSource(_Whole):
    """The times of the pictures, with black ones: what they show is given by crops."""

    modalities = frozenset({"video"})

    def __init__(self, stills: Stills) -> None:
        self._stills = stills

    def __iter__(self) -> Iterator[Event]:
        black = np.zeros((_SIDE_PX, _SIDE_PX, 3), np.uint8)
        for begin in range(0, self._stills.count, _CHUNK):
            numbers = np.arange(begin, min(begin + _CHUNK, self._stills.count))
            yield VideoChunk([black] * len(numbers), numbers / self._stills.hz)
        yield StreamEnd("video")


class WindowedSound(_Whole):
    """Sound of which file `<k>.wav` holds the 128 pictures from picture k on, k = 1, 2, …, put together again.

    Files 1, 129, 257, … are read and the last one, whose beginning is known by then. Raises `MediaError` where one of
    them is missing or too short.
    """

    modalities = frozenset({"audio"})

    def __init__(self, folder: Path, rate_hz: int, hz: float) -> None:
        self._folder, self._rate_hz, self._hz = folder, rate_hz, hz

    def __iter__(self) -> Iterator[Event]:
        numbers = {int(path.stem) for path in self._folder.glob("*.wav") if path.stem.isdecimal()}
        if not numbers:
            raise MediaError(f"{self._folder} holds no windows of sound", expected="1.wav, 2.wav, …")
        wanted = [*range(1, max(numbers), SOUND_FRAMES), max(numbers)]
        if lacking := [number for number in wanted if number not in numbers]:
            raise MediaError(
                f"{self._folder} lacks {', '.join(f'{number}.wav' for number in lacking[:5])}",
                expected=f"a window for every picture but the last {SOUND_FRAMES - 1}",
                fix="cut the sound again",
            )
        reached = 0
        for number in dict.fromkeys(wanted):
            begin = self._sample(number - 1)
            samples = self._window(self._folder / f"{number}.wav", self._sample(number - 1 + SOUND_FRAMES) - begin)
            if (fresh := samples[reached - begin :]).size:
                yield AudioChunk(fresh, reached / self._rate_hz)
                reached += fresh.size
        yield StreamEnd("audio")

    def _sample(self, picture: int) -> int:
        return round(picture * self._rate_hz / self._hz)

    def _window(self, path: Path, count: int) -> npt.NDArray[np.float32]:
        with FileSource(path, audio_rate_hz=self._rate_hz) as source:
            pieces: Sequence[npt.NDArray[np.float32]] = [e.samples for e in source if isinstance(e, AudioChunk)]
        samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        if samples.size < count - 1:
            raise MediaError(
                f"{path} lasts {samples.size / self._rate_hz:.3f} s",
                expected=f"{count / self._rate_hz:.2f} s, {SOUND_FRAMES} pictures",
                fix="cut the sound again",
            )
        return np.pad(samples[:count], (0, max(0, count - samples.size)), mode="edge")
