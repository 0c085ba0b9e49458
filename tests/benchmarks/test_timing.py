"""Percentiles, throughput and the machine's facts."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest

from affectrt.benchmarks.machine import available_cores, machine_facts, machine_slug
from affectrt.benchmarks.peak import measure_peak
from affectrt.benchmarks.timing import Timing, measure


class Clock:
    """A clock that moves only when something is done."""

    def __init__(self, costs: list[float]) -> None:
        self.now, self.costs, self.calls = 0.0, costs, 0

    def __call__(self) -> float:
        return self.now

    def work(self) -> None:
        self.now += self.costs[min(self.calls, len(self.costs) - 1)]
        self.calls += 1


def test_percentiles_are_calls_that_really_happened() -> None:
    timing = Timing(tuple(k / 1000 for k in range(1, 101)), rows=8)
    assert timing.percentile(50) == pytest.approx(0.051)
    assert timing.percentile(99) == pytest.approx(0.100)
    assert timing.rows_per_second == pytest.approx(8 * 100 / 5.05)
    record = timing.as_record((50, 95))
    assert record["p95_ms"] == pytest.approx(96.0)
    assert record["best_ms"] == pytest.approx(1.0)
    assert json.loads(json.dumps(record)) == record


def test_slow_first_calls_are_warm_up_not_measurement() -> None:
    clock = Clock([5.0, 0.1, 0.01])
    timing = measure(clock.work, iterations=10, warmup_s=5.05, clock=clock)
    assert max(timing.seconds) == pytest.approx(0.01)
    assert len(timing.seconds) == 10


def test_duration_goes_on_past_the_iterations() -> None:
    clock = Clock([0.01])
    assert len(measure(clock.work, iterations=3, duration_s=1.0, warmup_s=0, clock=clock).seconds) in (100, 101)


def test_machine_facts_name_no_host_no_user_no_path() -> None:
    facts = machine_facts()
    assert int(facts["cores used"]) == available_cores() == len(os.sched_getaffinity(0))
    assert {"CPU", "load before", "Python", "onnxruntime"} <= set(facts)
    told = " ".join([*facts.values(), machine_slug()])
    assert os.uname().nodename not in told
    assert "/" not in told.replace("/s", "")
    assert re.fullmatch(r"[a-z0-9-]+-\d+c", machine_slug())


def test_peak_is_the_best_of_its_shapes_and_plausible() -> None:
    peak = measure_peak(threads=1, iterations=2)
    fp32 = [v for name, v in peak.by_shape.items() if name.endswith("fp32")]
    int8 = [v for name, v in peak.by_shape.items() if name.endswith("int8")]
    assert (peak.fp32, peak.int8) == (max(fp32), max(int8))
    assert len(fp32) == len(int8) >= 4
    # Slower than a scalar loop or faster than any core there is: then it measured something else.
    assert np.all(np.array(list(peak.by_shape.values())) > 2e8)
    assert peak.int8 < 5e12
    assert peak.of("int8") == peak.int8
    assert peak.of("fp16") == peak.fp32
