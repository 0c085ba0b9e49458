"""Who hands the sound of a source to a transcriber: at once, or in a thread of its own. No fault of it gets further."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .transcriber import Transcriber
from .word import Word, WordsChunk

__all__ = ["Direct", "Recognition", "Threaded"]

_log = logging.getLogger(__name__)

# How much sound may wait for the recogniser, and for how long it may keep silent with work at hand.
MAX_WAITING_S = 5.0
STALL_S = 5.0
_JOIN_S = 2.0

Samples = npt.NDArray[np.float32]
_Job = Callable[[], Sequence[WordsChunk]]


class Recognition(Protocol):
    """Told of sound and losses by the reader of a source; asked by it for what was said. None of it raises."""

    dropped_s: float
    failed: bool

    def hear(self, samples: Samples, pts_s: float) -> None: ...

    def lose(self) -> None: ...

    def finish(self) -> None:
        """There is no more sound. Further calls do nothing."""
        ...

    def take(self) -> WordsChunk | None:
        """The next chunk, if there is one."""
        ...

    @property
    def over(self) -> bool:
        """Nothing is there and nothing will come any more."""
        ...

    def close(self) -> None: ...


class Direct:
    """In the reader's own thread, which waits: nothing is lost."""

    def __init__(self, transcriber: Transcriber) -> None:
        self.dropped_s, self.failed = 0.0, False
        self._transcriber = transcriber
        self._chunks: deque[WordsChunk] = deque()
        self._finished = False

    def hear(self, samples: Samples, pts_s: float) -> None:
        self._do(lambda: self._transcriber.hear(samples, pts_s))

    def lose(self) -> None:
        self._do(self._transcriber.lose)

    def finish(self) -> None:
        self._do(self._transcriber.end)
        self._finished = True

    def take(self) -> WordsChunk | None:
        return self._chunks.popleft() if self._chunks else None

    @property
    def over(self) -> bool:
        return self._finished and not self._chunks

    def close(self) -> None:
        _closed(self._transcriber)

    def _do(self, job: _Job) -> None:
        if self._finished:
            return
        try:
            self._chunks.extend(_checked(job()))
        except Exception as error:  # whatever a recogniser raises, video and audio go on
            self.failed = self._finished = True
            _tell(self._transcriber, f"{type(error).__name__}: {error}")


class Threaded:
    """In a thread of its own; its reader never waits.

    When more than 5 s of sound wait, all that waits is skipped, counted in `dropped_s`, and the transcriber is told.
    One that raises, gives what is no chunk, or takes more than 5 s for one piece of sound or for what is left at the
    end has failed: the log says so once, nothing more comes of it, and a thread that hangs in it is left behind.
    """

    def __init__(self, transcriber: Transcriber, rate_hz: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.dropped_s, self.failed = 0.0, False
        self._transcriber = transcriber
        self._rate_hz = rate_hz
        self._clock = clock
        self._jobs: deque[tuple[_Job, float]] = deque()
        self._waiting_s = 0.0
        self._chunks: deque[WordsChunk] = deque()
        self._changed = threading.Condition()
        self._busy_since: float | None = None
        self._finishing_since: float | None = None
        self._finished = self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"affectrt-words {transcriber.name}", daemon=True)
        self._thread.start()

    # -- the reader's side ---------------------------------------------------------------------------------------------

    def hear(self, samples: Samples, pts_s: float) -> None:
        lasts_s = len(samples) / self._rate_hz
        with self._changed:
            if self._waiting_s + lasts_s > MAX_WAITING_S:
                self.dropped_s += self._waiting_s
                self._skip()
            self._add(lambda: self._transcriber.hear(samples, pts_s), lasts_s)

    def lose(self) -> None:
        with self._changed:
            self._skip()

    def finish(self) -> None:
        with self._changed:
            if self._finishing_since is None:
                self._add(self._transcriber.end, 0.0)
                self._finishing_since = self._clock()

    def take(self) -> WordsChunk | None:
        with self._changed:
            now = self._clock()
            if self._busy_since is not None and now - self._busy_since > STALL_S:
                self._fail(f"it has not answered for {STALL_S:g} s")
            elif self._finishing_since is not None and now - self._finishing_since > STALL_S:
                self._fail(f"it was not done {STALL_S:g} s after the end")
            return self._chunks.popleft() if self._chunks else None

    @property
    def over(self) -> bool:
        return self._finished and not self._chunks

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._jobs.clear()
            self._changed.notify_all()
        if self._busy_since is None or not self.failed:
            self._thread.join(_JOIN_S)

    def _skip(self) -> None:
        """Leave out what waits, and tell the transcriber."""
        self._jobs.clear()
        self._waiting_s = 0.0
        self._add(self._transcriber.lose, 0.0)

    def _add(self, job: _Job, lasts_s: float) -> None:
        if self._finished or self._finishing_since is not None:
            return
        self._jobs.append((job, lasts_s))
        self._waiting_s += lasts_s
        self._changed.notify_all()

    def _fail(self, why: str) -> None:
        if not self._finished:
            self.failed = self._finished = True
            self._jobs.clear()
            _tell(self._transcriber, why)

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (job := self._next()) is not None:
                chunks = _checked(job())
                with self._changed:
                    self._busy_since = None
                    if self._finished:
                        return
                    self._chunks.extend(chunks)
                    self._finished = self._finishing_since is not None and not self._jobs
        except Exception as error:  # whatever a recogniser raises, video and audio go on
            with self._changed:
                self._fail(f"{type(error).__name__}: {error}")
        finally:
            self._busy_since = None
            _closed(self._transcriber)

    def _next(self) -> _Job | None:
        with self._changed:
            while not self._jobs:
                if self._closed or self._finished:
                    return None
                self._changed.wait()
            job, lasts_s = self._jobs.popleft()
            self._waiting_s -= lasts_s
            self._busy_since = self._clock()
            return job


def _checked(chunks: Sequence[WordsChunk]) -> Sequence[WordsChunk]:
    """Chunks whose shape can be relied on; of words' times a session has rules. ValueError or TypeError for others."""
    for chunk in chunks:
        if not (isinstance(chunk, WordsChunk) and all(isinstance(word, Word) for word in chunk.words)):
            raise TypeError("it gave what are no words")
        if math.isnan(chunk.since_s) or not max(chunk.since_s, chunk.final_s) <= chunk.until_s:
            raise ValueError(f"it gave words since {chunk.since_s}, up to {chunk.until_s}, final to {chunk.final_s}")
    return chunks


def _tell(transcriber: Transcriber, why: str) -> None:
    _log.warning("no more words of %s: %s; text is missing from here on", transcriber.name, why)


def _closed(transcriber: Transcriber) -> None:
    try:
        transcriber.close()
    except Exception as error:
        _log.debug("%s could not be closed: %s", transcriber.name, error)
