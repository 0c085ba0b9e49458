"""A graph on ONNX Runtime: on the processor, the default where there is no NVIDIA GPU, or on CUDA."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from types import TracebackType
from typing import Any, Literal

import numpy as np

from affectrt.bundle.errors import EngineError

from .base import Array, TensorSpec

__all__ = ["CPU", "CUDA", "OnnxRuntimeEngine", "offers_cuda"]

Provider = Literal["CPUExecutionProvider", "CUDAExecutionProvider"]
CPU: Provider = "CPUExecutionProvider"
CUDA: Provider = "CUDAExecutionProvider"

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

    Raises EngineError when ONNX Runtime refuses the graph, when the graph's tensors have types outside the contract's,
    and when ONNX Runtime cannot use CUDA although it was asked to.
    """

    def __init__(
        self,
        graph: bytes,
        *,
        threads: int | None,
        provenance: Mapping[str, str],
        integer_kernels: bool = True,
        provider: Provider = CPU,
    ) -> None:
        import onnxruntime as ort

        if provider == CUDA:
            if not offers_cuda():
                raise _no_cuda(ort)
            _load_cuda_libraries(ort)

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
            self._session: Any = ort.InferenceSession(graph, options, providers=_providers(provider))
        except Exception as error:  # onnxruntime raises its own, undocumented family
            raise EngineError(
                f"ONNX Runtime {ort.__version__} cannot run this graph: {_first_line(error)}",
                expected="a graph whose operators this version knows",
                fix="affectrt export the checkpoint again, or upgrade: pip install -U onnxruntime",
            ) from error
        if provider not in self._session.get_providers():  # ONNX Runtime would go on without, and tell nobody
            raise _no_cuda(ort)
        self._inputs = _specs(self._session.get_inputs())
        self._outputs = _specs(self._session.get_outputs())
        self._names = list(self._outputs)
        self._provenance = {
            "backend": "onnxruntime-cuda" if provider == CUDA else "onnxruntime",
            "backend_version": str(ort.__version__),
            "provider": provider,
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


def offers_cuda() -> bool:
    """Whether the installed package has the CUDA provider; whether it can be loaded shows when it is used."""
    import onnxruntime as ort

    return CUDA in ort.get_available_providers()


def _no_cuda(ort: Any) -> EngineError:
    pip = f"{sys.executable} -m pip"
    return EngineError(
        f"ONNX Runtime {ort.__version__} cannot use CUDA here",
        expected="onnxruntime-gpu in place of onnxruntime, and the CUDA and cuDNN that it was built for",
        fix=f"{pip} uninstall onnxruntime && {pip} install 'onnxruntime-gpu[cuda,cudnn]'",
    )


def _providers(provider: Provider) -> list[Any]:
    if provider == CPU:
        return [CPU]
    options = {
        # Graphs and their accuracy are told of FP32, not of its 19 bit relative.
        "use_tf32": "0",
        # The default tries every algorithm for every batch size it meets, which takes seconds in the midst of a run.
        "cudnn_conv_algo_search": "HEURISTIC",
        # Memory grows by what is needed instead of doubling: other programs use the GPU, too.
        "arena_extend_strategy": "kSameAsRequested",
    }
    return [(CUDA, options), CPU]


def _load_cuda_libraries(ort: Any) -> None:
    """Newer packages find CUDA and cuDNN where pip put them; they print what they miss, and stdout is for results."""
    if hasattr(ort, "preload_dlls"):
        with redirect_stdout(sys.stderr):
            ort.preload_dlls()


def _specs(nodes: Sequence[Any]) -> dict[str, TensorSpec]:
    specs: dict[str, TensorSpec] = {}
    for node in nodes:
        if node.type not in _DTYPES:
            raise EngineError(f"tensor {node.name!r} is of type {node.type}", expected=", ".join(sorted(_DTYPES)))
        # A named or unknown axis is -1; only for stages of several lengths a contract has that, too.
        shape = tuple(size if isinstance(size, int) else -1 for size in node.shape[1:])
        specs[node.name] = TensorSpec(_DTYPES[node.type], shape)
    return specs


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
