"""What TensorRT computes better without eight bits: heads, small matrix products, attention, norms and softmax.

Looks through QuantizeLinear and DequantizeLinear, so that a graph can be asked before they are placed and afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from .graph import GraphEditor
from .scope import is_front_end

if TYPE_CHECKING:
    import onnx

__all__ = ["FLOAT_OPS", "heads", "is_attention_product", "is_small_product", "maker_of", "weight_of"]

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
FLOAT_OPS = ("LayerNormalization", "GroupNormalization", "RMSNormalization", "Softmax", "LogSoftmax", "Attention")
QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
# Operations that give values as they take them, in another place.
MOVES = ("Flatten", "Gather", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
# Tensor cores multiply tiles of 16 × 16: with less, the pairs around a product cost more than it saves.
SMALLEST_PRODUCT = 16

Producers = dict[str, "onnx.NodeProto"]


def weight_of(graph: GraphEditor, producers: Producers, node: onnx.NodeProto) -> npt.NDArray[Any] | None:
    """The constant that a convolution or product multiplies with, as it is stored; None where it is computed."""
    if node.op_type not in WEIGHTED or len(node.input) < 2:
        return None
    name = node.input[1]
    while name in producers and producers[name].op_type in QUANTISERS:
        name = producers[name].input[0]
    return graph.constant(name) if graph.is_constant(name) else None


def maker_of(producers: Producers, name: str) -> onnx.NodeProto | None:
    """The node that computed what `name` holds, before it was moved, quantised or dequantised."""
    while name in producers and producers[name].op_type in (*MOVES, *QUANTISERS, "Cast"):
        name = producers[name].input[0]
    return producers.get(name)


def is_small_product(graph: GraphEditor, producers: Producers, node: onnx.NodeProto) -> bool:
    """A product with a constant of which K or N, what it sums over or gives, is under 16."""
    weight = weight_of(graph, producers, node)
    return node.op_type in ("Gemm", "MatMul") and weight is not None and min(weight.shape[-2:]) < SMALLEST_PRODUCT


def is_attention_product(graph: GraphEditor, producers: Producers, node: onnx.NodeProto) -> bool:
    """A product of two computed values, as queries with keys."""
    computed = not any(_is_stored(graph, producers, name) for name in node.input[:2])
    return node.op_type in ("Gemm", "MatMul") and computed


def heads(graph: GraphEditor) -> list[onnx.NodeProto]:
    """Per output of the graph the last layer with weights before it, where a single one is the last."""
    producers = graph.producers()
    found: list[onnx.NodeProto] = []
    for output in graph.outputs:
        last: dict[int, onnx.NodeProto] = {}
        seen: set[str] = set()
        ahead = [output]
        while ahead:
            name = ahead.pop()
            node = producers.get(name)
            if name in seen or node is None or is_front_end(node):
                continue
            seen.add(name)
            if weight_of(graph, producers, node) is not None:
                last[id(node)] = node
            else:
                ahead += [value for value in node.input if value]
        found += last.values() if len(last) == 1 else []
    return found


def _is_stored(graph: GraphEditor, producers: Producers, name: str) -> bool:
    while name in producers and producers[name].op_type in (*MOVES, *QUANTISERS, "Cast"):
        name = producers[name].input[0]
    return graph.is_constant(name)
