"""A sample of what a session asks its engines to compute: real inputs, for calibration and for comparing graphs."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

import numpy as np

from affectrt.bundle.contract import Contract

from .engines.base import Array
from .session import Request

__all__ = ["RowSample", "rows_within"]

# Of the rows of one stage: 55 clips of 16 × 224 × 224 pixels, or any sensible number of smaller inputs.
MAX_BYTES = 128 << 20


def rows_within(contract: Contract, stage: str, rows: int) -> int:
    """`rows`, or as many inputs of this stage as fit into 128 MiB, at least one."""
    row_bytes = sum(tensor.nbytes for tensor in contract.stage_inputs(stage))
    return max(1, min(rows, MAX_BYTES // row_bytes))


class RowSample:
    """A uniform sample of `rows` requests' inputs, drawn without knowing how many requests there will be.

    Rows are copied when they are kept: a span may be a view on much more than itself.
    """

    def __init__(self, rows: int, rng: np.random.Generator) -> None:
        self._rows = rows
        self._rng = rng
        self._offered = 0
        # Those with the smallest of independent random numbers, as a heap with the largest of them on top.
        self._kept: list[tuple[float, int, Mapping[str, Array]]] = []

    def offer(self, request: Request) -> None:
        drawn = float(self._rng.random())
        self._offered += 1
        full = len(self._kept) >= self._rows
        if full and (self._rows == 0 or drawn >= -self._kept[0][0]):
            return
        if full:
            heapq.heappop(self._kept)
        feeds = {name: feed.copy() for name, feed in request.feeds.items()}
        heapq.heappush(self._kept, (-drawn, self._offered, feeds))

    def rows(self) -> list[Mapping[str, Array]]:
        """What was kept, in the order in which it was offered."""
        return [feeds for _, _, feeds in sorted(self._kept, key=lambda entry: entry[1])]
