"""The session alone: cropping, aligning, windows and estimates, with answers that cost nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from affectrt.benchmarks.pipeline import seconds_of_session
from affectrt.benchmarks.results import BenchResults
from affectrt.bundle.contract import Contract
from affectrt.bundle.store import Bundle
from affectrt.runtime.sources import MemorySource

SECONDS, SIDE_PX, FPS = 12, 128, 25


def test_session(benchmark: Any, results: BenchResults, bundle: Bundle, model: str) -> None:
    contract = bundle.contract
    steps = int(SECONDS * contract.step_hz)
    benchmark.group = f"{model} session"
    times = benchmark.pedantic(lambda: seconds_of_session(contract, _media(contract)), rounds=5, warmup_rounds=1)
    assert times > 0
    cost = 1000 * float(np.median(benchmark.stats.stats.data)) / steps
    results.session_ms_per_step[model] = cost
    benchmark.extra_info["ms_per_step"] = cost


def _media(contract: Contract) -> MemorySource:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (FPS * SECONDS, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    rate = contract.audio.sample_rate_hz if contract.audio is not None else 16_000
    samples = (0.1 * rng.standard_normal(rate * SECONDS)).astype(np.float32)
    return MemorySource.from_arrays(
        frames=frames, pts_s=np.arange(len(frames)) / FPS, samples=samples, sample_rate_hz=rate
    )
