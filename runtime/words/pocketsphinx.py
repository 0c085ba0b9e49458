"""PocketSphinx: the recogniser that needs no download, because its wheel carries a model of US English."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import MissingDependency

from .hearing import LONGEST_S, Hearing, pcm_from_samples
from .word import Word, WordsChunk

__all__ = ["PocketSphinx"]

_FRAMES_HZ = 100
# Models that are followed at once: with the package's 30 000 noise costs more than twice the time of speech, and on
# espeak-ng's speech 5000 understood as many words.
_MOST_STATES = 5000
_VARIANT = re.compile(r"\(\d+\)$")
# The endpointer looks this far back before it says that speech has begun: silence is certain only before that.
_WINDOW_S = 0.3


class PocketSphinx:
    """Its endpointer finds speech, its decoder recognises it; 16 kHz. MissingDependency without the package.

    Partial words are told three times a second while somebody speaks, final ones after a pause of 0.3 s or 20 s of
    speech. `docs/text.md` says how good it is.
    """

    name = "pocketsphinx"
    sample_rate_hz = 16_000

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder, Endpointer
        except ImportError:
            raise MissingDependency(
                "the recogniser PocketSphinx is not installed",
                expected="the package pocketsphinx, whose wheel carries an English model",
                fix="pip install 'affectrt[text]'",
            ) from None
        self._decoder = Decoder(samprate=self.sample_rate_hz, loglevel="FATAL", maxhmmpf=_MOST_STATES)
        self._new_endpointer = Endpointer
        self._hearing = Hearing(self.sample_rate_hz)
        self._waiting = b""
        self._began_s = self._spoken_s = 0.0
        self._begin()

    def hear(self, samples: npt.NDArray[np.float32], pts_s: float) -> Sequence[WordsChunk]:
        told = [] if self._hearing.follows(pts_s) else list(self.lose())
        self._hearing.push(len(samples), pts_s, idle=not self._endpointer.in_speech)
        self._waiting += pcm_from_samples(samples)
        size = self._endpointer.frame_bytes
        whole = len(self._waiting) // size * size
        for at in range(0, whole, size):
            told += self._take(self._waiting[at : at + size])
        self._waiting = self._waiting[whole:]
        return told

    def lose(self) -> Sequence[WordsChunk]:
        told = []
        if self._endpointer.in_speech:
            rest = self._endpointer.end_stream(self._waiting)
            if rest:
                self._decode(rest)
            told = self._finish()
        told += self._hearing.final((), self._hearing.heard_s)
        self._begin()
        return told

    def end(self) -> Sequence[WordsChunk]:
        return [*self.lose(), *self._hearing.end()]

    def close(self) -> None:
        self._decoder = None

    def _begin(self) -> None:
        self._endpointer = self._new_endpointer(window=_WINDOW_S, sample_rate=self.sample_rate_hz)
        self._waiting = b""
        self._hearing.restart()

    def _take(self, frame: bytes) -> list[WordsChunk]:
        """One frame of the endpointer, 30 ms."""
        was_in_speech = self._endpointer.in_speech
        speech = self._endpointer.process(frame)
        if speech is None:
            return self._hearing.final((), self._hearing.heard_s - 2 * _WINDOW_S)
        if not was_in_speech:
            self._start(self._endpointer.speech_start)
        self._decode(speech)
        if not self._endpointer.in_speech:
            return self._finish()
        if self._spoken_s >= LONGEST_S:
            told = self._finish()
            self._start(self._began_s + self._spoken_s)
            return told
        if self._hearing.partial_is_due():
            return self._hearing.partial(self._words(), self._hearing.at(self._began_s + self._spoken_s))
        return []

    def _start(self, at: float) -> None:
        self._decoder.start_utt()
        self._began_s, self._spoken_s = at, 0.0

    def _decode(self, speech: bytes) -> None:
        self._decoder.process_raw(speech)
        self._spoken_s += len(speech) / 2 / self.sample_rate_hz

    def _finish(self) -> list[WordsChunk]:
        self._decoder.end_utt()
        return self._hearing.final(self._words(), self._hearing.at(self._began_s + self._spoken_s))

    def _words(self) -> Iterator[Word]:
        """The hypothesis without silences and noises, variants of pronunciation such as `the(2)` under their word."""
        for segment in self._decoder.seg() or ():
            if segment.word[0] not in "<[+":
                start_s, end_s = segment.start_frame / _FRAMES_HZ, (segment.end_frame + 1) / _FRAMES_HZ
                at_s = self._hearing.at(self._began_s)
                yield Word(_VARIANT.sub("", segment.word), at_s + start_s, at_s + end_s)
