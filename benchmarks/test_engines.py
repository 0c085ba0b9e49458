"""Each stage's engine alone, in every precision of its bundle, one row and eight rows a call."""

from __future__ import annotations

from typing import Any

import numpy as np

from affectrt.benchmarks.peak import Peak
from affectrt.benchmarks.results import BenchResults
from affectrt.benchmarks.stages import StageResult, Work, row_of, stage_feeds
from affectrt.benchmarks.timing import Timing
from affectrt.bundle.manifest import Precision
from affectrt.bundle.store import Bundle
from affectrt.runtime.engines import open_engine


def test_stage(
    benchmark: Any,
    results: BenchResults,
    bundle: Bundle,
    model: str,
    stage: str,
    precision: Precision,
    batch: int,
    threads: int | None,
    peak: Peak,
) -> None:
    ran, work = bundle.plan(precision)[stage], Work.of(bundle, stage)
    feeds = stage_feeds(bundle, stage, batch)  # of sentences, the longest: `affectrt bench X.affect` times every length
    benchmark.group = f"{model} {stage} batch {batch}"
    with open_engine(bundle, stage, precision, "onnxruntime", threads) as engine:
        outputs = benchmark(engine.infer, feeds)
    timing = Timing(tuple(benchmark.stats.stats.data), batch)
    result = StageResult(model, stage, precision, ran, timing, row_of(bundle.contract, stage), work, peak.of(ran))
    results.stages.append(result)
    benchmark.extra_info.update(result.as_record())
    assert np.isfinite(outputs[bundle.contract.stage_output(stage).name]).all()
