"""Words → word pieces: what the text encoder's graph takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from affectrt.bundle.contract import TEXT_INPUTS, TextModality
from affectrt.bundle.errors import BundleError, MissingDependency
from affectrt.bundle.store import Bundle

from ..engines.base import Array

__all__ = ["VOCABULARY", "Pieces", "padded", "pieces_of"]

VOCABULARY = "vocabulary"
"""The attachment that holds the pieces, one a line."""

CLS, SEP, UNK, PAD = "[CLS]", "[SEP]", "[UNK]", "[PAD]"
# The largest vocabularies of many languages have half a million pieces of a dozen bytes.
_MAX_BYTES = 32 << 20


class Pieces:
    """BERT's word pieces of one vocabulary (a piece a line, its number is its place).

    Raises BundleError for a vocabulary without the special pieces or with one piece twice, MissingDependency
    without the package `tokenizers` when first used.
    """

    def __init__(self, vocabulary: Sequence[str], text: TextModality) -> None:
        self._ids = {piece: number for number, piece in enumerate(vocabulary)}
        self._text = text
        missing = [piece for piece in (CLS, SEP, UNK, PAD) if piece not in self._ids]
        if missing or len(self._ids) != len(vocabulary):
            raise BundleError(
                f"a vocabulary without {', '.join(missing)}" if missing else "a vocabulary with a piece twice",
                expected="BERT's form, vocab.txt: one piece a line, each once, with [PAD], [UNK], [CLS] and [SEP]",
            )

    def of(self, word: str) -> list[int]:
        """The pieces of one word; of several, as `well-known` or `don't` have, all belong to it. At least one."""
        ids: list[int] = self._tokenizer.encode(word, add_special_tokens=False).ids
        return ids or [self._ids[UNK]]

    def parts(self, words: Sequence[str]) -> list[dict[str, Array]]:
        """The feeds of a sentence, without batch axis, in as many parts as its pieces need (nearly always one).

        A part is as long as the shortest of the contract's lengths that holds it. A word of more pieces than the
        longest holds keeps its first ones. The words of a part are rows 0, 1, … of its features.
        """
        room = self._text.token_lengths[-1] - 2
        parts: list[list[list[int]]] = [[]]
        used = 0
        for word in words:
            ids = self.of(word)[:room]
            if used + len(ids) > room:
                parts.append([])
                used = 0
            parts[-1].append(ids)
            used += len(ids)
        return [self._feeds(part) for part in parts if part]

    def _feeds(self, words: Sequence[Sequence[int]]) -> dict[str, Array]:
        ids = [self._ids[CLS], *(number for word in words for number in word), self._ids[SEP]]
        owners = [0, *(at for at, word in enumerate(words, start=1) for _ in word), 0]
        length = next(length for length in self._text.token_lengths if length >= len(ids))
        rows = np.zeros((len(TEXT_INPUTS), length), np.int64)
        rows[0] = self._ids[PAD]
        rows[:, : len(ids)] = ids, [1] * len(ids), owners
        return dict(zip(TEXT_INPUTS, rows, strict=True))

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            from tokenizers import Tokenizer
            from tokenizers.models import WordPiece
            from tokenizers.normalizers import BertNormalizer
            from tokenizers.pre_tokenizers import BertPreTokenizer
        except ImportError:
            raise MissingDependency(
                "this bundle reads words, for which the package tokenizers is not installed",
                expected="tokenizers 0.20 or newer",
                fix="pip install 'affectrt[text]'",
            ) from None
        tokenizer: Any = Tokenizer(WordPiece(self._ids, unk_token=UNK, max_input_chars_per_word=100))
        tokenizer.normalizer = BertNormalizer(lowercase=self._text.lower_case)
        tokenizer.pre_tokenizer = BertPreTokenizer()
        return tokenizer


def pieces_of(bundle: Bundle) -> Pieces | None:
    """The word pieces of a bundle that encodes text; None for one that does not.

    Raises BundleError where the vocabulary is missing, too large or no text, and what `Pieces` raises.
    """
    text = bundle.contract.text
    if text is None or text.stage is None:
        return None
    fix = "export the model again: affectrt export CKPT --out NAME.affect"
    attachment = bundle.manifest.attachments.get(VOCABULARY)
    if attachment is None:
        raise BundleError(
            f"{bundle.path} encodes text and has no vocabulary", expected=f"an attachment `{VOCABULARY}`", fix=fix
        )
    if attachment.size_bytes > _MAX_BYTES:
        raise BundleError(
            f"the vocabulary of {bundle.path} has {attachment.size_bytes} bytes",
            expected=f"at most {_MAX_BYTES}",
            fix=fix,
        )
    try:
        lines = bundle.read(attachment).decode("utf-8").split("\n")
    except UnicodeDecodeError:
        found = f"the vocabulary of {bundle.path} is not UTF-8"
        raise BundleError(found, expected="one piece a line", fix=fix) from None
    return Pieces([line.rstrip("\r") for line in (lines if lines[-1] else lines[:-1])], text)


def padded(feeds: Mapping[str, Array], length: int) -> dict[str, Array]:
    """A sentence's feeds (…, L) with their last axis filled with zeros up to `length`: words and vectors stay the same.

    ValueError where they are longer than that.
    """
    longer: dict[str, Array] = {}
    for name, feed in feeds.items():
        more = length - feed.shape[-1]
        if more < 0:
            raise ValueError(f"{name} has {feed.shape[-1]} places, more than {length}")
        longer[name] = np.pad(feed, [(0, 0)] * (feed.ndim - 1) + [(0, more)]) if more else feed
    return longer
