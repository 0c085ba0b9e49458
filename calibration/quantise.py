"""From one FP32 graph and one set of ranges: an INT8 graph for TensorRT and one for CPUs.

Both say with QuantizeLinear and DequantizeLinear pairs where eight bits are enough; `placement` says where the pairs
stand, and this is how they are scaled:

|             | tensorrt                               | cpu (ONNX Runtime)                                    |
|-------------|----------------------------------------|-------------------------------------------------------|
| activations | int8, symmetric, zero point 0          | uint8, asymmetric                                     |
| weights     | int8, symmetric, per output channel    | the same, and small enough for sums of 16 bits        |
| biases      | float32, added before requantisation   | int32, as its integer kernels want them               |

x86 processors without VNNI add the products of two neighbours in 16 bits before they widen them. At full scale that
sum saturates, which cost up to half of a feature; so two neighbours of the cpu graph's weights add up to 128 at most.
With VNNI and on ARM this would not be needed; the graph is the same, so that its answer is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .graph import GraphEditor, body_node
from .placement import Int8Target, place

if TYPE_CHECKING:
    import onnx

__all__ = ["quantise"]

Range = tuple[float, float]
Floats = npt.NDArray[np.floating[Any]]
SMALLEST_SCALE = 1e-8  # TensorRT refuses 0, which a value that never changes would give
SMALLEST_HALF_SCALE = 2.0**-24  # the smallest number of float16

# The largest sum of two weights that times 255 fits into 16 bits with its sign.
LARGEST_PAIR = 128


def quantise(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    target: Int8Target,
    *,
    keep: Set[str] = frozenset(),
    only: Set[str] | None = None,
    half_scales: bool = False,
) -> onnx.ModelProto:
    """Insert the pairs; `keep` and `only` name layers as `placement` does. With `half_scales` every scale is a number
    that float16 holds as well, and the weights are rounded on that scale.

    KeyError names a value that has no range: `values_to_observe` lists all that need one.
    """
    graph = GraphEditor(model)
    placement = place(graph, target, keep=keep, only=only)
    fit = _half_scale if half_scales else _any_scale
    scales: dict[str, float] = {}
    before: dict[str, list[onnx.NodeProto]] = {}
    for name, users in placement.users.items():
        pair, scales[name] = _activation_pair(graph, name, ranges[placement.range_of(name)], target, fit)
        before[name] = pair
        for node in graph.nodes:
            if users is None or id(node) in users:
                node.input[:] = [pair[1].output[0] if value == name else value for value in node.input]
    weights: dict[int, list[onnx.NodeProto]] = {}
    plain = {pair[1].output[0]: name for name, pair in before.items()}
    for node in placement.layers:
        input_scale = scales[plain[node.input[0]]]
        weights[id(node)] = _quantise_weights(graph, node, input_scale if target == "cpu" else None, fit)
    graph.nodes = _in_order(graph, before, weights)
    return graph.model()


def _any_scale(scale: Floats) -> Floats:
    return np.maximum(scale, SMALLEST_SCALE).astype(np.float32)


def _half_scale(scale: Floats) -> Floats:
    """The next number of float16 at or above, so that nothing is clipped; float32 where float16 is too short for it."""
    if (scale > np.finfo(np.float16).max).any():
        return _any_scale(scale)
    half = np.maximum(scale, SMALLEST_HALF_SCALE).astype(np.float16)
    return np.where(half < scale, np.nextafter(half, np.float16(np.inf)), half).astype(np.float32)


def _activation_pair(
    graph: GraphEditor, name: str, bounds: Range, target: Int8Target, fit: Callable[[Floats], Floats]
) -> tuple[list[onnx.NodeProto], float]:
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    zero: npt.NDArray[np.uint8] | npt.NDArray[np.int8]
    if target == "cpu":
        scale = np.float32(fit(np.array((high - low) / 255)))
        zero = np.array(np.clip(np.round(-low / float(scale)), 0, 255), np.uint8)
    else:
        scale = np.float32(fit(np.array(max(-low, high) / 127)))
        zero = np.array(0, np.int8)
    constants = [
        graph.set_constant(f"{name}:scale", np.array(scale, np.float32)),
        graph.set_constant(f"{name}:zero", zero),
    ]
    pair = [
        body_node("QuantizeLinear", [name, *constants], f"{name}:q"),
        body_node("DequantizeLinear", [f"{name}:q", *constants], f"{name}:dq"),
    ]
    return pair, float(scale)


def _quantise_weights(
    graph: GraphEditor, node: onnx.NodeProto, input_scale: float | None, fit: Callable[[Floats], Floats]
) -> list[onnx.NodeProto]:
    """int8 weights, and an int32 bias where `input_scale` is given; returns the DequantizeLinear nodes."""
    weights = graph.constant(node.input[1]).astype(np.float64)
    axis = _output_axis(node)
    others = tuple(i for i in range(weights.ndim) if i != axis)
    scale = np.abs(weights).max(axis=others) / 127
    bias = graph.constant(node.input[2]).astype(np.float64) if len(node.input) > 2 else None
    if input_scale is not None:
        scale = np.maximum(scale, _largest_pairs(weights, axis) / LARGEST_PAIR)
    if bias is not None and input_scale is not None:
        # The bias must fit 32 bits in units of input scale times weight scale; half of them is left for the sum.
        scale = np.maximum(scale, np.abs(bias) / (input_scale * 2.0**30))
    scale = fit(scale)
    shape = [-1 if i == axis else 1 for i in range(weights.ndim)]
    rounded = np.clip(np.round(weights / scale.reshape(shape)), -127, 127).astype(np.int8)
    nodes = [_dequantised(graph, node, 1, "weight", rounded, scale, np.zeros(scale.shape, np.int8), axis)]
    if bias is not None and input_scale is not None:
        unit = (np.float32(input_scale) * scale).astype(np.float32)
        integer = np.round(bias / unit).astype(np.int32)
        nodes.append(_dequantised(graph, node, 2, "bias", integer, unit, np.zeros(unit.shape, np.int32), 0))
    return nodes


def _largest_pairs(weights: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    """Per output channel, the largest |a + b| of two weights that one instruction multiplies and adds.

    Those are neighbours in the order kernel place, input channel: (1st, 2nd), (3rd, 4th), …
    """
    rows = np.moveaxis(weights, axis, 0)
    rows = np.moveaxis(rows, 1, -1).reshape(len(rows), -1)
    rows = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
    largest: npt.NDArray[np.float64] = np.abs(rows[:, ::2] + rows[:, 1::2]).max(axis=1)
    return largest


def _dequantised(
    graph: GraphEditor,
    node: onnx.NodeProto,
    index: int,
    what: str,
    values: npt.NDArray[np.signedinteger[Any]],
    scale: Floats,
    zero: npt.NDArray[np.signedinteger[Any]],
    axis: int,
) -> onnx.NodeProto:
    stem = f"{node.output[0]}:{what}"
    inputs = [
        graph.set_constant(f"{stem}:q", values),
        graph.set_constant(f"{stem}:scale", scale),
        graph.set_constant(f"{stem}:zero", zero),
    ]
    node.input[index] = f"{stem}:dq"
    return body_node("DequantizeLinear", inputs, f"{stem}:dq", axis=axis)


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
