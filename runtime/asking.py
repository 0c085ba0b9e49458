"""How computation is asked for: a request that whoever owns the engines answers, and what to do with the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .engines.base import Array

__all__ = ["Asked", "Done", "Request"]

Done = Callable[["Array | None"], None]
"""What to do with a result; None: the request was skipped."""

Asked = Callable[[str, int, int, Mapping[str, Array], Done], None]
"""How a segment asks for a computation: stage, track, step, feeds, and what to do with the result."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One row to compute. `feeds` and the result carry no batch axis; `track` is -1 for what all tracks share."""

    stage: str
    track: int
    step: int
    feeds: Mapping[str, Array]

    @property
    def nbytes(self) -> int:
        """Bytes of its inputs."""
        return sum(feed.nbytes for feed in self.feeds.values())
