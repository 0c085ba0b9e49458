"""Does a graph keep the rules of TensorRT's explicit quantisation, whichever tool wrote it.

Half of the rules are what a parser enforces: signed symmetric INT8, one scale per output channel of a weight, floats
where INT8 cannot be. The other half is what makes a graph fast and right: pairs on the skip branch of a sum alone, none
around heads, small products, attention, softmax, norms and front ends, but for what they give to products with weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from affectrt.bundle.errors import ParityError

from .graph import GraphEditor, attributes_of
from .scope import is_front_end
from .spared import FLOAT_OPS, heads, is_attention_product, is_small_product, maker_of, weight_of

if TYPE_CHECKING:
    import onnx

__all__ = ["check_qdq", "qdq_problems"]

QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
# Which axis of the weight holds output channels, where the operator alone decides it.
CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1, "MatMul": 1}
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
INTEGER_OPS = ("QLinearConv", "QLinearMatMul", "QLinearAdd", "QGemm", "ConvInteger", "MatMulInteger")
SCALE_TYPES = (np.float32, np.float16)


def qdq_problems(model: onnx.ModelProto) -> list[str]:
    """One line per rule broken; an empty list is good news."""
    linter = _Linter(model)
    return [f"{node.name} ({node.op_type}): {why}" for node in linter.graph.nodes for why in linter.problems(node)]


def check_qdq(stage: str, model: onnx.ModelProto) -> None:
    """Raises ParityError that lists every broken rule."""
    problems = qdq_problems(model)
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise ParityError(
            f"the graph of stage {stage!r} breaks TensorRT's rules of explicit quantisation:\n{listed}",
            expected="signed int8, zero points 0, one weight scale per output channel, and floats where it says so",
            fix="please report it: affectrt calibrate wrote a graph that it should not have",
        )


class _Linter:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = GraphEditor(model)
        self._producers = self.graph.producers()
        self._consumers = self.graph.consumers()
        self._heads = {id(node) for node in heads(self.graph)}

    def problems(self, node: onnx.NodeProto) -> Iterator[str]:
        if node.op_type in QUANTISERS:
            yield from self._scale_rules(node)
            yield from self._quantiser_rules(node) if node.op_type == "QuantizeLinear" else self._pair_rules(node)
            return
        if node.op_type in INTEGER_OPS:
            yield "is an integer operator; TensorRT takes QuantizeLinear and DequantizeLinear alone"
        if is_front_end(node):
            yield from self._front_end_rules(node)
        elif any(self._dequantiser(name) for name in node.input):
            yield from self._float_rules(node)
            yield from self._sum_rules(node)
            if node.op_type in WEIGHTED:
                yield from self._layer_rules(node)

    def _scale_rules(self, node: onnx.NodeProto) -> Iterator[str]:
        graph = self.graph
        if len(node.input) < 3 or not all(graph.is_constant(name) for name in node.input[1:]):
            yield "needs a constant scale and a constant zero point"
            return
        scale, zero = graph.constant(node.input[1]), graph.constant(node.input[2])
        if scale.dtype not in SCALE_TYPES:
            yield f"its scale is {scale.dtype}, not float32 or float16"
        if not (np.isfinite(scale) & (scale > 0)).all():
            yield "its scale must be finite and above 0"
        if zero.dtype != np.int8:
            yield f"quantises to {zero.dtype}, not int8"
        if np.any(zero != 0):
            yield "its zero point is not 0"

    def _quantiser_rules(self, node: onnx.NodeProto) -> Iterator[str]:
        graph, maker = self.graph, self._producers.get(node.input[0])
        if maker is not None and is_front_end(maker) and is_front_end(node):
            yield "stands in a front end, which must stay FP32"
        if graph.is_constant(node.input[0]):
            return  # a weight, whose scales are the layer's affair
        if len(node.input) > 1 and graph.is_constant(node.input[1]) and graph.constant(node.input[1]).size != 1:
            yield "needs a single scale: what is computed is not quantised by channel"
        origin = maker_of(self._producers, node.input[0])
        if origin is not None and self._stays_float(origin) and not self._feeds_products(node):
            yield f"quantises what {origin.name} ({origin.op_type}) gives, which stays float"

    def _pair_rules(self, node: onnx.NodeProto) -> Iterator[str]:
        graph, maker = self.graph, self._producers.get(node.input[0])
        if maker is None:
            if not graph.is_constant(node.input[0]):
                yield "dequantises an input of the graph"
            elif graph.constant(node.input[0]).dtype != np.int8:
                yield f"holds {graph.constant(node.input[0]).dtype} weights, not int8"
        elif maker.op_type != "QuantizeLinear" or not self._same_scale(maker, node):
            yield "does not undo a QuantizeLinear with the same scale"

    def _front_end_rules(self, node: onnx.NodeProto) -> Iterator[str]:
        from onnx import TensorProto

        if any(self._dequantiser(name) for name in node.input):
            yield "is part of a front end and takes a quantised value"
        makers = [node, *(self._producers[name] for name in node.input if name in self._producers)]
        casts = any(made.op_type == "Cast" and attributes_of(made)["to"] == TensorProto.FLOAT16 for made in makers)
        constants = [self.graph.constant(name) for name in node.input if self.graph.is_constant(name)]
        if casts or any(value.dtype == np.float16 for value in constants):
            yield "is part of a front end and computes in float16"

    def _float_rules(self, node: onnx.NodeProto) -> Iterator[str]:
        if id(node) in self._heads:
            yield "is the last layer before an output and takes a quantised value; heads stay float"
        if self._stays_float(node):
            yield "takes a quantised value; norms, softmax and products of two computed values stay float"
        if is_small_product(self.graph, self._producers, node):
            yield "is a product with K or N below 16 and takes a quantised value; small products stay float"

    def _sum_rules(self, node: onnx.NodeProto) -> Iterator[str]:
        if node.op_type != "Add":
            return
        pairs = [self._dequantiser(name) for name in node.input]
        origins = [maker_of(self._producers, name) for name in node.input]
        if any(pair is not None and origin is None for pair, origin in zip(pairs, origins, strict=True)):
            if not any(name in self.graph.inputs for pair in pairs if pair for name in pair.input):
                yield "its bias is quantised"
            return
        if all(pairs):
            yield "takes both branches quantised; only the skip branch may be, the other stays fused"
            return
        at = 0 if pairs[0] is not None else 1
        quantised, plain = origins[at], self._producers.get(node.input[1 - at])
        if quantised is not None and quantised.op_type == "Conv" and (plain is None or plain.op_type != "Conv"):
            users = self._consumers[quantised.output[0]]
            if len(users) == 1:
                yield f"takes what {quantised.name} gives quantised; only the skip branch may be"

    def _layer_rules(self, node: onnx.NodeProto) -> Iterator[str]:
        dequantised = [self._dequantiser(name) for name in node.input]
        if len(dequantised) > 2 and dequantised[2] is not None:
            yield "its bias is quantised"
        if dequantised[0] is None or dequantised[1] is None:
            yield "takes only one of input and weight quantised"
            return
        weight, scale = weight_of(self.graph, self._producers, node), dequantised[1].input[1]
        if weight is None or not self.graph.is_constant(scale):
            return  # a product of two computed values, or a scale that is missing: told elsewhere
        transposed = attributes_of(node).get("transB", 0) == 1
        wanted = CHANNEL_AXIS.get(node.op_type, 0 if transposed else 1)
        axis = attributes_of(dequantised[1]).get("axis", 1) % weight.ndim
        channels = weight.shape[wanted]
        if self.graph.constant(scale).shape != (channels,) or (axis != wanted and channels > 1):
            yield f"its weight needs one scale for each of its {channels} output channels, along axis {wanted}"

    def _stays_float(self, node: onnx.NodeProto) -> bool:
        return node.op_type in FLOAT_OPS or is_attention_product(self.graph, self._producers, node)

    def _feeds_products(self, node: onnx.NodeProto) -> bool:
        """Whether products with constant weights alone take what was quantised."""
        pairs = self._consumers[node.output[0]]
        users = [user for pair in pairs for user in self._consumers[pair.output[0]]]
        products = [user for user in users if user.op_type in ("Gemm", "MatMul")]
        stored = [user for user in products if weight_of(self.graph, self._producers, user) is not None]
        return len(stored) == len(users)

    def _same_scale(self, quantise: onnx.NodeProto, dequantise: onnx.NodeProto) -> bool:
        """The same numbers, by whatever names and in either float type."""
        pairs = list(zip(quantise.input[1:3], dequantise.input[1:3], strict=False))
        if not all(self.graph.is_constant(name) for pair in pairs for name in pair):
            return all(one == other for one, other in pairs)
        axes = [attributes_of(node).get("axis", 1) for node in (quantise, dequantise)]
        values = [[self.graph.constant(name) for name in pair] for pair in pairs]
        scalar = all(value.size == 1 for pair in values for value in pair)
        return all(np.array_equal(one, other) for one, other in values) and (scalar or axes[0] == axes[1])

    def _dequantiser(self, name: str) -> onnx.NodeProto | None:
        maker = self._producers.get(name)
        while maker is not None and maker.op_type == "Cast":
            maker = self._producers.get(maker.input[0])
        return maker if maker is not None and maker.op_type == "DequantizeLinear" else None
