"""Does an INT8 graph keep the rules of TensorRT's explicit quantisation. Each rule is one that a parser enforces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from affectrt.bundle.errors import ParityError

from .graph import GraphEditor
from .scope import is_front_end

if TYPE_CHECKING:
    import onnx

__all__ = ["check_qdq", "qdq_problems"]

# Which axis of the weight holds output channels, where the operator alone decides it.
CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1, "MatMul": 1}
INTEGER_OPS = ("QLinearConv", "QLinearMatMul", "QLinearAdd", "QGemm", "ConvInteger", "MatMulInteger")


def qdq_problems(model: onnx.ModelProto) -> list[str]:
    """One line per rule broken; an empty list is good news."""
    graph = GraphEditor(model)
    producers = graph.producers()
    found: list[str] = []
    for node in graph.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            rules = (*_scale_rules(graph, node), *_flow_rules(graph, node, producers))
        else:
            rules = tuple(_user_rules(graph, node, producers))
        found += [f"{node.name} ({node.op_type}): {why}" for why in rules]
    return found


def check_qdq(stage: str, model: onnx.ModelProto) -> None:
    """Raises ParityError that lists every broken rule."""
    problems = qdq_problems(model)
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise ParityError(
            f"the INT8 graph of stage {stage!r} breaks TensorRT's rules of explicit quantisation:\n{listed}",
            expected="signed int8, zero points 0, positive scales, one weight scale per output channel, float32 biases",
            fix="please report it: affectrt calibrate wrote a graph that it should not have",
        )


def _scale_rules(graph: GraphEditor, node: onnx.NodeProto) -> Iterator[str]:
    if len(node.input) < 3 or not all(graph.is_constant(name) for name in node.input[1:]):
        yield "needs a constant scale and a constant zero point"
        return
    scale, zero = graph.constant(node.input[1]), graph.constant(node.input[2])
    if scale.dtype != np.float32:
        yield f"its scale is {scale.dtype}, not float32"
    if not (np.isfinite(scale) & (scale > 0)).all():
        yield "its scale must be finite and above 0"
    if zero.dtype != np.int8:
        yield f"quantises to {zero.dtype}, not int8"
    if np.any(zero != 0):
        yield "its zero point is not 0"


def _flow_rules(graph: GraphEditor, node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> Iterator[str]:
    maker = producers.get(node.input[0])
    if node.op_type == "QuantizeLinear":
        if maker is not None and is_front_end(maker) and is_front_end(node):
            yield "stands in a front end, which must stay FP32"
        return
    if maker is None:
        if not graph.is_constant(node.input[0]):
            yield "dequantises an input of the graph"
        elif graph.constant(node.input[0]).dtype != np.int8:
            yield f"holds {graph.constant(node.input[0]).dtype} weights, not int8"
    elif maker.op_type != "QuantizeLinear" or list(maker.input[1:]) != list(node.input[1:]):
        yield "does not undo a QuantizeLinear with the same scale"


def _user_rules(graph: GraphEditor, node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> Iterator[str]:
    if node.op_type in INTEGER_OPS:
        yield "is an integer operator; TensorRT takes QuantizeLinear and DequantizeLinear alone"
    dequantised = [_dequantiser(producers, name) for name in node.input]
    if is_front_end(node) and any(dequantised):
        yield "is part of a front end and takes a quantised value"
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or not any(dequantised):
        return
    if len(dequantised) > 2 and dequantised[2] is not None:
        yield "its bias is quantised"
    if dequantised[0] is None or dequantised[1] is None:
        yield "takes only one of input and weight quantised"
        return
    yield from _weight_rules(graph, node, dequantised[1])


def _weight_rules(graph: GraphEditor, node: onnx.NodeProto, weight: onnx.NodeProto) -> Iterator[str]:
    if not graph.is_constant(weight.input[0]) or not graph.is_constant(weight.input[1]):
        return  # a product of two computed values; the missing constant scale is told elsewhere
    transposed = any(a.name == "transB" and a.i == 1 for a in node.attribute)
    wanted = CHANNEL_AXIS.get(node.op_type, 0 if transposed else 1)
    axis = next((a.i for a in weight.attribute if a.name == "axis"), 1)
    channels = graph.constant(weight.input[0]).shape[wanted]
    scale = graph.constant(weight.input[1])
    if scale.shape != (channels,) or (axis != wanted and channels > 1):
        yield f"its weight needs one scale for each of its {channels} output channels, along axis {wanted}"


def _dequantiser(producers: dict[str, onnx.NodeProto], name: str) -> onnx.NodeProto | None:
    maker = producers.get(name)
    return maker if maker is not None and maker.op_type == "DequantizeLinear" else None
