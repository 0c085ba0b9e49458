"""Small TensorRT engines of the tiny bundle's graphs, and what ONNX Runtime makes of the same rows."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from affectrt.runtime.engines.base import Array, TensorSpec
from affectrt.runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from affectrt.runtime.engines.padding import parts_of
from affectrt.runtime.engines.tensorrt_engine import TensorrtEngine

from .static_plans import plan_from_graph
from .tiny_bundle import make_tiny_bundle

__all__ = ["BATCHES", "STAGES", "assert_right", "expected", "feeds_for", "opened", "tiny_graphs", "tiny_plans"]

BATCHES = (1, 8)
STAGES = ("video", "audio", "fusion")


@cache
def tiny_graphs() -> dict[str, bytes]:
    """Stage → ONNX file."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_tiny_bundle(Path(folder) / "tiny.affect")
        return {stage: bundle.read(bundle.graph_for(stage, "fp32")) for stage in STAGES}


@cache
def tiny_plans() -> dict[str, bytes]:
    """Stage → engine of this process's TensorRT."""
    return {stage: plan_from_graph(graph, BATCHES) for stage, graph in tiny_graphs().items()}


def opened(plan: bytes, **given: Any) -> TensorrtEngine:
    return TensorrtEngine(plan, **{"batches": BATCHES, "provenance": {"stage": "tiny"}, **given})


def feeds_for(inputs: Mapping[str, TensorSpec], rows: int, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        name: rng.integers(0, 256, (rows, *spec.shape)).astype(spec.dtype)
        if spec.dtype == "uint8"
        else rng.standard_normal((rows, *spec.shape)).astype(spec.dtype)
        for name, spec in inputs.items()
    }


def expected(graph: bytes, feeds: Mapping[str, Array], batches: tuple[int, ...] = BATCHES) -> dict[str, Array]:
    """What ONNX Runtime makes of the same rows in the same batches, padding included."""
    rows = len(next(iter(feeds.values())))
    parts: list[Mapping[str, Array]] = []
    with OnnxRuntimeEngine(graph, threads=1, provenance={}, integer_kernels=False) as engine:
        for start, stop, batch in parts_of(rows, batches):
            padded = {
                name: np.concatenate([feed[start:stop], np.zeros((batch - stop + start, *feed.shape[1:]), feed.dtype)])
                for name, feed in feeds.items()
            }
            parts.append({name: out[: stop - start] for name, out in engine.infer(padded).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def assert_right(engine: TensorrtEngine, graph: bytes, rows: int, seed: int = 0) -> None:
    feeds = feeds_for(engine.inputs, rows, seed)
    found = engine.infer(feeds)
    wanted = expected(graph, feeds)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)
