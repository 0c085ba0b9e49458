"""Sentences of random pieces: an encoder of text is compared with PyTorch at every length, whatever was recorded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import TEXT_INPUTS, TextModality

__all__ = ["random_sentences"]

ROWS_PER_LENGTH = 3
MAX_PIECES_A_WORD = 3


def random_sentences(text: TextModality, pieces: int, *, seed: int = 0) -> dict[str, npt.NDArray[np.int64]]:
    """Input → rows, as long as the contract's longest: for each length a full sentence, one word, and one between.

    `pieces`: how many the vocabulary has. Piece 0 stands for all that is special: any do, to compare programs.
    """
    rng = np.random.default_rng(seed)
    lengths = text.token_lengths
    rows = np.zeros((len(TEXT_INPUTS), ROWS_PER_LENGTH * len(lengths), lengths[-1]), np.int64)
    row = 0
    for shortest, length in zip((2, *lengths), lengths, strict=False):
        for used in (length, shortest + 1, int(rng.integers(shortest + 1, length + 1))):
            owners = np.repeat(np.arange(1, used), rng.integers(1, MAX_PIECES_A_WORD + 1, used - 1))[: used - 2]
            rows[0, row, :used] = rng.integers(0, pieces, used)
            rows[1, row, :used] = 1
            rows[2, row, 1 : used - 1] = owners
            row += 1
    return dict(zip(TEXT_INPUTS, rows, strict=True))
