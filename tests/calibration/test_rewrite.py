"""Rewrites before quantisation compute the same function, for every kind of slope and shortcut."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from doubles.residual_bundle import CROP, video_encoder
from onnx import helper, numpy_helper

from affectrt.calibration import rewrite
from affectrt.calibration.rewrite import drop_identity_pools, fold_constants, fold_input_norms, rewrite_prelus

FRAMES = np.random.default_rng(7).integers(0, 256, (5, CROP, CROP, 3), dtype=np.uint8)


def features(model: onnx.ModelProto) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"frames": FRAMES})[0]


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def assert_same(changed: onnx.ModelProto, original: onnx.ModelProto) -> None:
    wanted = features(original)
    np.testing.assert_allclose(features(changed), wanted, atol=2e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("slopes", "made"),
    [((-0.5, 1.0), "Max"), ((1.0, 2.5), "Min"), ((1.2, 1.9), "Min"), ((0.5, 1.5), None), ((0.0, 0.0), "Max")],
)
def test_a_prelu_becomes_max_or_min_by_its_slopes(slopes: tuple[float, float], made: str | None) -> None:
    model = video_encoder(slopes=slopes)
    changed = rewrite_prelus(model)
    stem = {node.output[0]: node.op_type for node in changed.graph.node}
    name = next(node.output[0] for node in model.graph.node if node.op_type == "PRelu")
    assert stem[name] == (made or "PRelu")
    assert_same(changed, model)


def test_a_weight_that_a_norm_scales_becomes_a_constant() -> None:
    """As torch's weight norm is exported: w = g · v / ‖v‖, computed from constants alone."""
    model = video_encoder()
    wanted = features(model)
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    weight = numpy_helper.to_array(tensors[conv.input[1]])
    norm = np.sqrt(np.square(weight).sum(axis=(1, 2, 3), keepdims=True))
    tensors[conv.input[1]].CopyFrom(numpy_helper.from_array(3 * weight, conv.input[1]))
    model.graph.initializer.append(numpy_helper.from_array(norm, "g"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 2, 3]), "axes"))
    made = [
        helper.make_node("ReduceL2", [conv.input[1], "axes"], ["length"], keepdims=1),
        helper.make_node("Div", [conv.input[1], "length"], ["direction"]),
        helper.make_node("Mul", ["direction", "g"], ["normed"]),
    ]
    conv.input[1] = "normed"
    nodes = [*made, *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
    changed = fold_constants(model)
    assert operators(changed)["ReduceL2"] == 0 and operators(model)["ReduceL2"] == 1
    assert {"length", "direction", "g"}.isdisjoint(tensor.name for tensor in changed.graph.initializer)
    np.testing.assert_allclose(features(changed), wanted, atol=2e-5 * np.abs(wanted).max())


def test_poolings_over_one_pixel_go_and_those_that_skip_pixels_stay() -> None:
    model = video_encoder()
    changed = drop_identity_pools(model)
    assert operators(model)["MaxPool"] == 3 and operators(changed)["MaxPool"] == 1
    assert_same(changed, model)


@pytest.mark.parametrize("seed", range(4))
def test_norms_inside_residual_units_are_folded_exactly(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrite, "MAX_SHIFT", 100.0)
    model = video_encoder(seed)
    changed = fold_input_norms(drop_identity_pools(model))
    # The first unit's input is no sum, so its norm stays, as does the one before the last product.
    assert operators(model)["BatchNormalization"] == 5 and operators(changed)["BatchNormalization"] == 2
    assert_same(changed, model)


def test_a_norm_that_would_move_the_stream_far_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrite, "MAX_SHIFT", 0.01)
    model = video_encoder()
    assert operators(fold_input_norms(model)) == operators(model)


def test_the_model_that_is_rewritten_is_not_touched() -> None:
    model = video_encoder()
    before = model.SerializeToString(deterministic=True)
    rewrite_prelus(fold_input_norms(drop_identity_pools(model)))
    assert model.SerializeToString(deterministic=True) == before
