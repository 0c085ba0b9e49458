"""The runtime, the engine and its inspector: what a plan holds, told as TensorRT tells it."""

from __future__ import annotations

import ctypes
import functools
import json
import math
import sys
from types import ModuleType
from typing import Any

import numpy as np
from doubles.nvidia.behaviour import Behaviour, HostMemory
from doubles.nvidia.faults import libcuda
from doubles.nvidia.faults import tensorrt as injected
from doubles.nvidia.layers import inspector_entry
from doubles.nvidia.network import DTYPES
from doubles.nvidia.plan import BadPlanError, Plan, read_plan

__all__ = ["DeviceMemory", "Engine"]

NUMPY = dict(DTYPES.values())
WEIGHTS_BYTES = CONTEXT_BYTES = 1 << 16


class DeviceMemory:
    """What TensorRT takes for itself, given back when its owner goes. Raises MemoryError, or LookupError without a
    current CUDA context."""

    def __init__(self, size: int, owner: str) -> None:
        self._address = ctypes.c_ulonglong()
        self._owner = owner
        code = libcuda().doubles_tensorrt_allocate(ctypes.byref(self._address), size)
        if code:
            raise (MemoryError if code == 2 else LookupError)(f"CUDA error {code}")

    def __del__(self) -> None:
        if self._address.value and not sys.is_finalizing():
            code = libcuda().doubles_tensorrt_free(self._address)
            if code:
                injected.misuse(f"an {self._owner} was destroyed without a current CUDA context (error {code})")


class Runtime(Behaviour):
    stands_behind = "Runtime"

    def __init__(self, trt: ModuleType, logger: Any) -> None:
        super().__init__(trt, logger)
        self.DLA_core = -1
        self.num_DLA_cores = 0
        self.max_threads = 1
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, serialized_engine: memoryview) -> Engine | None:
        try:
            plan = read_plan(bytes(serialized_engine), self.trt.__version__)
            return Engine(self.trt, self, plan, bytes(serialized_engine))
        except BadPlanError as bad:
            self.log_error(str(bad))
        except (MemoryError, LookupError) as error:
            self.log_error(f"IRuntime::deserializeCudaEngine: Error Code 1: Cuda Runtime ({error})")
        return None


class Engine(Behaviour):
    stands_behind = "ICudaEngine"

    def __init__(self, trt: ModuleType, runtime: Runtime, plan: Plan, data: bytes) -> None:
        super().__init__(trt, runtime.logger)
        self.runtime = runtime
        self._memory = DeviceMemory(WEIGHTS_BYTES, "ICudaEngine")
        self._data, self.plan = data, plan
        self.tensors = {facts["name"]: facts for facts in plan.facts["tensors"]}
        built = plan.facts["built"]
        self.profiles: list[dict[str, Any]] = built["profiles"]
        self.num_optimization_profiles = max(1, len(self.profiles))
        self.layers = [(layer, at) for at in range(self.num_optimization_profiles) for layer in plan.facts["layers"]]
        self.profiling_verbosity = getattr(self.trt.ProfilingVerbosity, built["verbosity"])
        self.engine_capability = self.trt.EngineCapability.STANDARD
        self.hardware_compatibility_level = self.trt.HardwareCompatibilityLevel.NONE
        self.name = "Unnamed Network 0"
        self.num_io_tensors, self.num_layers = len(self.tensors), len(self.layers)
        self.num_aux_streams = 0
        self.refittable = self.has_implicit_batch_dimension = False
        self.device_memory_size = self.device_memory_size_v2 = CONTEXT_BYTES
        self.streamable_weights_size = 0
        self.tactic_sources = 0

    @functools.cached_property
    def session(self) -> Any:
        """What does the arithmetic: ONNX Runtime, with quantised products computed as they are written."""
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        options.log_severity_level = 3
        return ort.InferenceSession(self.plan.graph, options, providers=["CPUExecutionProvider"])

    def names(self, mode: str | None = None) -> list[str]:
        return [name for name, facts in self.tensors.items() if mode in (None, facts["mode"])]

    def numpy_type(self, name: str) -> Any:
        return NUMPY[self.tensors[name]["dtype"]]

    def nbytes(self, name: str, shape: tuple[int, ...]) -> int:
        return math.prod(shape) * np.dtype(self.numpy_type(name)).itemsize

    def open_axes(self, inputs: dict[str, tuple[int, ...]]) -> dict[str, set[int]]:
        """Name of an open axis → the sizes that the inputs give it: one, or they contradict each other."""
        found: dict[str, set[int]] = {}
        for name, shape in inputs.items():
            for axis, size in zip(self.tensors[name]["axes"], shape, strict=True):
                if isinstance(axis, str):
                    found.setdefault(axis, set()).add(size)
        return found

    def output_shape(self, name: str, inputs: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
        """An axis that is open in the output has the size of the inputs' axis of that name, -1 where they differ."""
        given = {axis: sizes.pop() if len(sizes) == 1 else -1 for axis, sizes in self.open_axes(inputs).items()}
        return tuple(axis if isinstance(axis, int) else given.get(axis, -1) for axis in self.tensors[name]["axes"])

    def _facts(self, name: str) -> dict[str, Any]:
        if name not in self.tensors:
            self.log_error(f"ICudaEngine: Error Code 3: API Usage Error (no input or output tensor is named {name})")
            return {"mode": "NONE", "dtype": "FLOAT", "shape": []}
        return self.tensors[name]

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    __getitem__ = get_tensor_name

    def get_tensor_mode(self, name: str) -> Any:
        return getattr(self.trt.TensorIOMode, self._facts(name)["mode"])

    def get_tensor_dtype(self, name: str) -> Any:
        return getattr(self.trt.DataType, self._facts(name)["dtype"])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._facts(name)["shape"])

    def get_tensor_location(self, name: str) -> Any:
        return self.trt.TensorLocation.DEVICE

    def get_tensor_format(self, name: str, profile_index: int = 0) -> Any:
        return self.trt.TensorFormat.LINEAR

    def get_tensor_bytes_per_component(self, name: str, profile_index: int = 0) -> int:
        return int(np.dtype(self.numpy_type(name)).itemsize)

    def get_tensor_components_per_element(self, name: str, profile_index: int = 0) -> int:
        return 1

    def get_tensor_vectorized_dim(self, name: str, profile_index: int = 0) -> int:
        return -1

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        if not 0 <= profile_index < self.num_optimization_profiles or self._facts(name)["mode"] != "INPUT":
            self.log_error(f"ICudaEngine::getProfileShape: Error Code 3: no profile {profile_index} of input {name}")
            return []
        shapes = self.profiles[profile_index].get(name) if self.profiles else None
        return [tuple(sizes) for sizes in shapes] if shapes else [self.get_tensor_shape(name)] * 3

    def is_shape_inference_io(self, name: str) -> bool:
        return False

    def is_debug_tensor(self, name: str) -> bool:
        return False

    def get_device_memory_size_for_profile(self, profile_index: int) -> int:
        return CONTEXT_BYTES

    get_device_memory_size_for_profile_v2 = get_device_memory_size_for_profile

    def serialize(self) -> HostMemory:
        return HostMemory(self.trt, self._data)

    def create_engine_inspector(self) -> Inspector:
        return Inspector(self.trt, self)

    def create_execution_context(self, strategy: Any = None) -> Behaviour | None:
        from doubles.nvidia.running import Context

        try:
            return Context(self.trt, self)
        except (MemoryError, LookupError) as error:
            self.log_error(f"ICudaEngine::createExecutionContext: Error Code 1: Cuda Runtime ({error})")
            return None


class Inspector(Behaviour):
    stands_behind = "EngineInspector"

    def __init__(self, trt: ModuleType, engine: Engine) -> None:
        super().__init__(trt, engine.logger)
        self._engine = engine
        self.execution_context: Any = None

    def get_layer_information(self, layer_index: int, format: Any) -> str:  # noqa: A002 - the API's own name
        return self._written(self._layer(*self._engine.layers[layer_index]), format)

    def get_engine_information(self, format: Any) -> str:  # noqa: A002
        verbosity = self._engine.profiling_verbosity.name
        layers = [] if verbosity == "NONE" else [self._layer(*item) for item in self._engine.layers]
        return self._written({"Layers": layers, "Bindings": self._engine.names()}, format)

    def _layer(self, layer: dict[str, Any], profile: int) -> Any:
        if self._engine.profiling_verbosity.name != "DETAILED":
            return layer["name"] + (f" [profile {profile}]" if profile else "")
        modern = hasattr(self.trt.LayerType, "SQUEEZE")  # came with the newer formats
        return inspector_entry(layer, profile, modern, self._batch())

    def _batch(self) -> int | None:
        context = self.execution_context
        return next((shape[0] for shape in context.shapes.values()), None) if context is not None else None

    def _written(self, facts: Any, form: Any) -> str:
        text = json.dumps(facts, indent=2)
        return text if form.name == "JSON" else " ".join(text.split())
