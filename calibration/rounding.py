"""Does the installed ONNX Runtime round when it quantises float16."""

from __future__ import annotations

import numpy as np

from affectrt.bundle.errors import EngineError

__all__ = ["check_half_rounding"]


def check_half_rounding() -> None:
    """Raises EngineError where QuantizeLinear truncates float16, as ONNX Runtime's CPU kernel did before 1.31.

    A right INT8 + FP16 graph is then off by one step in half of its values, and would be judged on that.
    """
    import onnxruntime as ort

    values = np.array([0.6, 1.4, 1.5, 2.5, 126.9, -0.6, -1.5, -2.7], np.float16)
    session = ort.InferenceSession(_quantiser(len(values)), providers=["CPUExecutionProvider"])
    found = np.asarray(session.run(None, {"x": values})[0])
    expected = np.rint(values.astype(np.float32))
    if not np.array_equal(found, expected):
        raise EngineError(
            f"ONNX Runtime {ort.__version__} quantises {values.tolist()} of float16 to {found.tolist()}",
            expected=f"rounded to {expected.astype(int).tolist()}; int8-fp16 graphs cannot be judged on this version",
            fix="pip install -U 'onnxruntime>=1.31'",
        )


def _quantiser(count: int) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])],
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, [count])],
        [helper.make_tensor_value_info("y", TensorProto.INT8, [count])],
        [
            numpy_helper.from_array(np.array(1, np.float16), "scale"),
            numpy_helper.from_array(np.array(0, np.int8), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())
