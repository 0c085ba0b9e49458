"""What was heard of one stream so far: a transcript that grows and changes, with whatever is wrong in it put right."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable

from .word import Word, WordsChunk

__all__ = ["SETTLED_S", "Heard"]

# What lies further behind the newest media is final, whatever the transcriber says: waiting for it costs memory.
SETTLED_S = 120.0
# Nobody speaks one word for longer; a transcriber that lost track says so.
_LONGEST_WORD_S = 10.0
# BERT's word pieces know no longer word either.
_LONGEST_TEXT = 100
# Three years of media.
_LATEST_S = 1e8
# Words of the future, as a transcript has that is whole from the start: more than a day of speech.
_MOST_WORDS = 200_000
# How far before the newest media a segment that is yet to begin may reach back.
_BEHIND_S = 1.0


class Heard:
    """The words that are known and not yet past, in order of their beginnings, and how far they may be relied on.

    A chunk is taken as `bundle/SPEC.md` says, section 4: words without text or with times that are no times are left
    out, the others are put in order and shortened to 10 s, and none changes what was final before. Nothing raises.
    """

    def __init__(self) -> None:
        self.words: list[Word] = []
        self.until_s = 0.0
        self.ended = False
        self._final_s = 0.0
        self._latest_s = 0.0
        self._past = 0

    @property
    def final_s(self) -> float:
        """Words that begin before this media time will not change any more, and none will join them."""
        return math.inf if self.ended else max(self._final_s, self._latest_s - SETTLED_S)

    @property
    def count(self) -> int:
        """Words that began before the newest media, as far as is known now."""
        return self._past + bisect_left(self.words, self._latest_s, key=_start)

    def reach(self, latest_s: float) -> None:
        """Media has come as far as this."""
        self._latest_s = max(self._latest_s, latest_s)

    def push(self, chunk: WordsChunk) -> WordsChunk:
        """Take a chunk in; gives what of it counts."""
        since_s = max(0.0 if math.isnan(chunk.since_s) else chunk.since_s, self.final_s)
        kept = bisect_left(self.words, since_s, key=_start)
        fresh = _in_order(chunk.words, since_s)[: max(0, _MOST_WORDS - kept)]
        self.words[kept:] = fresh
        if not math.isnan(chunk.final_s):
            self._final_s = max(self._final_s, chunk.final_s)
        for reached_s in (chunk.until_s, chunk.final_s):
            if not math.isnan(reached_s):
                self.until_s = max(self.until_s, reached_s)
        self._forget()
        return WordsChunk(fresh, since_s, self.until_s, self.final_s)

    def whole(self) -> WordsChunk:
        """All that is known, for who begins to listen now."""
        return WordsChunk(self.words, 0.0, self.until_s, self.final_s)

    def _forget(self) -> None:
        """Words that are final and behind the media belong to the segments that have them."""
        past = bisect_left(self.words, min(self.final_s, self._latest_s - _BEHIND_S), key=_start)
        self._past += past
        del self.words[:past]


def _start(word: Word) -> float:
    return word.start_s


def _in_order(words: Iterable[Word], since_s: float) -> list[Word]:
    fresh = [mended for word in words if (mended := _mended(word)) is not None and mended.start_s >= since_s]
    return sorted(fresh, key=_start)


def _mended(word: Word) -> Word | None:
    """The word as it may be used; None for one that says nothing or lies nowhere."""
    # A lone surrogate, as of a damaged transcript, is no text that a tokenizer takes.
    text = word.text.encode("utf-8", "replace").decode().strip()[:_LONGEST_TEXT]
    if not text or not (math.isfinite(word.start_s) and math.isfinite(word.end_s)) or word.start_s > _LATEST_S:
        return None
    start_s = max(0.0, word.start_s)
    end_s = min(word.end_s, start_s + _LONGEST_WORD_S)
    return Word(text, start_s, end_s) if end_s > start_s else None
