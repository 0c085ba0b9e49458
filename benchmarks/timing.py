"""Latencies and what is said of them: percentiles, throughput, work a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

__all__ = ["Timing", "measure"]


@dataclass(frozen=True)
class Timing:
    """Wall clock of single calls, in seconds, in the order they were made; each call did `rows` rows."""

    seconds: tuple[float, ...]
    rows: int = 1

    def percentile(self, percent: float) -> float:
        """Seconds within which `percent` % of the calls ended (no interpolation: it is one of the calls)."""
        return float(np.percentile(self.seconds, percent, method="higher"))

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def mean(self) -> float:
        return sum(self.seconds) / len(self.seconds)

    @property
    def rows_per_second(self) -> float:
        """Over all calls together, the slow ones included."""
        return self.rows * len(self.seconds) / sum(self.seconds)

    def as_record(self, percentiles: Sequence[float] = (50, 90, 99)) -> dict[str, float]:
        """Plain data, times in milliseconds."""
        named: Mapping[str, float] = {f"p{p:g}_ms": 1000 * self.percentile(p) for p in percentiles}
        return {
            "calls": len(self.seconds),
            "rows": self.rows,
            "best_ms": 1000 * self.best,
            "mean_ms": 1000 * self.mean,
            **named,
            "rows_per_s": self.rows_per_second,
        }


def measure(
    call: Callable[[], object],
    *,
    rows: int = 1,
    iterations: int = 50,
    duration_s: float = 0.0,
    warmup_s: float = 0.2,
    clock: Callable[[], float] = perf_counter,
) -> Timing:
    """Time single calls: at least `iterations` and `duration_s` of them, after `warmup_s` (one call at least)."""
    begin = clock()
    call()
    while clock() - begin < warmup_s:
        call()
    taken: list[float] = []
    begin = clock()
    while len(taken) < max(1, iterations) or clock() - begin < duration_s:
        start = clock()
        call()
        taken.append(clock() - start)
    return Timing(tuple(taken), rows)
