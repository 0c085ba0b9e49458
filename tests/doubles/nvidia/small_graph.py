"""A small graph with all that the simulation must know: bytes in, a convolution with a Relu, a product, three types."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["small_graph"]

OPSET = 20


def small_graph(precision: str = "fp32", *, opset: int = OPSET) -> bytes:
    """`frames` uint8 [batch, 8, 8, 3] → `scores` float32 [batch, 2], at "fp32", "fp16" or "int8"."""
    rng = np.random.default_rng(7)
    kind = np.float16 if precision == "fp16" else np.float32
    onnx_kind = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.FLOAT
    constants = {
        "kernel": (rng.random((4, 3, 3, 3)) - 0.3).astype(kind),
        "matrix": rng.standard_normal((4, 2)).astype(kind),
        "scale": np.array(0.05, kind),
        "zero": np.array(0, np.int8),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["frames"], ["values"], name="cast", to=onnx_kind),
        node("Transpose", ["values"], ["planes"], name="transpose", perm=[0, 3, 1, 2]),
    ]
    data, kernel = "planes", "kernel"
    if precision == "int8":
        for name in (data, kernel):
            nodes.append(node("QuantizeLinear", [name, "scale", "zero"], [f"{name}_q"], name=f"{name}_quantize"))
            nodes.append(
                node("DequantizeLinear", [f"{name}_q", "scale", "zero"], [f"{name}_dq"], name=f"{name}_dequantize")
            )
        data, kernel = f"{data}_dq", f"{kernel}_dq"
    nodes += [
        node("Conv", [data, kernel], ["sums"], name="conv"),
        node("Relu", ["sums"], ["positive"], name="relu"),
        node("GlobalAveragePool", ["positive"], ["means"], name="pool"),
        node("Flatten", ["means"], ["row"], name="flatten"),
        node("MatMul", ["row", "matrix"], ["product"], name="matmul"),
        node("Cast", ["product"], ["scores"], name="cast_back", to=TensorProto.FLOAT),
    ]
    used = {name for item in nodes for name in item.input}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["batch", 8, 8, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
