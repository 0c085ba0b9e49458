"""Every rule of TensorRT's explicit quantisation is found broken when it is broken, and not otherwise."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from doubles.pairs import pair_on
from doubles.residual_bundle import video_encoder
from onnx import TensorProto, helper

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


def scales_by_channel(graph: GraphEditor) -> None:
    node = first(graph, "QuantizeLinear")
    for pair in (node, graph.consumers()[node.output[0]][0]):
        pair.input[1] = graph.set_constant("channels", np.full(3, 0.1, np.float32))
        pair.input[2] = graph.set_constant("zeros", np.zeros(3, np.int8))


def no_zero_point(graph: GraphEditor) -> None:
    del first(graph, "QuantizeLinear").input[2]


def float_weights_undone(graph: GraphEditor) -> None:
    node = weight_dq(graph)
    graph.set_constant(node.input[0], graph.constant(node.input[0]).astype(np.float32))


def integer_operator(graph: GraphEditor) -> None:
    first(graph, "Conv").op_type = "QLinearConv"


def sums(graph: GraphEditor) -> list[onnx.NodeProto]:
    return [node for node in graph.nodes if node.op_type == "Add"]


def both_branches(graph: GraphEditor) -> None:
    node = next(n for n in sums(graph) if any(name.endswith(":dq") for name in n.input))
    pair_on(graph, node, next(i for i, name in enumerate(node.input) if not name.endswith(":dq")))


def wrong_branch(graph: GraphEditor) -> None:
    node = next(n for n in sums(graph) if any(name.endswith(":dq") for name in n.input))
    skip = next(i for i, name in enumerate(node.input) if name.endswith(":dq"))
    pair_on(graph, node, 1 - skip)
    pair = graph.producers()[node.input[skip]]
    node.input[skip] = graph.producers()[pair.input[0]].input[0]


def bias_as_a_sum(graph: GraphEditor) -> None:
    constants = [
        graph.set_constant("b:q", np.ones(8, np.int8)),
        graph.set_constant("b:s", np.array(0.1, np.float32)),
        graph.set_constant("b:z", np.array(0, np.int8)),
    ]
    conv = first(graph, "Conv")
    at = graph.nodes.index(conv) + 1
    graph.nodes[at:at] = [
        helper.make_node("DequantizeLinear", constants, ["b:dq"], "b:dq"),
        helper.make_node("Add", [conv.output[0], "b:dq"], ["biased"], "biased"),
    ]


def head_quantised(graph: GraphEditor) -> None:
    head = first(graph, "Gemm")
    pair_on(graph, head, 0)
    pair_on(graph, head, 1)


def front_end_in_half(graph: GraphEditor) -> None:
    node = next(n for n in graph.nodes if n.op_type == "Sub")
    graph.set_constant(node.input[1], graph.constant(node.input[1]).astype(np.float16))


def front_end_after_half(graph: GraphEditor) -> None:
    node = next(n for n in graph.nodes if n.op_type == "Sub")
    cast = helper.make_node("Cast", [node.input[0]], ["short"], "short", to=TensorProto.FLOAT16)
    graph.nodes.insert(graph.nodes.index(node), cast)
    node.input[0] = "short"


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
        (double_scale, "scale is float64, not float32 or float16"),
        (scales_by_channel, "needs a single scale"),
        (no_zero_point, "constant zero point"),
        (float_weights_undone, "holds float32 weights"),
        (integer_operator, "is an integer operator"),
        (both_branches, "takes both branches quantised"),
        (wrong_branch, "only the skip branch"),
        (bias_as_a_sum, "(Add): its bias is quantised"),
        (head_quantised, "heads stay float"),
        (front_end_in_half, "computes in float16"),
        (front_end_after_half, "computes in float16"),
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


def test_weights_are_as_good_as_floats_behind_a_pair(tensorrt: onnx.ModelProto) -> None:
    """As nvidia-modelopt spells them: float weights, quantised and dequantised in the graph."""
    graph = GraphEditor(tensorrt)
    for node in [n for n in graph.nodes if n.op_type == "DequantizeLinear" and graph.is_constant(n.input[0])]:
        axis = next(a.i for a in node.attribute if a.name == "axis")
        scale = graph.constant(node.input[1]).reshape([-1 if i == axis else 1 for i in range(4)])
        name = graph.set_constant(f"{node.name}:float", graph.constant(node.input[0]) * scale)
        twin = helper.make_node(
            "QuantizeLinear", [name, *node.input[1:]], [f"{node.name}:q"], f"{node.name}:q", axis=axis
        )
        graph.nodes.insert(graph.nodes.index(node), twin)
        node.input[0] = twin.output[0]
    spelt = graph.model()
    assert qdq_problems(spelt) == []
    broken = GraphEditor(spelt)
    weights = next(n for n in broken.nodes if n.name.endswith("weight:dq:q"))
    weights.attribute[0].i = 1
    assert "does not undo" in "\n".join(qdq_problems(broken.unchecked_model()))


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
