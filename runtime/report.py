"""What is told of a run while it goes on and when it is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .sources import Outcome

__all__ = ["Progress", "RunReport"]

Progress = Callable[[float, "float | None"], None]
"""Told the media time reached and, where the container knows it, the whole duration, both in seconds."""


@dataclass(frozen=True)
class RunReport:
    """What a run did.

    `media_s` is the media time reached. `seconds` is wall clock by stage: "open", "decode" (waiting for the source),
    "align" (session), each stage of the contract, "sink". `rows` and `calls` count what the engines computed.
    `hop_s`: media time between two runs of the fusion, and before the first. `stopped_by` is None when the source ended
    by itself. `engines` has each stage's provenance: what computed it, in which precision, and why there.

    Of several streams that ran together, `wall_s`, `seconds`, `rows`, `calls` and `failed_sinks` (what was wrong with
    sinks that were left out) are of all of them. `failure` is why a stream ended before its time. `counters` are those
    of a live source, `ages_ms` its estimates' age at emission: p50 and p99 of the last 5000, and the largest of all.
    `text`, empty where there is none: `words_heard`, `sentence_changes` and `text_runs`, the sentences encoded.
    """

    source: str
    estimates: int
    media_s: float
    hop_s: float
    wall_s: float
    seconds: Mapping[str, float]
    rows: Mapping[str, int]
    calls: Mapping[str, int]
    outcome: Outcome
    gaps: tuple[str, ...]
    precision: str
    backend: str
    engines: Mapping[str, Mapping[str, str]]
    stopped_by: str | None = None
    failed_sinks: tuple[str, ...] = ()
    failure: str | None = None
    gap_count: int = 0
    skipped_steps: int = 0
    counters: Mapping[str, int | float] = field(default_factory=dict)
    ages_ms: Mapping[str, float] = field(default_factory=dict)
    text: Mapping[str, int] = field(default_factory=dict)

    @property
    def times_real_time(self) -> float:
        """Seconds of media per second of reading, opening left out."""
        busy = self.wall_s - self.seconds["open"]
        return self.media_s / busy if busy > 0 else 0.0
