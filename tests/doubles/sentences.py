"""Made-up sentences of word pieces, as a text encoder's graph takes them."""

from __future__ import annotations

import numpy as np

from affectrt.bundle.contract import TEXT_INPUTS
from affectrt.runtime.engines.base import Array

__all__ = ["sentences"]


def sentences(rows: int, length: int, *, pieces: int, seed: int = 0) -> dict[str, Array]:
    """`rows` sentences padded to `length`, the first one of just that length; words of one to three of `pieces`."""
    rng = np.random.default_rng(seed)
    feeds = {name: np.zeros((rows, length), np.int64) for name in TEXT_INPUTS}
    for row in range(rows):
        count = length if row == 0 else int(rng.integers(2, length + 1))
        starts = rng.random(count - 2) < 0.6
        feeds["token_ids"][row, :count] = rng.integers(0, pieces, count)
        feeds["mask"][row, :count] = 1
        feeds["word_index"][row, 1 : count - 1] = np.maximum(np.cumsum(starts), 1)
    return feeds
