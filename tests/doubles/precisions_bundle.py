"""A small bundle in every precision that TensorRT takes, and how tests of the builder build it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from doubles.residual_bundle import OPSET, make_residual_bundle

from affectrt.bundle import Bundle, GraphDraft, update_bundle
from affectrt.calibration.stage import emit, prepare_stage
from affectrt.export.engines import Built, Silence, build_bundle, build_engine
from affectrt.runtime.engines import EngineCache
from affectrt.runtime.engines.engine_record import BuildOptions, EngineRecord
from affectrt.runtime.engines.gpu import find_gpu

__all__ = [
    "BATCHES",
    "Told",
    "build",
    "build_video",
    "first_product",
    "half_written",
    "make_precisions_bundle",
    "plans",
]

BATCHES = {"video": (1, 8), "audio": (1, 4), "fusion": (1,)}


class Told(Silence):
    """What a person would have seen."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.shown: list[tuple[float | None, str]] = []
        self.open = 0

    def say(self, line: str) -> None:
        self.lines.append(line)

    def begin(self, what: str) -> None:
        self.open += 1

    def show(self, share: float | None, doing: str) -> None:
        self.shown.append((share, doing))

    def end(self) -> None:
        self.open -= 1


def make_precisions_bundle(path: Path) -> Bundle:
    """Both encoders quantised and halved for TensorRT by the project's own tools."""
    bundle = make_residual_bundle(path)
    rng = np.random.default_rng(0)
    graphs: list[GraphDraft] = []
    for stage in ("video", "audio"):
        (info,) = bundle.contract.stage_inputs(stage)
        shape = (4, *info.shape)
        noise = rng.integers(0, 256, shape) if info.dtype == "uint8" else 0.3 * rng.standard_normal(shape)
        source = prepare_stage(bundle, stage, {info.name: noise.astype(info.dtype)}, method="minmax", seed=0)
        for precision in ("int8", "fp16", "int8-fp16"):
            content = emit(source, precision, "tensorrt")
            graphs.append(GraphDraft(stage, precision, content, OPSET, "tensorrt"))
    plans: Any = {p: dict.fromkeys(("video", "audio"), p) for p in ("int8", "fp16", "int8-fp16")}
    return update_bundle(bundle, graphs=graphs, plans=plans)


def build(bundle: Bundle, precision: Any = "int8", told: Told | None = None, **more: Any) -> dict[str, EngineRecord]:
    records = build_bundle(bundle, precision, batches=BATCHES, progress=told, **more)
    return {record.stage: record for record in records}


def build_video(bundle: Bundle, precision: Any, told: Told | None = None, **more: Any) -> Built:
    graph = bundle.read(bundle.graph_for("video", precision, "tensorrt"))
    asked = {"batches": (1, 8), "options": BuildOptions(), "expected": precision, "timing_cache": None, **more}
    return build_engine(graph, name=f"video {precision}", progress=told or Told(), gpu=find_gpu(), **asked)


def plans(cache: EngineCache) -> list[Path]:
    return sorted(cache.root.rglob("*.plan"))


def half_written(cache: EngineCache) -> list[str]:
    return [p.name for p in cache.root.rglob("*") if p.name.startswith(".new")] if cache.root.exists() else []


def first_product(bundle: Bundle, precision: Any, stage: str = "video") -> str:
    model = onnx.load_from_string(bundle.read(bundle.graph_for(stage, precision, "tensorrt")))
    made_by = {name: node for node in model.graph.node for name in node.output}
    return next(
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and made_by[node.input[0]].op_type == "DequantizeLinear"
    )
