"""The words of one segment on its steps: sentences, their vectors, and the rows of a window that they fill."""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from affectrt.bundle.contract import TextModality

from ..asking import Asked, Done
from ..engines.base import Array
from ..timeline import Features, features_from
from .heard import Heard
from .pieces import Pieces
from .sentences import ends_sentence, split_sentences
from .word import Word, WordsChunk

__all__ = ["Reading", "WordLine"]

_FOR_GOOD = sys.maxsize


@dataclass
class Reading:
    """What a session needs for text. `await_words`: the transcript is waited for until it is final.

    `runs` counts the sentences that the encoder was asked for, `changes` those that appeared or changed.
    """

    pieces: Pieces
    await_words: bool
    heard: Heard = field(default_factory=Heard)
    runs: int = 0
    changes: int = 0


@dataclass(eq=False)
class _Encoding:
    """The vectors of a sentence's words, normalised, once all of its parts have been computed."""

    parts: list[Features | None]
    vectors: Features | None = None


@dataclass(eq=False)
class _Sentence:
    """`first_step` and `last_step` are the outermost that a word of it may lie under, `place` its first placed word."""

    words: tuple[Word, ...]
    first_step: int
    last_step: int
    place: int
    encoding: _Encoding | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(word.text for word in self.words)

    @property
    def known(self) -> bool:
        return self.encoding is not None and self.encoding.vectors is not None


class WordLine:
    """Asks for the vectors of each sentence once, when the media has come to it, and again when its texts change.

    `changed` is called when a sentence has its vectors.
    """

    def __init__(
        self,
        text: TextModality,
        step_hz: float,
        first_step: int,
        reading: Reading,
        ask: Asked,
        changed: Callable[[], None],
    ) -> None:
        assert text.stage is not None
        self._text = text
        self._stage = text.stage
        self._step_hz = step_hz
        self._reading = reading
        self._ask = ask
        self._changed = changed
        self._sentences: list[_Sentence] = []
        # Of the sentences: all before the first of these have their vectors, all before the second were asked for.
        self._unknown = 0
        self._unasked = 0
        # The words that have steps of their own: disjoint ranges that increase. `_gone` of them were forgotten.
        self._first: list[int] = []
        self._last: list[int] = []
        self._vectors: list[tuple[_Sentence, int]] = []
        self._gone = 0
        self._covered = first_step - 1
        self._reached = first_step
        # Words that begin before this are not of this segment, or no window will need them.
        self._since_s = first_step / step_hz
        self.push(reading.heard.whole())

    # -- words in ----------------------------------------------------------------------------------------------

    def push(self, chunk: WordsChunk) -> None:
        """Take in a chunk that `Heard` has put right."""
        since_s = max(chunk.since_s, self._since_s)
        fresh = [word for word in chunk.words if word.start_s >= since_s]
        begin = bisect_left(self._sentences, since_s, key=lambda sentence: sentence.words[-1].start_s)
        head: list[Word] = []
        if begin < len(self._sentences) and self._sentences[begin].words[0].start_s < since_s:
            head = [word for word in self._sentences[begin].words if word.start_s < since_s]
        elif begin > 0:
            # What comes may go on with the sentence before.
            begin -= 1
            head = list(self._sentences[begin].words)
        self._replace(begin, split_sentences([*head, *fresh], self._text))
        self._ask_for_reached()

    def reach(self, next_step: int) -> None:
        """The media has come to all steps before this one."""
        if next_step > self._reached:
            self._reached = next_step
            self._ask_for_reached()

    def _replace(self, begin: int, sentences: list[tuple[Word, ...]]) -> None:
        encodings: dict[tuple[str, ...], list[_Encoding]] = defaultdict(list)
        for old in self._sentences[begin:]:
            if old.encoding is not None:
                encodings[old.texts].append(old.encoding)
        if begin < len(self._sentences):
            place = self._sentences[begin].place - self._gone
            del self._first[place:], self._last[place:], self._vectors[place:], self._sentences[begin:]
        for words in sentences:
            sentence = self._place(words)
            # The same texts at other times are the same sentence.
            same = encodings.get(sentence.texts)
            sentence.encoding = same.pop(0) if same else None
            self._sentences.append(sentence)
        self._unknown = min(self._unknown, begin)
        self._unasked = min(self._unasked, begin)

    def _place(self, words: tuple[Word, ...]) -> _Sentence:
        """A step belongs to the first word under which it lies."""
        ranges = [(self._after(word.start_s), self._after(word.end_s) - 1) for word in words]
        place = len(self._first) + self._gone
        sentence = _Sentence(words, ranges[0][0], max(last for _, last in ranges), place)
        for row, (first, last) in enumerate(ranges):
            covered = self._last[-1] if self._last else self._covered
            if last > covered and last >= first:
                self._first.append(max(first, covered + 1))
                self._last.append(last)
                self._vectors.append((sentence, row))
        return sentence

    def _after(self, time_s: float) -> int:
        """The first step whose time lies after this one."""
        step = math.floor(time_s * self._step_hz)
        while step / self._step_hz > time_s:
            step -= 1
        while step / self._step_hz <= time_s:
            step += 1
        return step

    # -- vectors -----------------------------------------------------------------------------------------------

    def _ask_for_reached(self) -> None:
        while self._unasked < len(self._sentences):
            sentence = self._sentences[self._unasked]
            if sentence.encoding is None:
                if sentence.first_step >= self._reached:
                    return
                self._reading.changes += 1
                self._ask_for(sentence)
            self._unasked += 1

    def _ask_for(self, sentence: _Sentence) -> None:
        parts = self._reading.pieces.parts(sentence.texts)
        encoding = sentence.encoding = _Encoding([None] * len(parts))
        self._reading.runs += 1
        for number, feeds in enumerate(parts):
            done = self._storing(encoding, number, feeds, sentence.first_step)
            self._ask(self._stage, -1, sentence.first_step, feeds, done)

    def _storing(self, encoding: _Encoding, number: int, feeds: Mapping[str, Array], step: int) -> Done:
        count = int(feeds["word_index"].max())

        def store(result: Array | None) -> None:
            features = features_from(result, step)[:count]
            encoding.parts[number] = (features - np.float32(self._text.mean)) / np.float32(self._text.std)
            parts = [part for part in encoding.parts if part is not None]
            if len(parts) == len(encoding.parts):
                encoding.vectors = np.concatenate(parts)
            self._changed()

        return store

    # -- windows out -------------------------------------------------------------------------------------------

    @property
    def decided_until(self) -> int:
        """Every step before this one has the word that it will be fused with, if any, and that word its vector.

        Where words are not waited for, what was not heard yet is no word; where they are, sentences must be final.
        """
        while self._unknown < self._unasked and self._sentences[self._unknown].known:
            self._unknown += 1
        until = self._sentences[self._unknown].first_step if self._unknown < len(self._sentences) else _FOR_GOOD
        return min(until, self._final_until()) if self._reading.await_words else until

    def _final_until(self) -> int:
        final_s = self._reading.heard.final_s
        if math.isinf(final_s):
            return _FOR_GOOD
        begun = bisect_left(self._sentences, final_s, key=lambda sentence: sentence.words[0].start_s)
        if begun:
            last = self._sentences[begun - 1]
            # The next word that may come, and still be followed by others.
            next_word = Word("", final_s, final_s)
            if last.words[-1].start_s >= final_s or not ends_sentence(list(last.words), next_word, self._text):
                return min(last.first_step, self._after(final_s))
        return self._after(final_s)

    def present(self, step: int) -> bool:
        """Whether a word lies under this step."""
        at = bisect_left(self._last, step)
        return at < len(self._last) and self._first[at] <= step

    def until_s(self, step: int) -> float:
        """How far the transcript reaches, of the time up to this step."""
        return min(self._reading.heard.until_s, step / self._step_hz)

    def window(self, steps: range, length: int, *, repeat_first: bool = False) -> Features:
        """Rows of `steps`, oldest first, as (length, dim): if they are fewer, zeros follow or the first precedes."""
        window = np.zeros((length, self._text.feature_dim), np.float32)
        lead = length - len(steps) if repeat_first else 0
        for at in range(bisect_left(self._last, steps[0]), len(self._last)):
            if self._first[at] > steps[-1]:
                break
            begin = max(0, -((steps[0] - self._first[at]) // steps.step))
            end = min(len(steps), (self._last[at] - steps[0]) // steps.step + 1)
            sentence, row = self._vectors[at]
            if begin < end and sentence.encoding is not None and sentence.encoding.vectors is not None:
                window[lead + begin : lead + end] = sentence.encoding.vectors[row]
        window[:lead] = window[lead] if lead else 0
        return window

    def forget_before(self, step: int) -> None:
        """No window will ever ask for a step before this one. Of the past the last sentence stays: it may go on."""
        while len(self._sentences) > 1 and self._sentences[0].last_step < step and self._unknown > 0:
            past = self._sentences.pop(0)
            self._since_s = math.nextafter(past.words[-1].start_s, math.inf)
            placed = self._sentences[0].place - self._gone
            if placed:
                self._covered = self._last[placed - 1]
                del self._first[:placed], self._last[:placed], self._vectors[:placed]
                self._gone += placed
            self._unknown -= 1
            self._unasked -= 1
