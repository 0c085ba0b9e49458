"""A whole file through GStreamer, session, engines and sink, against the bare engines in the same minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from affectrt.benchmarks.pipeline import compare_pipeline
from affectrt.benchmarks.results import BenchResults
from affectrt.bundle.manifest import Precision
from affectrt.bundle.store import Bundle


def test_pipeline(
    request: pytest.FixtureRequest,
    benchmark: Any,
    results: BenchResults,
    bundle: Bundle,
    model: str,
    precision: Precision,
    threads: int | None,
    media: Path,
) -> None:
    repeats = request.config.getoption("--repeats")
    benchmark.group = f"{model} pipeline"
    # The repeats are interleaved inside; pytest-benchmark sees the comparison as one round.
    result = benchmark.pedantic(
        lambda: compare_pipeline(bundle, media, precision, repeats=repeats, threads=threads), rounds=1
    )
    results.pipelines.append(result)
    benchmark.extra_info.update(result.as_record())
    assert result.steps > 0
