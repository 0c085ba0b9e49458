"""Multiply-accumulates of an ONNX graph, from its shapes: what a stage must compute, whoever computes it.

Counted are convolutions and matrix products, plain, quantised or between Q/DQ nodes. Everything else is cheap in
multiplications, if not always in time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from affectrt.bundle.errors import EngineError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

__all__ = ["Macs", "count_macs"]

_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}  # operator → input that holds the weights
_PRODUCTS = {"MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3}
_HIDDEN = {"Loop", "Scan", "If", "LSTM", "GRU", "RNN", "Einsum", "ConvTranspose", "DeformConv", "Attention"}

_OF_LENGTHS = ("Add", "Cast", "Concat", "Gather", "Mul", "Range", "Reshape", "Slice", "Squeeze", "Sub", "Unsqueeze")

Shapes = Mapping[str, tuple[int, ...] | None]


@dataclass(frozen=True)
class Macs:
    """Of one row (batch of 1). `weights`: parameters that the counted operators hold."""

    total: int
    by_operator: Mapping[str, int]
    weights: int


def count_macs(graph: bytes, length: int | None = None) -> Macs:
    """Count a serialised model; `length`: of the axis after the batch, where that is dynamic.

    EngineError where a shape is unknown or an operator hides work we cannot count.
    """
    import onnx
    from onnx.shape_inference import infer_shapes

    model = onnx.load_from_string(graph)
    for value in model.graph.input:
        axes = value.type.tensor_type.shape.dim
        axes[0].dim_value = 1
        if length is not None and len(axes) > 1 and not axes[1].HasField("dim_value"):
            axes[1].dim_value = length
    # Exporters write down shapes in terms of the batch's name; those would stand in the way of the numbers.
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    weights = sum(prod(tuple(tensor.dims)) for tensor in model.graph.initializer if len(tensor.dims) > 1)
    _fold_lengths(model)
    model = infer_shapes(model, strict_mode=True, data_prop=True)
    shapes = _shapes(model.graph)
    counts: dict[str, int] = defaultdict(int)
    for node in model.graph.node:
        if node.op_type in _HIDDEN:
            raise EngineError(f"operator {node.op_type} ({node.name}): its multiplications are not counted")
        count = _of_node(node, shapes)
        if count:
            counts[node.op_type] += count
    return Macs(sum(counts.values()), dict(counts), weights)


def _fold_lengths(model: ModelProto) -> None:
    """Compute what depends on the sizes of the inputs alone, as a list of places does: shapes of these are not inferred
    otherwise."""
    from onnx import TensorProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    graph = model.graph
    known = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.INT64}
    sizes = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in graph.input}
    kept = []
    for node in graph.node:
        made: list[Any] = []
        if node.op_type == "Shape" and all(sizes.get(node.input[0], [0])):
            made = [np.array(sizes[node.input[0]], np.int64)[_sliced(node)]]
        elif node.op_type in _OF_LENGTHS and all(name in known for name in node.input if name):
            values = {name: numpy_helper.to_array(known[name]) for name in node.input if name}
            inputs = [
                helper.make_tensor_value_info(name, known[name].data_type, value.shape)
                for name, value in values.items()
            ]
            outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
            alone = helper.make_graph([node], "alone", inputs, outputs)
            imports = list(model.opset_import)
            made = list(ReferenceEvaluator(helper.make_model(alone, opset_imports=imports)).run(None, values))
        if not made:
            kept.append(node)
            continue
        folded = [numpy_helper.from_array(np.asarray(v), n) for n, v in zip(node.output, made, strict=True)]
        known |= {tensor.name: tensor for tensor in folded}
        graph.initializer.extend(folded)
    del graph.node[:]
    graph.node.extend(kept)


def _sliced(node: NodeProto) -> slice:
    """Which of the axes a Shape gives."""
    given = {attribute.name: attribute.i for attribute in node.attribute}
    return slice(given.get("start", 0), given.get("end"))


def _of_node(node: NodeProto, shapes: Shapes) -> int:
    kind = node.op_type
    if kind in _CONVOLUTIONS:
        # Each output value needs the products of one filter: (channels / group) × kernel.
        _, *kernel = _known(shapes, node, node.input[_CONVOLUTIONS[kind]])
        return prod(_known(shapes, node, node.output[0])) * prod(kernel)
    if kind in _PRODUCTS:
        depth = _known(shapes, node, node.input[_PRODUCTS[kind]])
        return prod(_known(shapes, node, node.output[0])) * (depth[-2] if len(depth) > 1 else depth[0])
    if kind == "Gemm":
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        left = _known(shapes, node, node.input[0])
        return prod(_known(shapes, node, node.output[0])) * left[0 if transposed else 1]
    return 0


def _known(shapes: Shapes, node: NodeProto, name: str) -> tuple[int, ...]:
    shape = shapes.get(name)
    if shape is None:
        raise EngineError(f"{node.op_type} ({node.name}): the shape of {name!r} cannot be inferred")
    return shape


def _shapes(graph: GraphProto) -> dict[str, tuple[int, ...] | None]:
    """Name → shape; None where an axis is unknown."""
    shapes: dict[str, tuple[int, ...] | None] = {t.name: tuple(t.dims) for t in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if not tensor.HasField("shape"):
            shapes[value.name] = None
            continue
        axes = tensor.shape.dim
        known = all(axis.HasField("dim_value") for axis in axes)
        shapes[value.name] = tuple(axis.dim_value for axis in axes) if known else None
    return shapes
