"""Punctuation for recognised words, which come without: a token classifier in a folder of the user's.

RCMA's authors put `oliverguhr/fullstop-punctuation-multilang-large` between recogniser and BERT, because sentences end
where its full stops and question marks are.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from affectrt.bundle.errors import UsageError
from affectrt.runtime.words import Word

from .punctuation_directory import LabelMap, check_directory

__all__ = ["Punctuation", "Window", "windows"]

# The authors' package cuts after 230 words too, but lets windows overlap by 5 words that the first one has labelled
# without what follows them; here both sides of a seam have at least ten words around them.
WINDOW_WORDS = 230
OVERLAP_WORDS = 20
# What the package takes away beforehand, so that nothing is punctuated twice; within numbers it stays.
_OLD = re.compile(r"(?<!\d)[.,;:!?](?!\d)")
# Of the labels, what is put onto a word. A dash would make it half of a compound.
_PUT = frozenset(".,?!:;")
_COUNTED_AT_ONCE = 1000


class Window(NamedTuple):
    """The words [begin, end) are looked at together; the labels of [since, until) count."""

    begin: int
    end: int
    since: int
    until: int


def windows(pieces: Sequence[int], most_pieces: int, most_words: int, overlap: int) -> Iterator[Window]:
    """Windows over words of so many `pieces` each; every word counts in exactly one, in order.

    None has more than `most_words` words, nor more than `most_pieces` pieces unless it is of a single word. Neighbours
    share `overlap` words, as far as they are long enough, and the seam is in their middle.
    """
    begin = since = 0
    total = [0, *itertools.accumulate(pieces)]
    while begin < len(pieces):
        end = begin + 1
        while end < len(pieces) and end - begin < most_words and total[end + 1] - total[begin] <= most_pieces:
            end += 1
        if end == len(pieces):
            yield Window(begin, end, since, end)
            return
        shared = min(overlap, (end - begin) // 2)
        until = end - shared // 2
        if since < until:
            yield Window(begin, end, since, until)
        begin, since = end - shared, max(since, until)


class Punctuation:
    """Opened once, used for any number of transcripts; computes on the CPU, deterministically.

    UsageError, with all that is wrong, for a folder that is no token classifier of punctuation in Hugging Face's
    layout, or that would have code or pickles of it executed.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        checked = check_directory(directory)
        self.name = checked.name
        self._labels: LabelMap = checked.labels
        self._tokenizer, self._model = checked.opened()
        self._most = checked.most_pieces(self._tokenizer)

    def onto(
        self, words: Sequence[Word], progress: Callable[[float, float | None], None] | None = None
    ) -> tuple[Word, ...]:
        """The words with `.`, `?`, `!`, `,`, `:` and `;` where the model puts them; no time changes.

        Their own punctuation is taken away before, except within numbers; a word of nothing else stays as it is.
        `progress` is told how many words are done, and of how many.
        """
        bare = [_OLD.sub("", word.text) for word in words]
        said = [at for at, text in enumerate(bare) if text.strip()]
        texts = [bare[at] for at in said]
        made = list(words)
        room = self._most - self._tokenizer.num_special_tokens_to_add()
        for window in windows(self._pieces(texts), room, WINDOW_WORDS, OVERLAP_WORDS):
            labels = self._labelled(texts[window.begin : window.end])
            for at in range(window.since, window.until):
                label = labels[at - window.begin]
                mark = label if label in _PUT else ""
                made[said[at]] = replace(words[said[at]], text=texts[at] + mark)
            if progress is not None:
                progress(window.until, len(texts))
        return tuple(made)

    def _pieces(self, texts: Sequence[str]) -> list[int]:
        """How many pieces each word has: words are cut apart first, so its neighbours do not matter."""
        counts = [0] * len(texts)
        for since in range(0, len(texts), _COUNTED_AT_ONCE):
            block = texts[since : since + _COUNTED_AT_ONCE]
            encoded = self._tokenizer(
                list(block), is_split_into_words=True, add_special_tokens=False, truncation=False, verbose=False
            )
            for word in encoded.word_ids(0):
                if word is not None:
                    counts[since + word] += 1
        return counts

    def _labelled(self, texts: Sequence[str]) -> list[str]:
        """The label of each word is that of its last piece, as in the authors' package."""
        import torch

        encoded: Any = self._tokenizer(
            list(texts), is_split_into_words=True, truncation=True, max_length=self._most, return_tensors="pt"
        )
        with torch.inference_mode():
            logits = self._model(**encoded).logits[0]
        if not bool(torch.isfinite(logits).all()):
            raise UsageError(
                f"the model in {self.name} computes numbers that are none", expected="weights of a trained model"
            )
        labels = ["0"] * len(texts)
        for word, number in zip(encoded.word_ids(0), logits.argmax(dim=-1).tolist(), strict=True):
            if word is not None:
                labels[word] = self._labels[number]
        return labels
