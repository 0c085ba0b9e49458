"""A source with words: everything that the source gives, and what a transcriber makes of its sound."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TypeVar, cast, overload

import numpy as np

from ..sources.base import AudioChunk, Event, Gap, LiveSource, Note, Outcome, Source, StreamEnd
from ..sources.wrapping import WrappingSource
from .recognition import Direct, Recognition, Threaded
from .transcriber import Transcriber
from .word import WordsChunk

__all__ = ["SpokenFile", "SpokenLive", "transcriber_of", "with_words"]

S = TypeVar("S", bound=Source)
_log = logging.getLogger(__name__)

_SLICE_S = 0.05
# How long to wait for the recogniser when nothing else is to come.
_REST_S = 0.005


@overload
def with_words(source: LiveSource, transcriber: Transcriber) -> LiveSource: ...
@overload
def with_words(source: Source, transcriber: Transcriber) -> Source: ...
def with_words(source: Source, transcriber: Transcriber) -> Source:
    """The source, not yet entered, with `WordsChunk`s among its events and "text" among its modalities.

    The source has to give sound at the transcriber's rate (`open_source(…, words_rate_hz=…)`); if it has none, there
    are no words. The words of a file come in step with its sound. Those of a live source come when a thread of its own
    has recognised them; behind by more than 5 s of sound it skips that, which `counters()` tell as
    `words_audio_dropped_s`. A transcriber that fails ends text alone (`words_failed`). It is closed with the source.
    """
    if hasattr(source, "next_event"):
        return SpokenLive(cast(LiveSource, source), transcriber)
    return SpokenFile(source, transcriber)


def transcriber_of(sources: Sequence[Source]) -> str | None:
    """Whose words the sources carry: the names, each once; None where there are to be none."""
    names = [source.transcriber.name for source in sources if isinstance(source, _Spoken)]
    return ", ".join(dict.fromkeys(names)) or None


class _Spoken(WrappingSource[S]):
    """What both kinds share: when to listen, and where the events of the source behind go."""

    def __init__(self, source: S, transcriber: Transcriber) -> None:
        super().__init__(source)
        self.transcriber = transcriber
        self._recognition: Recognition | None = None
        self._text_ended = False
        self._stopped = False

    @property
    def failed(self) -> bool:
        """Whether the transcriber has given up."""
        return self._recognition is not None and self._recognition.failed

    @property
    def modalities(self) -> frozenset[str]:
        return super().modalities | ({"text"} if self._recognition is not None else frozenset())

    def stop(self) -> None:
        self._stopped = True
        super().stop()

    def _listen(self, *, live: bool) -> None:
        """Begin, where there is something to hear."""
        rate_hz = self.transcriber.sample_rate_hz
        if rate_hz is not None and "audio" not in self.modalities:
            _log.warning("%s has no sound for %s to hear: text is missing", self.name, self.transcriber.name)
            return
        if rate_hz is not None and live:
            self._recognition = Threaded(self.transcriber, rate_hz)
            return
        self._recognition = Direct(self.transcriber)
        if rate_hz is None:
            self._recognition.hear(np.zeros(0, np.float32), 0.0)

    def _pass_on(self, event: Event) -> None:
        if self._recognition is None:
            return
        if isinstance(event, AudioChunk):
            if self.transcriber.sample_rate_hz is not None:
                self._recognition.hear(event.samples, event.pts_s)
        elif isinstance(event, Gap):
            self._recognition.lose()
        elif isinstance(event, StreamEnd) and event.modality == "audio" and self.transcriber.sample_rate_hz is not None:
            self._recognition.finish()

    def _next_words(self) -> WordsChunk | StreamEnd | None:
        if self._recognition is None or self._text_ended:
            return None
        chunk = self._recognition.take()
        if chunk is None and self._recognition.over:
            self._text_ended = True
            return StreamEnd("text")
        return chunk

    def _hush(self) -> None:
        (self._recognition or self.transcriber).close()


class SpokenFile(_Spoken[Source]):
    """A file and its words, in step: each piece of sound is recognised before the next event is read."""

    def __enter__(self) -> Source:
        super().__enter__()
        self._listen(live=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hush()
        super().__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[Event]:
        yield from self._said()
        for event in self._source:
            yield event
            self._pass_on(event)
            yield from self._said()
        if self._recognition is not None and not self._stopped:
            self._recognition.finish()
            yield from self._said()

    def _said(self) -> Iterator[Event]:
        while (event := self._next_words()) is not None:
            yield event


class SpokenLive(_Spoken[LiveSource]):
    """A live source and its words, which come late."""

    _broken_off = False

    @property
    def outcome(self) -> Outcome:
        outcome = super().outcome
        if self._broken_off and "stopped" not in outcome.kinds:
            outcome = replace(outcome, notes=(Note("stopped", f"{self.name} was stopped"), *outcome.notes))
        return outcome

    @property
    def epoch_s(self) -> float:
        return self._source.epoch_s

    @property
    def ended(self) -> bool:
        return self._stopped or (self._source.ended and (self._recognition is None or self._text_ended))

    def counters(self) -> Mapping[str, int | float]:
        heard = self._recognition
        return {
            **self._source.counters(),
            "words_audio_dropped_s": round(heard.dropped_s, 3) if heard is not None else 0.0,
            "words_failed": int(self.failed),
        }

    def next_event(self, timeout_s: float) -> Event | None:
        if self._stopped:
            return None
        words = self._next_words()
        if words is not None:
            return words
        if self._source.ended:
            if self._recognition is not None:
                self._recognition.finish()
            time.sleep(min(timeout_s, _REST_S))
            return self._next_words()
        event = self._source.next_event(timeout_s)
        if event is None:
            return self._next_words()
        self._pass_on(event)
        return event

    def __enter__(self) -> Source:
        super().__enter__()
        self._listen(live=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._hush()

    def __iter__(self) -> Iterator[Event]:
        while not self.ended:
            event = self.next_event(_SLICE_S)
            if event is not None:
                yield event
        self._broken_off = self._stopped
