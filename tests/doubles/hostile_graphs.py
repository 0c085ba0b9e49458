"""Graphs that TensorRT's parsers refuse, one per rule of the operator lint, and what makes such graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF, INT64, UINT8, INT8, DOUBLE, BOOL = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT64,
    TensorProto.UINT8,
    TensorProto.INT8,
    TensorProto.DOUBLE,
    TensorProto.BOOL,
)
ALL = ("10.1", "10.16", "11.1")
PICTURES = ["batch", 4, 8, 8]
TENTH, ZERO = np.float32(0.1), np.int8(0)


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, Any] | None = None,
    *,
    inputs: dict[str, tuple[int, list[Any]]] | None = None,
    outputs: Sequence[str] = ("y",),
    opset: int = 20,
) -> onnx.ModelProto:
    """x, four channels of 8 × 8, becomes y."""
    given = inputs or {"x": (FLOAT, PICTURES)}
    graph = helper.make_graph(
        list(nodes),
        "main",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in given.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def node(operator: str, inputs: Sequence[str] = ("x",), outputs: Sequence[str] = ("y",), **attributes: Any) -> Any:
    return helper.make_node(operator, list(inputs), list(outputs), f"body/{operator}", **attributes)


def one(
    operator: str, constants: dict[str, Any] | None = None, *, kind: int = FLOAT, shape: Any = None, **attributes: Any
) -> Any:
    """A graph of one node that takes x and the constants."""
    inputs = {"x": (kind, shape or PICTURES)}
    return model([node(operator, ["x", *(constants or {})], **attributes)], constants, inputs=inputs)


def pair(
    scale: Any = TENTH,
    zero: Any = ZERO,
    *,
    shape: Any = None,
    opset: int = 20,
    kind: int = FLOAT,
    **attributes: Any,
) -> Any:
    """x through QuantizeLinear and DequantizeLinear."""
    zeros = {} if zero is None else {"z": zero}
    nodes = [
        node("QuantizeLinear", ["x", "s", *zeros], ["q"], **attributes),
        node("DequantizeLinear", ["q", "s", *zeros], ["y"], **attributes),
    ]
    return model(nodes, {"s": scale, **zeros}, inputs={"x": (kind, shape or PICTURES)}, opset=opset)


def i64(*values: int) -> Any:
    return np.array(values, np.int64)


LSTM = {"w": np.ones((2, 8, 4), np.float32), "r": np.ones((2, 8, 2), np.float32)}
BOTH = ["Sigmoid", "Tanh", "Tanh", "Sigmoid", "Tanh", "Relu"]
STEP = {"k": np.array(8, np.int64)}
# Rule → a graph that it alone refuses, what is said, and the versions that refuse.
HOSTILE: list[tuple[str, str, Any, str, tuple[str, ...]]] = [
    (
        "element_types",
        "doubles",
        one("Relu", kind=DOUBLE),
        "input 0 is FP64; FP32, FP16, BF16, INT32, INT64 may be",
        ALL,
    ),
    ("element_types", "pictures moved before the cast", one("Transpose", kind=UINT8), "computes on UINT8", ALL),
    ("element_types", "integers raised", one("Pow", {"e": np.float32(2)}, kind=INT64), "input 0 is INT64", ("10.1",)),
    (
        "element_types",
        "a type nobody knows",
        model([node("Relu", ["x"], ["y"])], inputs={"x": (0, PICTURES)}),
        "the element type of its input",
        ALL,
    ),
    ("element_types", "int8 without a pair", one("Relu", kind=INT8), "input 0 is INT8", ALL),
    (
        "bytes_at_the_edge",
        "bytes within",
        model([node("Cast", ["x"], ["b"], to=UINT8), node("Cast", ["b"], to=FLOAT)]),
        "UINT8 inside",
        ALL,
    ),
    (
        "ranks",
        "pooling four axes",
        one("MaxPool", shape=["batch", 4, 8, 8, 8, 8], kernel_shape=[2] * 4),
        "has 6 axes; 3 or 4 or 5",
        ALL,
    ),
    (
        "ranks",
        "sampling volumes",
        model(
            [node("GridSample", ["x", "g"])], inputs={"x": (FLOAT, ["b", 1, 2, 2, 2]), "g": (FLOAT, ["b", 2, 2, 2, 3])}
        ),
        "has 5 axes; 4 may be",
        ALL,
    ),
    (
        "outputs",
        "indices of a pooling",
        model([node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2])]),
        "output Indices",
        ALL,
    ),
    (
        "constants",
        "computed axes",
        model([node("ReduceMean", ["x", "a"])], inputs={"x": (FLOAT, PICTURES), "a": (INT64, [1])}),
        "input 1 (axes) must be a constant",
        ALL,
    ),
    (
        "constants",
        "a computed axis of a sum",
        model([node("CumSum", ["x", "a"])], inputs={"x": (FLOAT, PICTURES), "a": (INT64, [])}),
        "input 1 (axis) must be a constant",
        ALL,
    ),
    (
        "constants",
        "a computed K",
        model([node("TopK", ["x", "k"], ["y", "i"])], inputs={"x": (FLOAT, PICTURES), "k": (INT64, [1])}),
        "input 1 (K) must be a constant",
        ALL,
    ),
    (
        "constants",
        "computed axes of a slice",
        model(
            [node("Slice", ["x", "b", "e", "a"])],
            {"b": i64(0), "e": i64(2)},
            inputs={"x": (FLOAT, PICTURES), "a": (INT64, [1])},
        ),
        "input 3 (axes)",
        ("10.1",),
    ),
    (
        "absent",
        "padding some axes",
        one("Pad", {"p": i64(1, 1), "v": np.float32(0), "a": i64(3)}),
        "input 3 (axes) is not available",
        ("10.1",),
    ),
    (
        "zeros",
        "dropout in training",
        one("Dropout", {"r": np.float32(0.5), "t": np.array(True)}),
        "training_mode) must be the constant 0",
        ALL,
    ),
    (
        "small",
        "a large K",
        one("TopK", {"k": i64(3840)}, shape=["batch", 5000]),
        "input 1 (K) is 3840, not below 3840",
        ALL,
    ),
    (
        "static_shapes",
        "an identity of any size",
        one("EyeLike", shape=["batch", 4], dtype=FLOAT),
        "axis without a fixed size",
        ALL,
    ),
    (
        "last_axes",
        "a spectrum of complex sound",
        one("STFT", {**STEP, "w": np.ones(16, np.float32)}, shape=["batch", 64, 2], onesided=0),
        "must be 1",
        ("10.16", "11.1"),
    ),
    (
        "symmetric_pads",
        "deformed with uneven pads",
        model(
            [node("DeformConv", ["x", "w", "o"], pads=[0, 0, 1, 1], kernel_shape=[2, 2])],
            {"w": np.ones((2, 4, 2, 2), np.float32)},
            inputs={"x": (FLOAT, PICTURES), "o": (FLOAT, ["batch", 8, 8, 8])},
        ),
        "differ between the two sides",
        ALL,
    ),
    (
        "activations",
        "directions that differ",
        one("LSTM", LSTM, shape=[6, "batch", 4], direction="bidirectional", activations=BOTH, hidden_size=2),
        "differ between the two directions",
        ALL,
    ),
    (
        "attribute_values",
        "dilated pooling",
        one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]),
        "its dilations is [2, 2]; 1 may be",
        ALL,
    ),
    (
        "attribute_values",
        "dilated averages",
        one("AveragePool", kernel_shape=[2, 2], dilations=[2, 2]),
        "its dilations",
        ALL,
    ),
    (
        "attribute_values",
        "smoothed resizing",
        model([node("Resize", ["x", "", "", "n"], antialias=1, mode="linear")], {"n": i64(1, 4, 4, 4)}),
        "its antialias is 1",
        ALL,
    ),
    (
        "attribute_values",
        "cubic resizing",
        model([node("Resize", ["x", "", "", "n"], mode="cubic")], {"n": i64(1, 4, 4, 4)}),
        "its mode is cubic; nearest, linear",
        ALL,
    ),
    (
        "attribute_values",
        "scattered sums",
        one("ScatterND", {"i": np.zeros((1, 4), np.int64), "u": np.ones(1, np.float32)}, reduction="add"),
        "its reduction is add; none",
        ALL,
    ),
    ("attribute_values", "unsorted", one("TopK", {"k": i64(2)}, sorted=0), "its sorted is 0", ALL),
    (
        "attribute_values",
        "an ellipsis",
        one("Einsum", equation="...ij->...ji"),
        "more than this version reads",
        ("10.1",),
    ),
    (
        "attribute_values",
        "sparse",
        model([node("Constant", [], ["y"], value_string="a")]),
        "attribute value_string",
        ALL,
    ),
    ("zero_points", "asymmetric", pair(zero=np.int8(3)), "its zero point is not 0", ALL),
    ("zero_points", "unsigned", pair(zero=np.uint8(0)), "quantises to UINT8", ALL),
    ("unnamed_zero_points", "no zero point", pair(zero=None), "which makes it UINT8", ALL),
    ("scales", "a scale of 0", pair(np.float32(0)), "finite and above 0", ALL),
    (
        "scales",
        "a computed scale",
        model(
            [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "t", "z"])],
            {"z": np.int8(0), "t": np.float32(1)},
            inputs={"x": (FLOAT, PICTURES), "s": (FLOAT, [])},
        ),
        "its scale must be a constant",
        ALL,
    ),
    (
        "scale_lengths",
        "too few scales",
        pair(np.ones(3, np.float32), np.zeros(3, np.int8), axis=1),
        "has scales of shape [3] for an axis of 4",
        ALL,
    ),
    ("scale_lengths", "no such axis", pair(np.ones(4, np.float32), np.zeros(4, np.int8), axis=7), "along axis 7", ALL),
    ("scale_types", "half a scale", pair(np.float16(0.1), opset=17, kind=FLOAT), "its scale is FP16, where FP32", ALL),
]
