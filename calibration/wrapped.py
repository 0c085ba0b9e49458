"""What every engine that stands before another one has in common."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TypeVar

from affectrt.runtime.engines.base import Array, Engine, TensorSpec

__all__ = ["Wrapped"]

Self = TypeVar("Self", bound="Wrapped")


class Wrapped:
    """Passes everything on to `engine`, and closes it with itself."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

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
        return self._engine.infer(feeds)

    def close(self) -> None:
        self._engine.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
