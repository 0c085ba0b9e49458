"""Every graph that is emitted of the demo models keeps the rules of TensorRT's explicit quantisation."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import affectrt.models
from affectrt.bundle import open_bundle
from affectrt.calibration.lint import qdq_problems
from affectrt.calibration.stage import emit, layers, prepare_stage
from affectrt.cli.main import main
from affectrt.export import operator_problems


@pytest.mark.slow
@pytest.mark.parametrize("system", ["rcma", "cav"])
def test_every_emitted_graph_of_the_demo_models_keeps_every_rule(system: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    weights = Path(affectrt.models.__path__[0]) / "weights" / f"{system}-demo.safetensors"
    assert main(["export", str(weights), "--out", str(tmp_path / "demo.affect"), "--quiet"]) == 0
    bundle = open_bundle(tmp_path / "demo.affect")
    rng = np.random.default_rng(0)
    linted = 0
    for stage in bundle.contract.stages:
        feeds = {}
        for info in bundle.contract.stage_inputs(stage):
            shape = (2, *info.shape)
            noise = rng.integers(0, 256, shape) if info.dtype == "uint8" else 0.2 * rng.standard_normal(shape)
            feeds[info.name] = noise.astype(info.dtype)
        source = prepare_stage(bundle, stage, feeds, method="minmax", seed=0)
        names = layers(source, "tensorrt")
        assert (stage == "fusion") == (names == ())
        for precision in ("fp16", "int8", "int8-fp16") if names else ("fp16",):
            for keep in (frozenset[str](), frozenset(names[1::2])):
                model = onnx.load_from_string(emit(source, precision, "tensorrt", keep=keep))
                assert qdq_problems(model) == []
                assert operator_problems(model) == []
                pairs = sum(node.op_type == "QuantizeLinear" for node in model.graph.node)
                assert (pairs > 0) == (precision != "fp16")
                linted += 1
    assert linted == 14
