"""Where sentences end: what is encoded together, in training as in a run."""

from __future__ import annotations

from collections.abc import Iterable

from affectrt.bundle.contract import TextModality

from .word import Word

__all__ = ["ends_sentence", "split_sentences"]

_FULL_STOPS = (".", "!", "?", "…")
_CLOSING = "\"'”’)]»"


def ends_sentence(sentence: list[Word], following: Word, text: TextModality) -> bool:
    """Whether `following` begins a new sentence: punctuation, a pause, or too many words (`SPEC.md`, section 4)."""
    last = sentence[-1]
    return (
        last.text.rstrip(_CLOSING).endswith(_FULL_STOPS)
        or following.start_s - last.end_s >= text.pause_s
        or len(sentence) >= text.max_words
    )


def split_sentences(words: Iterable[Word], text: TextModality) -> list[tuple[Word, ...]]:
    """Words in order of time → sentences. What follows a sentence never changes it."""
    sentences: list[list[Word]] = []
    for word in words:
        if not sentences or ends_sentence(sentences[-1], word, text):
            sentences.append([])
        sentences[-1].append(word)
    return [tuple(sentence) for sentence in sentences]
