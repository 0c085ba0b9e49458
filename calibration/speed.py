"""Whether a precision is worth it on this machine: all of a stage timed side by side, in turns, in one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from affectrt.bundle.manifest import Interval, Precision
from affectrt.runtime.engines.base import Array, Engine

__all__ = ["MIN_SPEED_UP", "Cost", "speed_up", "time_in_turns"]

MIN_SPEED_UP = 1.05
"""A precision that is not this much faster than the next higher one gives accuracy away for nothing."""

MIN_ROUNDS, MAX_ROUNDS = 15, 400
RESAMPLES = 2000


@dataclass(frozen=True)
class Cost:
    """Seconds of one row of a batch, one figure a round. Round i of all precisions of a run stood side by side."""

    seconds: tuple[float, ...]

    @property
    def latency_ms(self) -> float:
        """Of the median round."""
        return 1000 * float(np.median(self.seconds))


def time_in_turns(
    engines: Mapping[Precision, Engine],
    feeds: Mapping[str, Array],
    *,
    duration_s: float = 2.0,
    clock: Callable[[], float] = perf_counter,
) -> dict[Precision, Cost]:
    """Every engine once a round on the same batch, each round beginning with another one.

    What disturbs the machine disturbs all of them, so their quotient by round stays when their times do not. At least
    `MIN_ROUNDS` rounds, then until `duration_s` are over; two rounds before that are not counted.
    """
    names = list(engines)
    rows = len(next(iter(feeds.values())))
    taken: dict[Precision, list[float]] = {name: [] for name in names}
    for _ in range(2):
        for name in names:
            engines[name].infer(feeds)
    begin = clock()
    for number in range(MAX_ROUNDS):
        if number >= MIN_ROUNDS and clock() - begin >= duration_s:
            break
        first = number % len(names)
        for name in names[first:] + names[:first]:
            start = clock()
            engines[name].infer(feeds)
            taken[name].append((clock() - start) / rows)
    return {name: Cost(tuple(seconds)) for name, seconds in taken.items()}


def speed_up(slower: Cost, faster: Cost, *, seed: int = 0) -> Interval:
    """How many times as fast: the median over rounds of `slower` ÷ `faster`, with 95 % from resampling rounds."""
    quotients = np.asarray(slower.seconds) / np.asarray(faster.seconds)
    drawn = np.random.default_rng(seed).integers(0, len(quotients), (RESAMPLES, len(quotients)))
    low, high = np.quantile(np.median(quotients[drawn], axis=1), [0.025, 0.975])
    return Interval(value=float(np.median(quotients)), low=float(low), high=float(high))
