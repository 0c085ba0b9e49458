"""A live source in memory on a clock of the test: media comes whether it is read or not, and the oldest is dropped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType

import numpy as np

from affectrt.bundle.errors import MediaError
from affectrt.runtime.engines import Engine
from affectrt.runtime.engines.base import Array
from affectrt.runtime.sources import AudioChunk, Event, Gap, Outcome, StreamEnd, VideoChunk

__all__ = ["Clock", "LiveDouble", "SlowEngine"]


class Clock:
    """Stands still until somebody spends time."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


class SlowEngine:
    """An engine that costs `row_s` a row on the clock of the test, or a share of it in company."""

    def __init__(self, engine: Engine, clock: Clock, row_s: float) -> None:
        self._engine = engine
        self._clock = clock
        self._row_s = row_s
        self.inputs, self.outputs, self.provenance = engine.inputs, engine.outputs, engine.provenance

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        self._clock.spend(self._row_s * len(next(iter(feeds.values()))))
        return self._engine.infer(feeds)


class LiveDouble:
    """Grey frames and a steady sound from media time 0, in real time by `clock`, for `seconds` of media.

    `gaps`: (from, to, reason), media seconds that are lost; `blind`: (from, to) without frames. `fails_at`: the source
    is lost for good. Queues hold 2
    frames and 1 s of sound.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        seconds: float,
        name: str = "live",
        video: bool = True,
        audio: bool = True,
        fps: float = 25.0,
        chunk_s: float = 0.02,
        rate_hz: int = 16_000,
        gaps: Sequence[tuple[float, float, str]] = (),
        blind: tuple[float, float] = (0.0, 0.0),
        fails_at: float | None = None,
        grey: Callable[[float], int] = lambda at: 100,
        opens: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.modalities = frozenset(n for n, has in (("video", video), ("audio", audio)) if has)
        self.duration_s = None
        self.outcome = Outcome()
        self.epoch_s = clock()
        self.entered = self.left = 0
        self._clock = clock
        self._opens = opens
        self._grey = grey
        self._rate_hz = rate_hz
        self._periods = {"video": 1 / fps, "audio": chunk_s}
        self._made = dict.fromkeys(self.modalities, 0)
        self._queues: dict[str, deque[VideoChunk | AudioChunk]] = {n: deque() for n in self.modalities}
        self._limits = {"video": 2, "audio": round(1 / chunk_s)}
        self._counts = {"video": 0, "audio": 0}
        self._dropped = {"video": 0, "audio": 0}
        self._seconds = seconds
        self._gaps, self._lost = deque(gaps), tuple(gaps)
        self._fails_at = fails_at
        self._blind = blind
        self._ends = deque(StreamEnd(n) for n in ("video", "audio") if n in self.modalities)  # type: ignore[arg-type]
        self._stopped = False

    @property
    def ended(self) -> bool:
        return self._stopped or (not self._ends and not any(self._queues.values()))

    def stop(self) -> None:
        self._stopped = True

    def counters(self) -> Mapping[str, int | float]:
        return {
            "frames_in": self._counts["video"],
            "frames_dropped": self._dropped["video"],
            "audio_chunks_in": self._counts["audio"],
            "audio_chunks_dropped": self._dropped["audio"],
            "queue_video": len(self._queues.get("video", ())),
            "queue_audio": len(self._queues.get("audio", ())),
        }

    def next_event(self, timeout_s: float) -> Event | None:
        event = self._next()
        if event is None and timeout_s > 0:
            # What is not there is waited for; the clock of the test stands for the time that passes.
            self._clock.spend(timeout_s)
            event = self._next()
        return event

    def _next(self) -> Event | None:
        if self._stopped:
            return None
        now = self._clock() - self.epoch_s
        if self._fails_at is not None and now >= self._fails_at:
            raise MediaError(f"{self.name} is lost")
        self._arrive(now)
        waiting = {n: queue[0] for n, queue in self._queues.items() if queue}
        first = min(waiting, key=lambda n: self._pts(waiting[n]), default=None)
        if self._gaps and now >= self._gaps[0][1] - 1e-9:
            begin, _, reason = self._gaps[0]
            if first is None or self._pts(waiting[first]) >= begin:
                self._gaps.popleft()
                return Gap(reason)
        if first is not None:
            return self._queues[first].popleft()
        return self._ends.popleft() if self._ends and now >= self._seconds else None

    def _arrive(self, now: float) -> None:
        """A frame is there at its time, a chunk of sound when its last sample is."""
        for kind, period in self._periods.items():
            if kind not in self.modalities:
                continue
            lag = period if kind == "audio" else 0.0
            while (at := self._made[kind] * period) < self._seconds - 1e-9 and at + lag <= now + 1e-9:
                self._made[kind] += 1
                unseen = kind == "video" and self._blind[0] <= at < self._blind[1]
                if not unseen and not any(begin - 1e-9 <= at < end - 1e-9 for begin, end, _ in self._lost):
                    self._counts[kind] += 1
                    self._queue(kind, self._media(kind, at))

    def _queue(self, kind: str, media: VideoChunk | AudioChunk) -> None:
        self._queues[kind].append(media)
        if len(self._queues[kind]) > self._limits[kind]:
            self._queues[kind].popleft()
            self._dropped[kind] += 1

    def _media(self, kind: str, at: float) -> VideoChunk | AudioChunk:
        if kind == "video":
            return VideoChunk([np.full((24, 32, 3), self._grey(at), np.uint8)], np.array([at], np.float64))
        return AudioChunk(np.full(round(self._periods["audio"] * self._rate_hz), 0.25, np.float32), at)

    @staticmethod
    def _pts(media: VideoChunk | AudioChunk) -> float:
        return float(media.pts_s[0]) if isinstance(media, VideoChunk) else media.pts_s

    def __iter__(self) -> Iterator[Event]:
        while not self.ended:
            event = self.next_event(0.05)
            if event is not None:
                yield event

    def __enter__(self) -> LiveDouble:
        self.entered += 1
        self._opens()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.left += 1
