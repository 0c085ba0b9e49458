"""Exact rewrites before quantisation: the same function, in operations that run well on eight bits.

Every rewrite takes and gives a model and keeps the names of the values that stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .graph import GraphEditor, attributes_of, body_node

if TYPE_CHECKING:
    import onnx

__all__ = ["drop_identity_pools", "fold_constants", "fold_input_norms", "rewrite_prelus"]

# A shift of the residual stream of more than this many standard deviations of the norm would coarsen its eight bits.
MAX_SHIFT = 4.0


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute once what depends on no input, such as weights that a weight norm scales: only constants can be INT8."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    graph = GraphEditor(model)
    kept = []
    for node in graph.nodes:
        names = list(dict.fromkeys(name for name in node.input if name))
        if not names or not all(map(graph.is_constant, names)) or {*node.output} & {*graph.outputs}:
            kept.append(node)
            continue
        values = {name: graph.constant(name) for name in names}
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in values.items()
        ]
        outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
        alone = helper.make_model(
            helper.make_graph([node], "constant", inputs, outputs), opset_imports=list(model.opset_import)
        )
        for name, value in zip(node.output, ReferenceEvaluator(alone).run(None, values), strict=True):
            graph.set_constant(name, np.asarray(value))
    graph.nodes = kept
    return graph.model()


def drop_identity_pools(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove poolings over one pixel with stride 1, which residual networks use as a shortcut."""
    graph = GraphEditor(model)
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.nodes:
        attributes = attributes_of(node)
        if (
            node.op_type == "MaxPool"
            and len(node.output) == 1
            and node.output[0] not in graph.outputs
            and all(size == 1 for size in attributes["kernel_shape"])
            and all(step == 1 for step in attributes.get("strides", ()))
            and not any(attributes.get("pads", ()))
        ):
            renamed[node.output[0]] = renamed.get(node.input[0], node.input[0])
            continue
        node.input[:] = [renamed.get(name, name) for name in node.input]
        kept.append(node)
    graph.nodes = kept
    return graph.model()


def rewrite_prelus(model: onnx.ModelProto) -> onnx.ModelProto:
    """PRelu(x) as Max(x, slope · x) where every slope is at most 1, as Min where every slope is at least 1.

    ONNX Runtime computes Mul and Max in vectors and in any memory layout; its PRelu does neither. A PRelu
    with slopes on both sides of 1 is left alone.
    """
    graph = GraphEditor(model)
    nodes: list[onnx.NodeProto] = []
    for node in graph.nodes:
        slopes = graph.constant(node.input[1]) if _is_prelu(graph, node) else None
        if slopes is None or not ((slopes <= 1).all() or (slopes >= 1).all()):
            nodes.append(node)
            continue
        scaled = f"{node.output[0]}:scaled"
        nodes.append(body_node("Mul", [node.input[0], node.input[1]], scaled, f"{node.output[0]}/Mul"))
        choice = "Max" if (slopes <= 1).all() else "Min"
        nodes.append(body_node(choice, [node.input[0], scaled], node.output[0], f"{node.output[0]}/{choice}"))
    graph.nodes = nodes
    return graph.model()


def fold_input_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """Take batch norms out that stand before a convolution inside a residual unit.

    A norm is a·x + b = a·(x + b/a). The scale a goes into the weights of the convolution. The shift b/a cannot go
    into its bias, because the convolution pads the norm's output with zeros; but it can go into the residual
    stream: x + b/a is made by adding b/a to the bias of the convolution that x's sum takes in, and taken back wherever
    else x is used: from the bias of the next convolution on the shortcut, or from the sum that ends the unit. Zero
    padding of x + b/a is then exactly zero padding of the norm's output. Norms for which this cannot be done, or
    whose shift is large, stay.
    """
    graph = GraphEditor(model)
    for norm in [node for node in graph.nodes if node.op_type == "BatchNormalization"]:
        _fold_norm(graph, norm)
    return graph.model()


def _fold_norm(graph: GraphEditor, norm: onnx.NodeProto) -> bool:
    """Fold one norm if it can be done; the graph is left as it was if not."""
    producers, consumers = graph.producers(), graph.consumers()
    stream = norm.input[0]
    targets = consumers[norm.output[0]]
    scale, shift = _affine(graph, norm)
    if norm.output[0] in graph.outputs or stream in graph.outputs or len(targets) != 1:
        return False
    target, makes = targets[0], producers.get(stream)
    if target.op_type != "Conv" or not graph.is_constant(target.input[1]) or np.abs(scale).min() < 1e-6:
        return False
    moved = shift / scale
    if makes is None or makes.op_type != "Add" or np.abs(moved * scale).max() > MAX_SHIFT:
        return False
    source = _biased_conv(graph, makes, producers, consumers)
    if source is None:
        return False
    undo = _undo(graph, stream, norm, producers, consumers)
    if undo is None:
        return False
    _add_bias(graph, source, moved)
    for conv, sign in undo:
        if sign == 0:  # a shortcut convolution takes the shifted stream: its bias gives the shift's image back
            weights = graph.constant(conv.input[1]).astype(np.float64)
            _add_bias(graph, conv, -weights.sum(axis=tuple(range(2, weights.ndim))) @ moved)
        else:
            _add_bias(graph, conv, -moved)
    weights = graph.constant(target.input[1]).astype(np.float64)
    weights = weights * scale.reshape(1, -1, *[1] * (weights.ndim - 2))
    target.input[1] = graph.set_constant(f"{target.output[0]}:folded", weights.astype(np.float32))
    target.input[0] = stream
    graph.nodes = [node for node in graph.nodes if node is not norm]
    return True


def _undo(
    graph: GraphEditor,
    stream: str,
    norm: onnx.NodeProto,
    producers: dict[str, onnx.NodeProto],
    consumers: dict[str, list[onnx.NodeProto]],
) -> list[tuple[onnx.NodeProto, int]] | None:
    """Convolutions whose bias takes the shift back at the other users of `stream`; None where one cannot.

    0: a convolution of the stream itself, without padding. 1: the convolution that is added to the stream.
    """
    undo: list[tuple[onnx.NodeProto, int]] = []
    for user in consumers[stream]:
        if user is norm:
            continue
        if user.op_type == "Conv" and not any(attributes_of(user).get("pads", ())) and _has_own_bias(graph, user):
            undo.append((user, 0))
        elif user.op_type == "MaxPool" and len(consumers[user.output[0]]) == 1:
            add = consumers[user.output[0]][0]
            conv = _biased_conv(graph, add, producers, consumers) if add.op_type == "Add" else None
            if conv is None:
                return None
            undo.append((conv, 1))
        elif user.op_type == "Add":
            conv = _biased_conv(graph, user, producers, consumers)
            if conv is None:
                return None
            undo.append((conv, 1))
        else:
            return None
    return undo


def _biased_conv(
    graph: GraphEditor,
    add: onnx.NodeProto,
    producers: dict[str, onnx.NodeProto],
    consumers: dict[str, list[onnx.NodeProto]],
) -> onnx.NodeProto | None:
    """A convolution whose output goes into `add` alone, so that its bias is a bias of the sum."""
    for name in add.input:
        node = producers.get(name)
        if node is not None and node.op_type == "Conv" and len(consumers[name]) == 1 and _has_own_bias(graph, node):
            return node
    return None


def _has_own_bias(graph: GraphEditor, conv: onnx.NodeProto) -> bool:
    return all(graph.is_constant(name) for name in conv.input[1:])


def _add_bias(graph: GraphEditor, conv: onnx.NodeProto, change: npt.NDArray[np.float64]) -> None:
    has_bias = len(conv.input) > 2
    old = graph.constant(conv.input[2]).astype(np.float64) if has_bias else np.zeros(len(change))
    name = graph.set_constant(f"{conv.output[0]}:shifted", (old + change).astype(np.float32))
    if has_bias:
        conv.input[2] = name
    else:
        conv.input.append(name)


def _affine(graph: GraphEditor, norm: onnx.NodeProto) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The norm as a·x + b, per channel."""
    gamma, beta, mean, variance = (graph.constant(name).astype(np.float64) for name in norm.input[1:])
    scale = gamma / np.sqrt(variance + attributes_of(norm).get("epsilon", 1e-5))
    return scale, beta - mean * scale


def _is_prelu(graph: GraphEditor, node: onnx.NodeProto) -> bool:
    return node.op_type == "PRelu" and graph.is_constant(node.input[1])
