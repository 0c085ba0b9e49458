"""A graph on ONNX Runtime's CPU kernels: the default where there is no NVIDIA GPU."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from affectrt.bundle.errors import EngineError

from .base import Array, TensorSpec

__all__ = ["OnnxRuntimeEngine"]

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
}


class OnnxRuntimeEngine:
    """Runs one ONNX graph. `threads` defaults to the cores this process may use.

    Without `integer_kernels` a quantised graph is computed as it is written: rounded, then multiplied in floats. On
    processors without VNNI ONNX Runtime's integer kernels saturate sums of 16 bits, unless weights are made for that;
    other backends do not.

    Raises EngineError when ONNX Runtime refuses the graph or the graph's tensors have types outside the contract's.
    """

    def __init__(
        self, graph: bytes, *, threads: int | None, provenance: Mapping[str, str], integer_kernels: bool = True
    ) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        options.inter_op_num_threads = 1
        # Each graph has threads of its own. Left to themselves they spin on after a call and keep the cores from the
        # next graph's threads: at paper size on two cores that took 20 ms a step instead of 12.5.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if not integer_kernels:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        # Warnings of graph optimisation are for the library's authors; errors arrive as exceptions.
        options.log_severity_level = 3
        try:
            self._session: Any = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own, undocumented family
            raise EngineError(
                f"ONNX Runtime {ort.__version__} cannot run this graph: {_first_line(error)}",
                expected="a graph whose operators this version knows",
                fix="affectrt export the checkpoint again, or upgrade: pip install -U onnxruntime",
            ) from error
        self._inputs = _specs(self._session.get_inputs())
        self._outputs = _specs(self._session.get_outputs())
        self._names = list(self._outputs)
        self._provenance = {
            "backend": "onnxruntime",
            "backend_version": str(ort.__version__),
            "provider": "CPUExecutionProvider",
            "threads": str(options.intra_op_num_threads),
            **provenance,
        }

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        return self._outputs

    @property
    def provenance(self) -> Mapping[str, str]:
        return self._provenance

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        try:
            values = self._session.run(self._names, dict(feeds))
        except Exception as error:  # onnxruntime raises its own, undocumented family
            raise EngineError(f"ONNX Runtime failed while running a graph: {_first_line(error)}") from error
        return dict(zip(self._names, (np.asarray(v) for v in values), strict=True))

    def close(self) -> None:
        self._session = None

    def __enter__(self) -> OnnxRuntimeEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _specs(nodes: Sequence[Any]) -> dict[str, TensorSpec]:
    specs: dict[str, TensorSpec] = {}
    for node in nodes:
        if node.type not in _DTYPES:
            raise EngineError(f"tensor {node.name!r} is of type {node.type}", expected=", ".join(sorted(_DTYPES)))
        # A named or unknown axis is -1, which no contract declares.
        shape = tuple(size if isinstance(size, int) else -1 for size in node.shape[1:])
        specs[node.name] = TensorSpec(_DTYPES[node.type], shape)
    return specs


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
