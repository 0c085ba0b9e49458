"""What TensorRT's ONNX parser would refuse, found before a board does.

The facts are those of the parser's operator tables from TensorRT 10.3 to 11.4; a rule holds if any of these
versions refuses. Messages name the node, and its name begins with the path of the module that made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from affectrt.bundle.errors import ParityError

if TYPE_CHECKING:
    import onnx

__all__ = ["REFUSED", "check_operators", "operator_problems"]

# Operator → why TensorRT does not take it, and what to write in its place.
REFUSED: dict[str, str] = {
    "STFT": "unknown before TensorRT 10.5: write it as a Conv1d whose weight is the windowed DFT basis",
    "DFT": "unknown to TensorRT: write it as a Conv1d or a matrix product",
    "HannWindow": "unknown before TensorRT 11: make the window a buffer of the module",
    "HammingWindow": "unknown before TensorRT 11: make the window a buffer of the module",
    "BlackmanWindow": "unknown before TensorRT 11: make the window a buffer of the module",
    "MelWeightMatrix": "unknown to TensorRT: make the matrix a buffer of the module",
    "Attention": "unknown before TensorRT 10.15: write it as MatMul, Softmax, MatMul",
    "QLinearConv": "TensorRT takes QuantizeLinear and DequantizeLinear alone",
    "QLinearMatMul": "TensorRT takes QuantizeLinear and DequantizeLinear alone",
    "ConvInteger": "TensorRT takes QuantizeLinear and DequantizeLinear alone",
    "MatMulInteger": "TensorRT takes QuantizeLinear and DequantizeLinear alone",
    "DynamicQuantizeLinear": "TensorRT takes ranges that are known beforehand alone",
    "Unique": "unknown to TensorRT",
    "SequenceAt": "TensorRT has no sequences",
    "SequenceConstruct": "TensorRT has no sequences",
    "SequenceInsert": "TensorRT has no sequences",
    "SplitToSequence": "TensorRT has no sequences",
    "ConcatFromSequence": "TensorRT has no sequences",
}
REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")


def operator_problems(model: onnx.ModelProto) -> list[str]:
    """One line per node that TensorRT would refuse; an empty list is good news."""
    opset = next((entry.version for entry in model.opset_import if entry.domain == ""), 0)
    constants = {tensor.name for tensor in model.graph.initializer}
    types = _element_types(model.graph)
    found: list[str] = []
    for node in model.graph.node:
        found += [f"{node.name} ({node.op_type}): {why}" for why in _node_problems(node, opset, constants, types)]
    return found


def check_operators(stage: str, model: onnx.ModelProto) -> None:
    """Raises ParityError that lists every node which TensorRT would refuse."""
    problems = operator_problems(model)
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise ParityError(
            f"the graph of stage {stage!r} cannot become a TensorRT engine:\n{listed}",
            expected="operators that TensorRT 10.3 to 11.4 take",
            fix="change the module named at the beginning of each line",
        )


def _node_problems(node: onnx.NodeProto, opset: int, constants: set[str], types: dict[str, int]) -> Iterator[str]:
    from onnx import TensorProto

    if node.domain not in ("", "ai.onnx"):
        yield f"domain {node.domain!r} is not standard ONNX"
    if node.op_type in REFUSED:
        yield REFUSED[node.op_type]
    if node.op_type == "Gelu" and opset < 20:
        yield "Gelu is standard from opset 20 on"
    if node.op_type != "Cast" and any(types.get(name) == TensorProto.UINT8 for name in node.input):
        yield "computes on uint8, which TensorRT takes as a network input before a Cast alone: write x.float() first"
    for rule in (_pooling, _constant_inputs):
        yield from rule(node, constants)


def _pooling(node: onnx.NodeProto, constants: set[str]) -> Iterator[str]:
    if node.op_type not in ("MaxPool", "AveragePool"):
        return
    if len(node.output) > 1 and node.output[1]:
        yield "the indices of a pooling are not available"
    if any(a.name == "dilations" and any(d != 1 for d in a.ints) for a in node.attribute):
        yield "pooling with dilation is not available"


def _constant_inputs(node: onnx.NodeProto, constants: set[str]) -> Iterator[str]:
    needed = {**dict.fromkeys(REDUCTIONS, 1), "CumSum": 1, "TopK": 1}
    index = needed.get(node.op_type)
    if index is not None and len(node.input) > index and node.input[index] not in (*constants, ""):
        yield f"its input {index} must be a constant"


def _element_types(graph: onnx.GraphProto) -> dict[str, int]:
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return {**types, **{tensor.name: tensor.data_type for tensor in graph.initializer}}
