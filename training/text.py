"""The words of a recording: sentences for the encoder, a vector for every word, and the word under every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import Contract, TextModality
from affectrt.runtime.engines.base import Array
from affectrt.runtime.words import Word
from affectrt.runtime.words.pieces import Pieces, padded
from affectrt.runtime.words.sentences import split_sentences

if TYPE_CHECKING:
    from torch import nn

    from affectrt.models.network import Network

__all__ = ["Part", "on_steps", "parts_of", "pieces_of_network", "stacked", "word_vectors", "words_of_steps"]

_ENCODE_BATCH = 64


@dataclass(frozen=True, eq=False)
class Part:
    """What the encoder takes at once: nearly always a sentence. Its words are `first` … `first + count - 1`."""

    feeds: dict[str, Array]
    first: int
    count: int


def pieces_of_network(model: Network) -> Pieces | None:
    """The word pieces of a network that encodes text, as its bundle will have them."""
    contract = Contract.model_validate(model.contract())
    vocabulary = model.attachments().get("vocabulary")
    if contract.text is None or vocabulary is None:
        return None
    return Pieces(vocabulary.decode().splitlines(), contract.text)


def parts_of(words: Sequence[Word], pieces: Pieces, text: TextModality) -> list[Part]:
    """The parts of a whole transcript, in order."""
    parts: list[Part] = []
    first = 0
    for sentence in split_sentences(words, text):
        for feeds in pieces.parts([word.text for word in sentence]):
            parts.append(Part(feeds, first, int(feeds["word_index"].max())))
            first += parts[-1].count
    return parts


def stacked(parts: Sequence[Part]) -> list[Any]:
    """The encoder's inputs for these parts, as long as the longest of them: tensors (parts, L)."""
    import torch

    length = max(part.feeds["mask"].size for part in parts)
    rows = [padded(part.feeds, length) for part in parts]
    return [torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]]


def word_vectors(encoder: nn.Module, parts: Sequence[Part], dim: int) -> npt.NDArray[np.float32]:
    """(words, dim): what the encoder says of every word, as it comes out of the graph."""
    import torch

    vectors = np.zeros((sum(part.count for part in parts), dim), np.float32)
    encoder.eval()
    with torch.inference_mode():
        for at in range(0, len(parts), _ENCODE_BATCH):
            batch = parts[at : at + _ENCODE_BATCH]
            for part, rows in zip(batch, encoder(*stacked(batch)).numpy(), strict=True):
                vectors[part.first : part.first + part.count] = rows[: part.count]
    return vectors


def words_of_steps(words: Sequence[Word], steps: int, step_hz: float) -> npt.NDArray[np.int64]:
    """(steps,): the first word with start < t ≤ end, -1 where there is none (arXiv 2403.13659)."""
    times = np.arange(steps) / step_hz
    found = np.full(steps, -1, np.int64)
    firsts = np.searchsorted(times, [word.start_s for word in words], side="right")
    ends = np.searchsorted(times, [word.end_s for word in words], side="right")
    for at in reversed(range(len(words))):
        found[firsts[at] : ends[at]] = at
    return found


def on_steps(
    vectors: npt.NDArray[np.float32], word_of_step: npt.NDArray[np.int64], text: TextModality
) -> npt.NDArray[np.float32]:
    """(steps, dim), as a fusion takes it: (vector - mean) / std of the word under each step, zeros without a word."""
    rows = np.zeros((len(word_of_step), text.feature_dim), np.float32)
    said = word_of_step >= 0
    rows[said] = (vectors[word_of_step[said]] - np.float32(text.mean)) / np.float32(text.std)
    return rows
