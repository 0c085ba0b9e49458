"""From one FP32 graph and one set of ranges: an INT8 graph for TensorRT and one for CPUs.

Both say with QuantizeLinear and DequantizeLinear pairs where eight bits are enough; what differs is where the
pairs stand and how they are scaled:

|             | tensorrt                                   | cpu (ONNX Runtime)                                |
|-------------|--------------------------------------------|---------------------------------------------------|
| activations | int8, symmetric, zero point 0              | uint8, asymmetric                                 |
| weights     | int8, symmetric, per output channel        | the same                                          |
| biases      | float32, added before requantisation       | int32, as its integer kernels want them           |
| convolution | its input                                  | input and output                                  |
| residual +  | the skip branch; the other one stays fused | both branches and the sum                         |

uint8 times int8 may saturate in 16 bits on x86 processors without VNNI; with VNNI and on ARM it is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from affectrt.bundle.scopes import BODY, SCOPE_KEY

from .graph import GraphEditor
from .scope import body_nodes

if TYPE_CHECKING:
    import onnx

__all__ = ["Int8Target", "quantise", "values_to_observe"]

Int8Target = Literal["cpu", "tensorrt"]
Range = tuple[float, float]
WEIGHTED = ("Conv", "Gemm", "MatMul")
SMALLEST_SCALE = 1e-8  # TensorRT refuses 0, which a value that never changes would give


@dataclass
class _Placement:
    """Where pairs go: value → the nodes that take it quantised, or None for all of them."""

    users: dict[str, list[int] | None] = field(default_factory=dict)
    ranges: dict[str, str] = field(default_factory=dict)  # value → the value whose range it takes

    def everywhere(self, name: str) -> None:
        self.users[name] = None

    def at(self, name: str, node: onnx.NodeProto) -> None:
        users = self.users.setdefault(name, [])
        if users is not None:
            users.append(id(node))


def quantise(model: onnx.ModelProto, ranges: Mapping[str, Range], target: Int8Target) -> onnx.ModelProto:
    """Insert the pairs. KeyError names a value that has no range: `values_to_observe` lists all that need one."""
    graph = GraphEditor(model)
    placement = _place(graph, target)
    weighted = [node for node in _weighted_nodes(graph) if node.input[0] in placement.users]
    scales: dict[str, float] = {}
    before: dict[str, list[onnx.NodeProto]] = {}
    for name, users in placement.users.items():
        pair, scales[name] = _activation_pair(graph, name, ranges[placement.ranges.get(name, name)], target)
        before[name] = pair
        for node in graph.nodes:
            if users is None or id(node) in users:
                node.input[:] = [pair[1].output[0] if value == name else value for value in node.input]
    weights: dict[int, list[onnx.NodeProto]] = {}
    plain = {pair[1].output[0]: name for name, pair in before.items()}
    for node in weighted:
        input_scale = scales[plain[node.input[0]]]
        weights[id(node)] = _quantise_weights(graph, node, input_scale if target == "cpu" else None)
    graph.nodes = _in_order(graph, before, weights)
    return graph.model()


def values_to_observe(model: onnx.ModelProto) -> set[str]:
    """Every value whose range some target needs."""
    placements = (_place(GraphEditor(model), target) for target in ("cpu", "tensorrt"))
    return {p.ranges.get(name, name) for p in placements for name in p.users}


def _place(graph: GraphEditor, target: Int8Target) -> _Placement:
    return _place_for_cpu(graph) if target == "cpu" else _place_for_tensorrt(graph)


def _place_for_tensorrt(graph: GraphEditor) -> _Placement:
    placement = _Placement()
    for node in _weighted_nodes(graph):
        placement.at(node.input[0], node)
    producers, consumers = graph.producers(), graph.consumers()
    for node in _residual_sums(graph):
        fused = [n for n in node.input if producers[n].op_type == "Conv" and len(consumers[n]) == 1]
        skip = next((n for n in node.input if n not in fused), None)
        if fused and skip is not None:
            placement.at(skip, node)
    return placement


def _place_for_cpu(graph: GraphEditor) -> _Placement:
    placement = _Placement()
    consumers = graph.consumers()
    weighted = _weighted_nodes(graph)
    integer = {id(node) for node in weighted}
    for node in weighted:
        placement.at(node.input[0], node)
    for node in weighted:
        result = node.output[0]
        users = consumers[result]
        if len(users) == 1 and users[0].op_type == "Relu":
            result = users[0].output[0]
            users = consumers[result]
        # A last matrix product gives its features in float32: nothing follows that would be faster with less.
        if result not in graph.outputs and (node.op_type == "Conv" or any(id(user) in integer for user in users)):
            placement.everywhere(result)
    for node in _residual_sums(graph):
        for name in (*node.input, node.output[0]):
            if name not in graph.outputs:
                placement.everywhere(name)
    for node in body_nodes(graph.nodes):
        quantised = node.op_type == "MaxPool" and placement.users.get(node.input[0], []) is None
        if quantised and node.output[0] not in graph.outputs:
            placement.everywhere(node.output[0])
            placement.ranges[node.output[0]] = placement.ranges.get(node.input[0], node.input[0])
    return placement


def _weighted_nodes(graph: GraphEditor) -> list[onnx.NodeProto]:
    return [node for node in body_nodes(graph.nodes) if node.op_type in WEIGHTED and graph.is_constant(node.input[1])]


def _residual_sums(graph: GraphEditor) -> list[onnx.NodeProto]:
    """Sums of two computed values of which one comes straight from a convolution."""
    producers = graph.producers()
    return [
        node
        for node in body_nodes(graph.nodes)
        if node.op_type == "Add"
        and all(name in producers for name in node.input)
        and any(producers[name].op_type == "Conv" for name in node.input)
    ]


def _activation_pair(
    graph: GraphEditor, name: str, bounds: Range, target: Int8Target
) -> tuple[list[onnx.NodeProto], float]:
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    zero: npt.NDArray[np.uint8] | npt.NDArray[np.int8]
    if target == "cpu":
        scale = np.float32(max((high - low) / 255, SMALLEST_SCALE))
        zero = np.array(np.clip(np.round(-low / float(scale)), 0, 255), np.uint8)
    else:
        scale = np.float32(max(max(-low, high) / 127, SMALLEST_SCALE))
        zero = np.array(0, np.int8)
    constants = [
        graph.set_constant(f"{name}:scale", np.array(scale, np.float32)),
        graph.set_constant(f"{name}:zero", zero),
    ]
    pair = [
        _node("QuantizeLinear", [name, *constants], f"{name}:q"),
        _node("DequantizeLinear", [f"{name}:q", *constants], f"{name}:dq"),
    ]
    return pair, float(scale)


def _quantise_weights(graph: GraphEditor, node: onnx.NodeProto, input_scale: float | None) -> list[onnx.NodeProto]:
    """int8 weights, and an int32 bias where `input_scale` is given; returns the DequantizeLinear nodes."""
    weights = graph.constant(node.input[1]).astype(np.float64)
    axis = _output_axis(node)
    others = tuple(i for i in range(weights.ndim) if i != axis)
    scale = np.maximum(np.abs(weights).max(axis=others) / 127, SMALLEST_SCALE)
    bias = graph.constant(node.input[2]).astype(np.float64) if len(node.input) > 2 else None
    if bias is not None and input_scale is not None:
        # The bias must fit 32 bits in units of input scale times weight scale; half of them is left for the sum.
        scale = np.maximum(scale, np.abs(bias) / (input_scale * 2.0**30))
    scale = scale.astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(weights.ndim)]
    rounded = np.clip(np.round(weights / scale.reshape(shape)), -127, 127).astype(np.int8)
    nodes = [_dequantised(graph, node, 1, "weight", rounded, scale, np.zeros(scale.shape, np.int8), axis)]
    if bias is not None and input_scale is not None:
        unit = (np.float32(input_scale) * scale).astype(np.float32)
        integer = np.round(bias / unit).astype(np.int32)
        nodes.append(_dequantised(graph, node, 2, "bias", integer, unit, np.zeros(unit.shape, np.int32), 0))
    return nodes


def _dequantised(
    graph: GraphEditor,
    node: onnx.NodeProto,
    index: int,
    what: str,
    values: npt.NDArray[np.signedinteger[npt.NBitBase]],
    scale: npt.NDArray[np.float32],
    zero: npt.NDArray[np.signedinteger[npt.NBitBase]],
    axis: int,
) -> onnx.NodeProto:
    stem = f"{node.output[0]}:{what}"
    inputs = [
        graph.set_constant(f"{stem}:q", values),
        graph.set_constant(f"{stem}:scale", scale),
        graph.set_constant(f"{stem}:zero", zero),
    ]
    node.input[index] = f"{stem}:dq"
    return _node("DequantizeLinear", inputs, f"{stem}:dq", axis=axis)


def _output_axis(node: onnx.NodeProto) -> int:
    """Along which axis of its weight a node's output channels lie."""
    if node.op_type == "Conv":
        return 0
    transposed = any(a.name == "transB" and a.i == 1 for a in node.attribute)
    return 0 if node.op_type == "Gemm" and transposed else 1


def _in_order(
    graph: GraphEditor, pairs: Mapping[str, list[onnx.NodeProto]], weights: Mapping[int, list[onnx.NodeProto]]
) -> list[onnx.NodeProto]:
    """All nodes in an order of computation: a pair right after the node that makes its value."""
    ordered = [node for name in graph.inputs for node in pairs.get(name, [])]
    for node in graph.nodes:
        ordered += [*weights.get(id(node), []), node]
        ordered += [made for name in node.output for made in pairs.get(name, [])]
    return ordered


def _node(op_type: str, inputs: list[str], output: str, axis: int | None = None) -> onnx.NodeProto:
    from onnx import helper

    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    node = helper.make_node(op_type, inputs, [output], output, **attributes)
    note = node.metadata_props.add()
    note.key, note.value = SCOPE_KEY, BODY
    return node
