"""A source in front of another one, which changes what it gives."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Generic, TypeVar

from .base import Event, Outcome, Source

__all__ = ["WrappingSource"]

S = TypeVar("S", bound=Source)


class WrappingSource(Generic[S]):
    """Hands on everything that a `Source` has from `source`; a subclass overrides what is otherwise."""

    def __init__(self, source: S) -> None:
        self._source = source

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def modalities(self) -> frozenset[str]:
        return self._source.modalities

    @property
    def duration_s(self) -> float | None:
        return self._source.duration_s

    @property
    def outcome(self) -> Outcome:
        return self._source.outcome

    def stop(self) -> None:
        self._source.stop()

    def __iter__(self) -> Iterator[Event]:
        return iter(self._source)

    def __enter__(self) -> Source:
        self._source.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.__exit__(kind, error, trace)
