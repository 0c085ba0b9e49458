"""Phase 1 of text: the encoder learns on sentences, with a linear head that is thrown away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from affectrt.bundle.contract import Contract, TextModality
from affectrt.bundle.errors import AffectError
from affectrt.runtime.words.pieces import Pieces

from .losses import CccLoss
from .metrics import ccc
from .recipe import TextRecipe
from .text import Part, parts_of, stacked, word_vectors, words_of_steps
from .train_encoders import Example

__all__ = ["TextTask", "vector_scale"]

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Spoken:
    """One recording: its parts, the word under every step, and the mean annotation of every word."""

    parts: list[Part]
    word_of_step: npt.NDArray[np.int64]
    truth: Rows  # (words, outputs), NaN where none of its steps is annotated
    example: Example


class TextTask:
    """A text encoder and its throw-away head, on random sentences of all training recordings.

    `unknown` is the number of the piece that hides a word.
    """

    name = "text encoder"

    def __init__(
        self,
        encoder: nn.Module,
        contract: Contract,
        pieces: Pieces,
        train: Sequence[Example],
        validation: Sequence[Example],
        recipe: TextRecipe,
        unknown: int,
    ) -> None:
        assert contract.text is not None
        self._encoder, self._text, self._recipe, self._unknown = encoder, contract.text, recipe, unknown
        self.head = nn.Linear(contract.text.feature_dim, train[0].truth.shape[1])
        self.module: nn.Module = nn.ModuleDict({"encoder": encoder, "head": self.head})
        self._validation = [_spoken(e, contract.text, pieces, contract.step_hz) for e in validation]
        self._sentences: list[tuple[Part, Rows]] = []
        for recording in (_spoken(e, contract.text, pieces, contract.step_hz) for e in train):
            for part in recording.parts:
                truth = recording.truth[part.first : part.first + part.count]
                if not np.isnan(truth).all():
                    self._sentences.append((part, truth))
        if not self._sentences or not any(len(recording.truth) for recording in self._validation):
            raise AffectError(
                "a model with text, and no recording with words that is annotated in training or in validation",
                expected="transcripts beside the media",
                fix="write spoken = true under [corpus] in the recipe",
            )
        self._ccc = CccLoss()

    def loss(self, rng: np.random.Generator) -> Tensor:
        """Over all annotated words of the batch, however many steps each lasts."""
        picked = [self._sentences[at] for at in rng.integers(0, len(self._sentences), self._recipe.batch)]
        token_ids, mask, word_index = stacked([part for part, _ in picked])
        length = token_ids.shape[1]
        truth = np.full((len(picked), length, self.head.out_features), np.nan, np.float32)
        for row, (part, values) in enumerate(picked):
            truth[row, : part.count] = values
        hidden = np.zeros((len(picked), length + 1), bool)
        hidden[:, 1:] = rng.random((len(picked), length)) < self._recipe.unknown
        of_piece = torch.from_numpy(np.take_along_axis(hidden, word_index.numpy(), axis=1))
        estimates = self.head(self._encoder(torch.where(of_piece, self._unknown, token_ids), mask, word_index))
        known = torch.from_numpy(~np.isnan(truth).any(axis=2))
        read, wanted = estimates[known], torch.from_numpy(truth)[known]
        loss: Tensor = self._ccc(read.unsqueeze(0), wanted.unsqueeze(0))
        return loss + self._recipe.mse * nn.functional.mse_loss(read, wanted)

    def score(self) -> tuple[float, ...]:
        """Over the steps that have a word."""
        estimated, true = [], []
        for recording in self._validation:
            vectors = word_vectors(self._encoder, recording.parts, self._text.feature_dim)
            with torch.inference_mode():
                read = self.head(torch.from_numpy(vectors)).numpy()
            annotated = ~np.isnan(recording.example.truth).any(axis=1)
            steps = np.flatnonzero((recording.word_of_step >= 0) & annotated)
            estimated.append(read[recording.word_of_step[steps]])
            true.append(recording.example.truth[steps])
        x, y = np.concatenate(estimated), np.concatenate(true)
        return tuple(ccc(x[:, d], y[:, d]) for d in range(y.shape[1]))


def vector_scale(
    encoder: nn.Module, contract: Contract, pieces: Pieces, examples: Sequence[Example]
) -> tuple[float, float]:
    """Mean and standard deviation of all numbers in all words' vectors, each word counted for its steps."""
    assert contract.text is not None
    count, total, squares = 0, 0.0, 0.0
    for example in examples:
        words = example.spans.words
        vectors = word_vectors(encoder, parts_of(words, pieces, contract.text), contract.text.feature_dim)
        of_step = words_of_steps(words, example.spans.steps, contract.step_hz)
        under = vectors[of_step[of_step >= 0]].astype(np.float64)
        count, total, squares = count + under.size, total + float(under.sum()), squares + float((under**2).sum())
    mean = total / max(count, 1)
    return mean, float(np.sqrt(max(squares / max(count, 1) - mean**2, 1e-12)))


def _spoken(example: Example, text: TextModality, pieces: Pieces, step_hz: float) -> _Spoken:
    words = example.spans.words
    of_step = words_of_steps(words, example.spans.steps, step_hz)
    annotated = ~np.isnan(example.truth).any(axis=1)
    truth = np.full((len(words), example.truth.shape[1]), np.nan, np.float32)
    for at in range(len(words)):
        under = (of_step == at) & annotated
        if under.any():
            truth[at] = example.truth[under].mean(axis=0)
    return _Spoken(parts_of(words, pieces, text), of_step, truth, example)
