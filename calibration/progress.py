"""What a long calibration tells a person who waits; who shows it, and where, is the caller's choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

__all__ = ["Progress", "Silence"]


class Progress(Protocol):
    def say(self, line: str) -> None:
        """One line for a thing that is done."""
        ...

    def bar(self, what: str, total: int) -> AbstractContextManager[Callable[[], None]]:
        """A bar of `total` pieces with the time left; call what the block gets once a piece."""
        ...


class Silence:
    """Says and shows nothing."""

    def say(self, line: str) -> None:
        pass

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        yield lambda: None
