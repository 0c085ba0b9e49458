"""A sink that remembers what it was given."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from affectrt.runtime.estimate import Estimate
from affectrt.runtime.sinks import Header, ReaderGone

__all__ = ["Kept"]


class Kept:
    """`leave_after` is how many estimates its reader stays for."""

    name = "kept"

    def __init__(self, leave_after: int | None = None) -> None:
        self.header: Header | None = None
        self.estimates: list[Estimate] = []
        self.writes = 0
        self.closed = False
        self._leave_after = leave_after

    def open(self, header: Header) -> None:
        self.header = header

    def write(self, estimates: Sequence[Estimate]) -> None:
        if self._leave_after is not None and len(self.estimates) >= self._leave_after:
            raise ReaderGone(self.name)
        self.estimates += estimates
        self.writes += 1

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Kept:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
