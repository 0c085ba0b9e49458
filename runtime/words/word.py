"""Words on media time, and how a transcript grows and changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Word", "WordsChunk"]


@dataclass(frozen=True, slots=True)
class Word:
    """One word as it was spoken, with punctuation where the transcriber gives any; media times in seconds."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class WordsChunk:
    """All words known that start at `since_s` or later: they replace what was said of that time before.

    The transcript reaches to `until_s`; up to `final_s` it will not change any more (since_s ≤ until_s,
    final_s ≤ until_s). A whole transcript is one chunk with `since_s` 0 and both others infinite.
    """

    words: Sequence[Word]
    since_s: float
    until_s: float
    final_s: float
