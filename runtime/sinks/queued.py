"""A sink behind a queue and a thread of its own, so that a slow one holds up neither a live run nor the other sinks."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType

from ..estimate import Estimate
from ..faces import Face, Frame
from .base import FrameSink, Header, ReaderGone, Sink

__all__ = ["QueuedSink"]

_log = logging.getLogger(__name__)

# What a minute of four streams of 25 steps a second makes; of frames (1 MB each at 640 pixels) far fewer.
_ESTIMATES = 6000
_FRAMES = 32
# How long the end of a run waits for a sink to take what is queued.
_CLOSE_S = 2.0


class QueuedSink:
    """Writes to `sink` in the background; at most `estimates` of them, and 32 frames, wait.

    When they are more the oldest are dropped: estimates are counted in `dropped` and told of once, frames counted in
    `left_out`. What the sink raises is raised by the next call here. `close` gives the sink 2 s to take what waits; a
    sink that does not even return is left alone.
    """

    def __init__(self, sink: Sink, *, estimates: int = _ESTIMATES) -> None:
        self.sink = sink
        self.name = sink.name
        self.dropped = 0
        self._frames_lost = 0
        self._limits = {"estimates": estimates, "frames": _FRAMES}
        self._waiting: deque[tuple[str, int, Callable[[], None]]] = deque()
        self._sizes = {"estimates": 0, "frames": 0}
        self._changed = threading.Condition()
        self._closing = False
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    @property
    def wants_frames(self) -> bool:
        """Whether the sink behind the queue draws on frames."""
        return isinstance(self.sink, FrameSink) and self.sink.wants_frames

    @property
    def left_out(self) -> int:
        """Frames that are not in what the sink makes: lost here, or left out by the sink itself."""
        return self._frames_lost + (self.sink.left_out if isinstance(self.sink, FrameSink) else 0)

    @property
    def queued(self) -> int:
        """Estimates that wait."""
        return self._sizes["estimates"]

    def open(self, header: Header) -> None:
        self.sink.open(header)
        self._thread = threading.Thread(target=self._work, name=f"affectrt-sink {self.name}", daemon=True)
        self._thread.start()

    def write(self, estimates: Sequence[Estimate]) -> None:
        taken = list(estimates)
        self._put("estimates", len(taken), lambda: self.sink.write(taken))

    def show(self, frame: Frame, pts_s: float, faces: Sequence[Face] | None = None) -> None:
        sink = self.sink
        if isinstance(sink, FrameSink):
            self._put("frames", 1, lambda: sink.show(frame, pts_s, faces))

    def close(self) -> None:
        """Raises what closing the sink raises, and what writing raised since the last call."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)
            if self._thread.is_alive():
                with self._changed:
                    left, self._failure = self.queued, TimeoutError()
                self._drop(left)
                return
        self.sink.close()
        failure, self._failure = self._failure, None
        if failure is not None and not isinstance(failure, ReaderGone):
            raise failure

    def __enter__(self) -> QueuedSink:
        self.sink.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, kind: str, size: int, act: Callable[[], None]) -> None:
        lost = 0
        with self._changed:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            self._waiting.append((kind, size, act))
            self._sizes[kind] += size
            while self._sizes[kind] > self._limits[kind]:
                oldest = next(entry for entry in self._waiting if entry[0] == kind)
                self._waiting.remove(oldest)
                self._sizes[kind] -= oldest[1]
                if kind == "estimates":
                    lost += oldest[1]
                else:
                    self._frames_lost += oldest[1]
            self._changed.notify_all()
        self._drop(lost)

    def _drop(self, count: int) -> None:
        if count and not self.dropped:
            _log.warning("%s is too slow: estimates are dropped there, the oldest first", self.name)
        self.dropped += count

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting or self._failure is not None:
                    return
                kind, size, act = self._waiting.popleft()
                self._sizes[kind] -= size
            try:
                act()
            except BaseException as failure:
                self._failure = failure
                return
