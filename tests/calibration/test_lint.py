"""Every rule of TensorRT's explicit quantisation is found broken when it is broken, and not otherwise."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from doubles.residual_bundle import video_encoder
from onnx import helper

from affectrt.bundle import ParityError
from affectrt.bundle.scopes import FRONT_END, SCOPE_KEY
from affectrt.calibration.graph import GraphEditor
from affectrt.calibration.lint import check_qdq, qdq_problems
from affectrt.calibration.placement import values_to_observe
from affectrt.calibration.quantise import quantise
from affectrt.calibration.rewrite import drop_identity_pools, fold_input_norms


@pytest.fixture(scope="module")
def prepared() -> onnx.ModelProto:
    return fold_input_norms(drop_identity_pools(video_encoder()))


@pytest.fixture(scope="module")
def tensorrt(prepared: onnx.ModelProto) -> onnx.ModelProto:
    return quantise(prepared, dict.fromkeys(values_to_observe(prepared, "tensorrt"), (-3.0, 5.0)), "tensorrt")


def first(graph: GraphEditor, op_type: str) -> onnx.NodeProto:
    return next(node for node in graph.nodes if node.op_type == op_type)


def weight_dq(graph: GraphEditor) -> onnx.NodeProto:
    return graph.producers()[first(graph, "Conv").input[1]]


def unsigned_activations(graph: GraphEditor) -> None:
    graph.set_constant(first(graph, "QuantizeLinear").input[2], np.array(0, np.uint8))


def shifted_zero(graph: GraphEditor) -> None:
    graph.set_constant(first(graph, "QuantizeLinear").input[2], np.array(3, np.int8))


def zero_scale(graph: GraphEditor) -> None:
    graph.set_constant(first(graph, "QuantizeLinear").input[1], np.array(0, np.float32))


def endless_scale(graph: GraphEditor) -> None:
    graph.set_constant(first(graph, "QuantizeLinear").input[1], np.array(np.inf, np.float32))


def double_scale(graph: GraphEditor) -> None:
    graph.set_constant(first(graph, "QuantizeLinear").input[1], np.array(1.0, np.float64))


def one_scale_per_tensor(graph: GraphEditor) -> None:
    node = weight_dq(graph)
    graph.set_constant(node.input[1], np.array(0.1, np.float32))
    graph.set_constant(node.input[2], np.array(0, np.int8))


def wrong_axis(graph: GraphEditor) -> None:
    next(a for a in weight_dq(graph).attribute if a.name == "axis").i = 1


def quantised_bias(graph: GraphEditor) -> None:
    conv = first(graph, "Conv")
    conv.input[2] = first(graph, "DequantizeLinear").output[0]


def plain_weight(graph: GraphEditor) -> None:
    conv = first(graph, "Conv")
    shape = graph.constant(weight_dq(graph).input[0]).shape
    conv.input[1] = graph.set_constant("plain", np.zeros(shape, np.float32))


def other_scale_back(graph: GraphEditor) -> None:
    node = first(graph, "QuantizeLinear")
    user = graph.consumers()[node.output[0]][0]
    user.input[1] = graph.set_constant("other", np.array(7.0, np.float32))


def front_end_touched(graph: GraphEditor) -> None:
    user = graph.consumers()[graph.consumers()[first(graph, "QuantizeLinear").output[0]][0].output[0]][0]
    user.metadata_props[0].key, user.metadata_props[0].value = SCOPE_KEY, FRONT_END


def computed_scale(graph: GraphEditor) -> None:
    graph.nodes.insert(0, helper.make_node("Identity", [first(graph, "QuantizeLinear").input[1]], ["computed"]))
    first(graph, "QuantizeLinear").input[1] = "computed"


@pytest.mark.parametrize(
    ("break_rule", "told"),
    [
        (unsigned_activations, "quantises to uint8"),
        (shifted_zero, "zero point is not 0"),
        (zero_scale, "finite and above 0"),
        (endless_scale, "finite and above 0"),
        (double_scale, "scale is float64"),
        (one_scale_per_tensor, "one scale for each of its 8 output channels, along axis 0"),
        (wrong_axis, "along axis 0"),
        (quantised_bias, "bias is quantised"),
        (plain_weight, "only one of input and weight"),
        (other_scale_back, "does not undo"),
        (front_end_touched, "front end"),
        (computed_scale, "constant scale"),
    ],
)
def test_a_broken_rule_is_told(tensorrt: onnx.ModelProto, break_rule: Callable[[GraphEditor], None], told: str) -> None:
    graph = GraphEditor(tensorrt)
    break_rule(graph)
    assert told in "\n".join(qdq_problems(graph.unchecked_model()))


def test_our_own_tensorrt_graph_keeps_every_rule(tensorrt: onnx.ModelProto) -> None:
    assert qdq_problems(tensorrt) == []
    pairs = [node for node in tensorrt.graph.node if node.op_type == "QuantizeLinear"]
    sums = [node for node in tensorrt.graph.node if node.op_type == "Add"]
    # Of a residual sum at most one branch is quantised: the other stays fused to its convolution.
    assert len(pairs) > 8 and len(sums) == 4
    assert all(sum(name.endswith(":dq") for name in node.input) <= 1 for node in sums)


def test_the_cpu_graph_breaks_the_rules_and_is_told_by_name(prepared: onnx.ModelProto) -> None:
    cpu = quantise(prepared, dict.fromkeys(values_to_observe(prepared, "cpu"), (-3.0, 5.0)), "cpu")
    with pytest.raises(ParityError, match=r"(?s)stage 'video'.*\(QuantizeLinear\): quantises to uint8.*bias is quan"):
        check_qdq("video", cpu)


def test_values_that_never_change_get_a_scale_above_zero(prepared: onnx.ModelProto) -> None:
    still = quantise(prepared, dict.fromkeys(values_to_observe(prepared, "tensorrt"), (0.0, 0.0)), "tensorrt")
    assert qdq_problems(still) == []


def test_a_large_bias_fits_into_32_bits() -> None:
    model = video_encoder()
    graph = GraphEditor(model)
    conv = first(graph, "Conv")
    graph.set_constant(conv.input[1], graph.constant(conv.input[1]) * 1e-9)
    changed = graph.model()
    names = values_to_observe(changed, "cpu")
    cpu = quantise(changed, dict.fromkeys(names, (-1.0, 1.0)), "cpu")
    biases = [t for t in cpu.graph.initializer if t.name.endswith(":bias:q")]
    largest = max(int(np.abs(onnx.numpy_helper.to_array(t).astype(np.int64)).max()) for t in biases)
    assert 2**29 < largest <= 2**30 + 64
