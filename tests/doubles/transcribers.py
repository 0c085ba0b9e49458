"""Transcribers that say what a test wants, and misbehave as real ones may."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from affectrt.runtime.words import Word, WordsChunk

__all__ = ["Parrot"]


class Parrot:
    """Says `word0`, `word1`, … for every whole second of sound it has heard, final at once, and remembers its calls.

    `on_hear(n)` is called before the nth piece of sound, and may raise, wait, or return what is given instead of words.
    """

    def __init__(
        self, *, rate_hz: int | None = 16_000, text: str = "word", on_hear: Callable[[int], Any] | None = None
    ) -> None:
        self.name = "parrot"
        self.sample_rate_hz = rate_hz
        self.heard_s = 0.0
        self.losses = 0
        self.closed = 0
        self.threads: set[int] = set()
        self._text = text
        self._on_hear = on_hear
        self._calls = 0
        self._final_s = 0.0

    def hear(self, samples: npt.NDArray[np.float32], pts_s: float) -> Sequence[WordsChunk]:
        self.threads.add(threading.get_ident())
        self._calls += 1
        instead = self._on_hear(self._calls) if self._on_hear is not None else None
        if instead is not None:
            return instead  # type: ignore[no-any-return]
        self.heard_s = pts_s + len(samples) / (self.sample_rate_hz or 1)
        until_s = float(math.floor(self.heard_s + 1e-9))
        if until_s <= self._final_s:
            return []
        return [self._final(until_s)]

    def _final(self, until_s: float) -> WordsChunk:
        since_s, self._final_s = self._final_s, until_s
        first = math.ceil(since_s)
        words = [Word(f"{self._text}{n}", n + 0.25, n + 0.75) for n in range(first, math.floor(self.heard_s + 1e-9))]
        return WordsChunk(words, since_s, until_s, until_s)

    def lose(self) -> Sequence[WordsChunk]:
        self.losses += 1
        return []

    def end(self) -> Sequence[WordsChunk]:
        return [self._final(math.inf)]

    def close(self) -> None:
        self.closed += 1
