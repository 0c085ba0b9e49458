"""The networks, exported and quantised, are made of what TensorRT's parsers take, by all three tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from doubles.demo_bundles import demo_bundles
from doubles.residual_bundle import make_residual_bundle

from affectrt.bundle import Contract
from affectrt.calibration.stage import emit, prepare_stage
from affectrt.export import operator_problems
from affectrt.export.operator_table import TABLES

# CAV's graphs, of demo and of paper size, are linted where they are exported: tests/models/test_cav_onnx.py.


def graphs_of_rcma(config: object, stages: tuple[str, ...]) -> dict[str, onnx.ModelProto]:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from affectrt.export.graphs import graph_from_module
    from affectrt.models import Rcma

    torch.manual_seed(0)
    model = Rcma(config).eval()  # type: ignore[arg-type]
    contract = Contract.model_validate(model.contract())
    modules = model.stage_modules()
    return {
        stage: graph_from_module(modules[stage], contract.stage_inputs(stage), contract.stage_output(stage))
        for stage in stages
    }


def test_the_demo_networks_graphs_are_clean() -> None:
    pytest.importorskip("gi", reason="the demos' bundles are calibrated on a drawn clip, for which GStreamer is needed")
    for bundle in demo_bundles(Path(__file__).parents[2] / "build" / "doubles").values():
        for stage in bundle.contract.stages:
            graph = onnx.load_from_string(bundle.read(bundle.graph_for(stage, "fp32")))
            assert {(stage, table): operator_problems(graph, table) for table in TABLES} == {
                (stage, table): [] for table in TABLES
            }
            assert len(graph.graph.node) > 20


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["rcma-v1", "rjcma-head", "rjcma-paper"])
def test_the_published_networks_graphs_are_clean(variant: str) -> None:
    from affectrt.models.sizes import paper_config

    config = paper_config(variant)  # type: ignore[arg-type]
    if variant == "rcma-v1":
        graphs = graphs_of_rcma(replace(config, modalities=("video", "audio")), ("video", "audio", "fusion"))
    else:
        graphs = graphs_of_rcma(config, ("fusion",))  # its encoders are those of rcma-v1
    assert {stage: operator_problems(graph) for stage, graph in graphs.items()} == {stage: [] for stage in graphs}


def test_quantised_and_half_graphs_are_clean(tmp_path: Path) -> None:
    bundle = make_residual_bundle(tmp_path / "r.affect")
    rng = np.random.default_rng(0)
    for stage in bundle.contract.encoder_stages:
        feeds = {
            info.name: rng.integers(0, 100, (4, *info.shape)).astype(info.dtype)
            for info in bundle.contract.stage_inputs(stage)
        }
        source = prepare_stage(bundle, stage, feeds, method="minmax", seed=0)
        for precision in ("fp32", "fp16", "int8", "int8-fp16"):
            graph = onnx.load_from_string(emit(source, precision, "tensorrt"))  # type: ignore[arg-type]
            assert operator_problems(graph) == [], (stage, precision)
        for_cpus = onnx.load_from_string(emit(source, "int8", "cpu"))
        assert any("quantises to UINT8" in problem.why for problem in operator_problems(for_cpus))
