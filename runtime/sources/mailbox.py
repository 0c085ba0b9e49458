"""Where a live source's events wait for the reader: bounded, the oldest goes first, and what goes is counted."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from .base import AudioChunk, Event, Gap, VideoChunk

__all__ = ["Mailbox"]

_SLICE_S = 0.05


class Mailbox:
    """Holds at most `max_frames` video chunks and `max_audio_s` of sound, in the order in which they came.

    Gaps and ends are never dropped; of gaps with nothing between them the last one stays. Any number of threads put,
    one takes. What came and went before the first `take` is not counted: nobody was reading yet.
    """

    def __init__(self, audio_rate_hz: int | None, *, max_frames: int = 2, max_audio_s: float = 1.0) -> None:
        self._max_frames = max_frames
        self._max_samples = int(max_audio_s * (audio_rate_hz or 0))
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self.waiting = {"video": 0, "audio": 0}
        self.came = {"video": 0, "audio": 0}
        self.dropped = {"video": 0, "audio": 0}
        self._samples = 0
        self.begun = False

    def put(self, event: Event) -> None:
        with self._changed:
            if isinstance(event, Gap) and self._events and isinstance(self._events[-1], Gap):
                self._events.pop()
            self._events.append(event)
            self._account(event, 1)
            if isinstance(event, VideoChunk):
                self.came["video"] += 1
                while self.waiting["video"] > self._max_frames:
                    self._drop(VideoChunk, "video")
            elif isinstance(event, AudioChunk):
                self.came["audio"] += 1
                while self._samples > self._max_samples and self.waiting["audio"] > 1:
                    self._drop(AudioChunk, "audio")
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """The reader gets this once it has taken what waits; the first error counts."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def take(self, timeout_s: float, stopped: Callable[[], bool]) -> Event | None:
        """The oldest event; None after `timeout_s`, or soon after `stopped` turns true. Raises what `fail` was told.

        It waits in slices, so that a signal handler which only sets a flag is heard.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            if not self.begun:
                self.begun = True
                self.came, self.dropped = dict(self.waiting), {"video": 0, "audio": 0}
            while not stopped():
                if self._events:
                    event = self._events.popleft()
                    self._account(event, -1)
                    return event
                if self._error is not None:
                    raise self._error
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(min(left, _SLICE_S))
        return None

    @property
    def empty(self) -> bool:
        """Nothing waits, no error either."""
        return not self._events and self._error is None

    def _drop(self, kind: type[VideoChunk] | type[AudioChunk], name: str) -> None:
        index = next(i for i, event in enumerate(self._events) if isinstance(event, kind))
        self._account(self._events[index], -1)
        del self._events[index]
        self.dropped[name] += 1

    def _account(self, event: Event, sign: int) -> None:
        if isinstance(event, VideoChunk):
            self.waiting["video"] += sign
        elif isinstance(event, AudioChunk):
            self.waiting["audio"] += sign
            self._samples += sign * len(event.samples)
