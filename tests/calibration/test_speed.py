"""Whether a precision is worth it: quotients of rounds, not of runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from affectrt.bundle.manifest import Precision
from affectrt.calibration.speed import MIN_ROUNDS, Cost, speed_up, time_in_turns
from affectrt.runtime.engines.base import Array, Engine


class Clock:
    """Time that passes when an engine works; `slow_rounds` calls each take ten times as long, as on a busy machine."""

    def __init__(self) -> None:
        self.now_s, self.calls, self.order = 0.0, 0, ""

    def __call__(self) -> float:
        return self.now_s


class Worker:
    def __init__(self, clock: Clock, name: str, seconds: float) -> None:
        self._clock, self._name, self._seconds = clock, name, seconds

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        clock = self._clock
        round_number = clock.calls // 2
        clock.now_s += self._seconds * (10 if round_number % 3 == 0 else 1)
        clock.calls += 1
        clock.order += self._name
        return {}


def run(fp32_s: float, int8_s: float) -> tuple[dict[Precision, Cost], Clock]:
    clock = Clock()
    engines: dict[Precision, Engine] = {
        "fp32": Worker(clock, "f", fp32_s),  # type: ignore[dict-item]
        "int8": Worker(clock, "i", int8_s),  # type: ignore[dict-item]
    }
    return time_in_turns(engines, {"x": np.zeros((4, 1))}, duration_s=1.0, clock=clock), clock


def test_the_quotient_is_right_although_every_third_round_is_disturbed() -> None:
    costs, _ = run(0.2, 0.1)
    found = speed_up(costs["fp32"], costs["int8"])
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))
    assert costs["int8"].latency_ms == pytest.approx(25.0)  # of one of four rows


def test_each_round_begins_with_another_precision() -> None:
    costs, clock = run(0.2, 0.1)
    assert clock.order[4:12] == "fiiffiif"
    assert len(costs["fp32"].seconds) == len(costs["int8"].seconds) == MIN_ROUNDS


def test_a_fast_stage_is_timed_for_the_whole_duration() -> None:
    costs, _ = run(0.002, 0.001)
    assert sum(4 * (a + b) for a, b in zip(costs["fp32"].seconds, costs["int8"].seconds, strict=True)) >= 0.95


def test_noise_that_is_larger_than_the_gain_shows_in_the_interval() -> None:
    rng = np.random.default_rng(0)
    costs = [Cost(tuple(0.01 * rng.lognormal(0, 0.3, 40))) for _ in range(2)]
    found = speed_up(*costs)
    assert found.low is not None and found.high is not None
    assert found.low < 1 < found.high
