"""The word pieces of the demo's text encoder: the words of the drawn corpus, and letters for every other word."""

from __future__ import annotations

from affectrt.models.sizes import LETTER_PIECES

from .synthetic.lexicon import every_word

__all__ = ["demo_vocabulary"]


def demo_vocabulary() -> tuple[str, ...]:
    """`LETTER_PIECES`, then the corpus's words: nothing in English letters or figures is unknown."""
    return (*LETTER_PIECES, *(word for word in every_word() if word not in LETTER_PIECES))
