"""A source whose media is already in memory: for tests, benchmarks and archives of arrays."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType

import numpy as np
import numpy.typing as npt

from ..faces import Frame
from .base import AudioChunk, Event, Note, Outcome, StreamEnd, VideoChunk

__all__ = ["MemorySource"]


class MemorySource:
    """Plays chunks in the order of their media time; a modality ends right after its last chunk."""

    def __init__(self, chunks: Iterable[VideoChunk | AudioChunk], *, name: str = "memory") -> None:
        self.name = name
        self._video: list[VideoChunk] = []
        self._audio: list[AudioChunk] = []
        for chunk in chunks:
            if isinstance(chunk, VideoChunk):
                self._video.append(chunk)
            else:
                self._audio.append(chunk)
        ends = [float(c.pts_s[-1]) for c in self._video]
        ends += [c.pts_s for c in self._audio]
        self.duration_s: float | None = max(ends, default=None)
        self._outcome = Outcome()
        self._stopped = False

    @classmethod
    def from_arrays(
        cls,
        *,
        frames: Sequence[Frame] | npt.NDArray[np.uint8] | None = None,
        pts_s: Sequence[float] | npt.NDArray[np.float64] = (),
        samples: npt.NDArray[np.float32] | None = None,
        sample_rate_hz: int = 16_000,
        chunk_samples: int = 512,
        name: str = "memory",
    ) -> MemorySource:
        """One chunk a frame, and the waveform (starting at media time 0) in chunks of `chunk_samples`."""
        chunks: list[VideoChunk | AudioChunk] = []
        if frames is not None:
            chunks += [VideoChunk([frame], np.array([at], np.float64)) for frame, at in zip(frames, pts_s, strict=True)]
        if samples is not None:
            chunks += [
                AudioChunk(samples[at : at + chunk_samples], at / sample_rate_hz)
                for at in range(0, len(samples), chunk_samples)
            ]
        return cls(chunks, name=name)

    @property
    def modalities(self) -> frozenset[str]:
        return frozenset(name for name, has in (("video", self._video), ("audio", self._audio)) if has)

    @property
    def outcome(self) -> Outcome:
        return self._outcome

    def stop(self) -> None:
        self._stopped = True

    def __iter__(self) -> Iterator[Event]:
        for _, _, event in heapq.merge(self._timed_video(), self._timed_audio()):
            if self._stopped:
                self._outcome = Outcome((Note("stopped", f"{self.name} was stopped before its end"),))
                return
            yield event

    # (media time, a number that no other event has, event): merging never compares two events.
    def _timed_video(self) -> Iterator[tuple[float, int, Event]]:
        for index, chunk in enumerate(self._video):
            yield float(chunk.pts_s[0]), 2 * index, chunk
        if self._video:
            yield float(self._video[-1].pts_s[-1]), 2 * len(self._video), StreamEnd("video")

    def _timed_audio(self) -> Iterator[tuple[float, int, Event]]:
        for index, chunk in enumerate(self._audio):
            yield chunk.pts_s, 2 * index + 1, chunk
        if self._audio:
            yield self._audio[-1].pts_s, 2 * len(self._audio) + 1, StreamEnd("audio")

    def __enter__(self) -> MemorySource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
