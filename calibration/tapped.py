"""An engine that keeps a sample of what it is asked: inputs of a fusion, which only a whole model's run can show."""

from __future__ import annotations

from collections.abc import Mapping

from affectrt.runtime import Request
from affectrt.runtime.engines.base import Array, Engine
from affectrt.runtime.sampling import RowSample

from .wrapped import Wrapped

__all__ = ["Tapped"]


class Tapped(Wrapped):
    """Passes everything on to `engine`, which it closes with itself, and offers every row of input to `sample`.

    `rows`: how many there were.
    """

    def __init__(self, engine: Engine, stage: str, sample: RowSample) -> None:
        super().__init__(engine)
        self._stage, self._sample = stage, sample
        self.rows = 0

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        for row in range(len(next(iter(feeds.values())))):
            self._sample.offer(Request(self._stage, 0, self.rows, {name: rows[row] for name, rows in feeds.items()}))
            self.rows += 1
        return super().infer(feeds)
