"""An engine that keeps a sample of what it is asked: inputs of a fusion, which only a whole model's run can show."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from affectrt.runtime import Request
from affectrt.runtime.engines.base import Array, Engine, TensorSpec
from affectrt.runtime.sampling import RowSample

__all__ = ["Tapped"]


class Tapped:
    """Passes everything on to `engine`, which it closes with itself, and offers every row of input to `sample`.

    `rows`: how many there were.
    """

    def __init__(self, engine: Engine, stage: str, sample: RowSample) -> None:
        self._engine, self._stage, self._sample = engine, stage, sample
        self.rows = 0

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        return self._engine.inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        return self._engine.outputs

    @property
    def provenance(self) -> Mapping[str, str]:
        return self._engine.provenance

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        for row in range(len(next(iter(feeds.values())))):
            self._sample.offer(Request(self._stage, 0, self.rows, {name: rows[row] for name, rows in feeds.items()}))
            self.rows += 1
        return self._engine.infer(feeds)

    def close(self) -> None:
        self._engine.close()

    def __enter__(self) -> Tapped:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
