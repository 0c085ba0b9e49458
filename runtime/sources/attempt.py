"""One connection of a live source, from building its pipeline to the fault or the end that closes it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from affectrt.bundle.errors import MediaError

from .base import AudioChunk, StreamName, VideoChunk, VideoWish
from .chunks import AudioChunker, VideoChunker
from .faults import Fault
from .gst import gst
from .live_pipeline import LivePipeline
from .messages import no_decoder
from .meters import DriftMeter
from .reconnect import Reconnect
from .uri import SourceUri

__all__ = ["Accept", "Attempt"]

Accept = Callable[[StreamName, "VideoChunk | AudioChunk | None", float, float], bool]
"""Takes a stream's chunk (None: a repeated picture), the monotonic time of running time 0, and how many seconds ahead
of the clock the chunk may lie; says whether it was new media."""

_POLL_S = 0.05
_PULL_NS = 100_000_000
_LIVE_REACH_S = 2.0
_PACED_REACH_S = 30.0


class Attempt:
    """`run` belongs to one thread and returns when the connection is over. `accept` and `at_end` are called from the
    pulling threads, one a stream; `first_media` from the thread of `run`. `reading` says whether anybody reads yet.

    `silent` has streams that gave nothing in the attempt before although others did: they are not waited for.
    """

    def __init__(
        self,
        sources: Sequence[SourceUri],
        wanted: Sequence[frozenset[StreamName]],
        video: VideoWish | None,
        audio_rate_hz: int | None,
        *,
        reconnect: Reconnect,
        drift: DriftMeter,
        transport: str,
        silent: frozenset[StreamName],
        stopped: Callable[[], bool],
        reading: Callable[[], bool],
        accept: Accept,
        first_media: Callable[[Attempt], None],
        at_end: Callable[[StreamName], None],
    ) -> None:
        self._sources = sources
        self._wanted = frozenset[StreamName]().union(*wanted)
        self._audio_rate_hz = audio_rate_hz or 16_000
        self._reconnect = reconnect
        self._was_silent = silent
        self._stopped, self._reading = stopped, reading
        self._accept, self._first_media, self._at_end = accept, first_media, at_end
        self._pipeline = LivePipeline(sources, wanted, video, audio_rate_hz, drift, transport)
        self._paced = any(source.kind in {"file", "http"} for source in sources)
        self._pullers: dict[StreamName, threading.Thread] = {}
        self._progress: dict[StreamName, float] = {}
        self._came: set[StreamName] = set()
        self._over: set[StreamName] = set()
        self._error: BaseException | None = None
        self._closing = False
        # A file plays from its beginning for whoever begins to read it.
        self._held = all(source.kind == "file" for source in sources)
        self.finite = all(source.kind == "file" or "duration" in source.options for source in sources)
        self.duration_s: float | None = None

    @property
    def streams(self) -> frozenset[StreamName]:
        return frozenset(self._pullers)

    @property
    def open_streams(self) -> list[StreamName]:
        return sorted(self.streams - self._over)

    @property
    def came(self) -> bool:
        """Whether new media has come."""
        return bool(self._came)

    @property
    def silent(self) -> frozenset[StreamName]:
        """Streams that gave nothing although another one did."""
        return self.streams - self._came if self._came else frozenset()

    def run(self) -> Fault | None:
        """Why the connection is over; None when the media has ended or the source was stopped. Leaves nothing open.

        Raises MissingDependency for elements that lack, and what went wrong in a callback or a thread.
        """
        began = time.monotonic()
        try:
            self._pipeline.start(held=self._held)
            told = False
            while not self._stopped():
                fault = self._pipeline.poll(_POLL_S)
                self._start_pullers()
                if self._error is not None:
                    raise self._error
                if not told and self._pipeline.complete and (self._came or (self._held and self.streams)):
                    self.duration_s = self._pipeline.duration_s()
                    self.finite = self.finite or self._known_length()
                    told = True
                    self._first_media(self)
                if told and self._held and self._reading():
                    self._held, began = False, time.monotonic()
                    self._pipeline.play()
                fault = fault or self._fault(began)
                if fault is not None:
                    return fault
                if self._over and self._over == self.streams and self._pipeline.complete:
                    return None if self.finite and told else Fault("the stream ended")
            return None
        finally:
            self._close()

    def _known_length(self) -> bool:
        """A web server's file, as opposed to a stream: it would begin anew after each reconnection."""
        return all(source.kind in {"http", "file"} for source in self._sources) and self.duration_s is not None

    def _fault(self, began: float) -> Fault | None:
        """What the watchdog finds."""
        now = time.monotonic()
        if self._pipeline.complete and not self._pipeline.sinks:
            return self._nothing_wanted()
        if not self._came:
            if self._held and self._pipeline.complete:
                return None
            if now - began > self._reconnect.start_s:
                return Fault(f"no media within {self._reconnect.start_s:g} s of connecting")
            return None
        watched = [s for s in self.open_streams if s in self._came or s not in self._was_silent]
        stalled = [s for s in watched if now - self._progress[s] > self._reconnect.stall_s]
        # In a file one stream may pause for long; of a camera each has to go on.
        if not stalled or (self._paced and len(stalled) < len(watched)):
            return None
        return Fault(f"{' and '.join(stalled)} stalled: nothing came for {self._reconnect.stall_s:g} s")

    def _nothing_wanted(self) -> Fault:
        name = "+".join(source.public for source in self._sources)
        wanted = " and no ".join(sorted(self._wanted, reverse=True))
        if self._pipeline.missing:
            return Fault(f"no decoder for {wanted}", final=True, error=no_decoder(name, self._pipeline.missing))
        error = MediaError(f"{name} has no {wanted}", expected="a source of what the model takes")
        return Fault(f"no {wanted} in it", final=True, error=error)

    def _close(self) -> None:
        self._closing = True
        self._pipeline.close()
        for puller in self._pullers.values():
            puller.join()

    # -- pulling ---------------------------------------------------------------------------------------------------

    def _start_pullers(self) -> None:
        for stream, sink in self._pipeline.sinks.items():
            if stream not in self._pullers:
                self._progress[stream] = time.monotonic()
                name = f"affectrt-{stream}"
                puller = threading.Thread(target=self._pull, args=(stream, sink), name=name, daemon=True)
                self._pullers[stream] = puller
                puller.start()

    def _pull(self, stream: StreamName, sink: Any) -> None:
        try:
            self._pull_all(stream, sink)
        except BaseException as error:
            if not self._closing:
                self._error = self._error or error

    def _pull_all(self, stream: StreamName, sink: Any) -> None:
        repeated = gst().BufferFlags.GAP
        chunker = VideoChunker() if stream == "video" else AudioChunker(self._audio_rate_hz)
        reach_s = _PACED_REACH_S if self._paced else _LIVE_REACH_S
        while not self._closing:
            sample = sink.try_pull_sample(_PULL_NS)
            if self._closing:
                return
            if sample is None:
                if sink.is_eos():
                    if self.finite:
                        self._at_end(stream)
                    self._over.add(stream)
                    return
                continue
            base_s = self._pipeline.base_time_s
            if stream == "video" and sample.get_buffer().get_flags() & repeated:
                self._accept(stream, None, base_s, reach_s)
                continue
            for chunk in chunker.push(sample):
                if self._accept(stream, chunk, base_s, reach_s):
                    self._progress[stream] = time.monotonic()
                    self._came.add(stream)
