"""The execution context: its order of calls, checked, and the arithmetic, done by ONNX Runtime when the stream runs."""

from __future__ import annotations

import ctypes
import itertools
import threading
import weakref
from types import ModuleType
from typing import Any

import numpy as np
from doubles.nvidia.behaviour import Behaviour
from doubles.nvidia.engine import CONTEXT_BYTES, DeviceMemory, Engine
from doubles.nvidia.faults import libcuda
from doubles.nvidia.faults import tensorrt as injected

__all__ = ["Context"]

ALIGNMENT = 256
Bound = dict[str, tuple[int, tuple[int, ...]]]  # by tensor: address and shape


class _Launch:
    """One set of addresses and shapes, as a stream or a graph will use it."""

    def __init__(self, context: Context, bound: Bound) -> None:
        self.context = weakref.ref(context)
        self.bound = bound

    def run(self) -> None:
        context = self.context()
        if context is None:
            injected.misuse("work ran after its execution context was destroyed")
            return
        context.finished()
        engine = context.engine
        for name, (address, shape) in self.bound.items():
            if not libcuda().doubles_find_memory(address, engine.nbytes(name, shape)):
                injected.misuse(f"work ran after the memory of {name} was freed")
                return
        feeds = {name: self._view(engine, name).copy() for name in engine.names("INPUT")}
        outputs = engine.names("OUTPUT")
        for name, value in zip(outputs, engine.session.run(outputs, feeds), strict=True):
            self._view(engine, name)[...] = value

    def _view(self, engine: Engine, name: str) -> Any:
        address, shape = self.bound[name]
        kind = np.dtype(engine.numpy_type(name))
        memory = (ctypes.c_char * engine.nbytes(name, shape)).from_address(address)
        return np.frombuffer(memory, dtype=kind).reshape(shape)


_launches: dict[int, _Launch] = {}
_numbers = itertools.count(1)


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _run_launch(number: int) -> None:
    try:
        _launches[number].run()
    except Exception as error:
        injected.misuse(f"the arithmetic failed: {error!r}")


class Context(Behaviour):
    stands_behind = "IExecutionContext"

    def __init__(self, trt: ModuleType, engine: Engine) -> None:
        super().__init__(trt, engine.logger)
        self._memory = DeviceMemory(CONTEXT_BYTES, "IExecutionContext")
        self.engine = engine
        self.name = ""
        self.active_optimization_profile = 0
        self.nvtx_verbosity = engine.profiling_verbosity
        self.enqueue_emits_profile = True
        self.profiler: Any = None
        self.persistent_cache_limit = 0
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._initialised = False  # for these shapes and this profile
        self._in_flight: list[int] = []  # the threads whose work is pending
        self._known: dict[Any, int] = {}
        self._forget_shapes()

    def __del__(self) -> None:
        for number in getattr(self, "_known", {}).values():
            _launches[number].bound = {}
        if getattr(self, "_in_flight", None):
            injected.misuse("an IExecutionContext was destroyed while its work was pending")

    def _error(self, where: str, what: str) -> bool:
        self.log_error(f"IExecutionContext::{where}: Error Code 3: API Usage Error ({what})")
        return False

    def _forget_shapes(self) -> None:
        static = {n: tuple(self.engine.tensors[n]["shape"]) for n in self.engine.names("INPUT")}
        self.shapes = {name: shape for name, shape in static.items() if -1 not in shape}
        self._initialised = False

    # --- profile, shapes, addresses

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        where = "setOptimizationProfileAsync"
        if not 0 <= profile_index < self.engine.num_optimization_profiles:
            return self._error(where, f"there is no profile {profile_index}")
        if self._capturing(where, stream_handle) is not False:
            return self._error(where, "the stream is not usable, or is capturing")
        self.active_optimization_profile = profile_index
        self._forget_shapes()
        return True

    def set_input_shape(self, name: str, shape: Any) -> bool:
        where = "setInputShape"
        wanted = tuple(shape)
        if name not in self.engine.names("INPUT"):
            return self._error(where, f"{name} is no input")
        low, _, high = self.engine.get_tensor_profile_shape(name, self.active_optimization_profile)
        if len(wanted) != len(low) or any(not a <= b <= c for a, b, c in zip(low, wanted, high, strict=True)):
            return self._error(where, f"{wanted} of {name} is outside [{low}, {high}] of the profile")
        if self.shapes.get(name) != wanted:
            self.shapes[name] = wanted
            self._initialised = False
        return True

    def infer_shapes(self) -> list[str]:
        return [name for name in self.engine.names("INPUT") if name not in self.shapes]

    all_binding_shapes_specified = property(lambda self: not self.infer_shapes())

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self.shapes:
            return self.shapes[name]
        if name in self.engine.names("OUTPUT") and not self.infer_shapes():
            return self.engine.output_shape(name, self.shapes)
        return self.engine.get_tensor_shape(name)

    def get_max_output_size(self, name: str) -> int:
        shape = self.get_tensor_shape(name)
        return -1 if -1 in shape else self.engine.nbytes(name, shape)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        where = "setTensorAddress"
        if name not in self.engine.tensors:
            return self._error(where, f"{name} is no input or output tensor")
        if memory % ALIGNMENT:
            return self._error(where, f"the address of {name} is not a multiple of {ALIGNMENT}")
        if memory and not libcuda().doubles_find_memory(memory, 1):
            injected.misuse(f"the address given for {name} is not in memory that the device can reach")
            return self._error(where, f"the address of {name} is no device memory")
        self._addresses[name] = memory
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def set_aux_streams(self, aux_streams: list[int]) -> None:
        return None

    # --- running

    def execute_async_v3(self, stream_handle: int) -> bool:
        where = "enqueueV3"
        capturing = self._capturing(where, stream_handle)
        if capturing is None:
            return False
        if stream_handle in (0, 1):
            self.log("WARNING", "Using default stream in enqueueV3() may lead to performance issues.")
        if unfit := self._unfit_shapes():
            return self._error(where, unfit)
        bound: Bound = {}
        for name in self.engine.names():
            bound[name] = (self._addresses.get(name, 0), self.get_tensor_shape(name))
            address, shape = bound[name]
            if not address:
                return self._error(where, f"neither address nor allocator is set for tensor {name}")
            if not libcuda().doubles_find_memory(address, self.engine.nbytes(name, shape)):
                injected.misuse(f"the memory bound to {name} is freed, or too small for {shape}")
                return self._error(where, f"illegal memory of {name}")
        if capturing and not self._initialised:
            libcuda().doubles_spoil_capture(stream_handle)
            return self._error(where, "the first enqueue after a change of shape or profile cannot be captured")
        self._initialised = True
        return self._launch(where, stream_handle, bound, capturing)

    def _unfit_shapes(self) -> str | None:
        if missing := self.infer_shapes():
            return f"the shapes of {', '.join(missing)} are not set"
        given = self.engine.open_axes(self.shapes).items()
        return next((f"the dimension named {axis} is {sorted(sizes)}" for axis, sizes in given if len(sizes) > 1), None)

    def _capturing(self, where: str, stream_handle: int) -> bool | None:
        """Whether the stream captures; None, with an error logged, where it or the CUDA context is not usable."""
        status = ctypes.c_int()
        code = libcuda().cuStreamIsCapturing(stream_handle, ctypes.byref(status))
        if code:
            self.log_error(f"IExecutionContext::{where}: Error Code 1: Cuda Runtime (CUDA error {code})")
            return None
        return status.value != 0

    def _launch(self, where: str, stream_handle: int, bound: Bound, capturing: bool) -> bool:
        here = threading.get_ident()
        if any(thread != here for thread in self._in_flight):
            injected.misuse("one execution context was used from two threads at once")
        key = tuple(sorted(bound.items()))
        if key not in self._known:
            self._known[key] = next(_numbers)
            _launches[self._known[key]] = _Launch(self, bound)
        if not capturing:
            self._in_flight.append(here)
        function = ctypes.cast(_run_launch, ctypes.c_void_p)
        code = libcuda().cuLaunchHostFunc(stream_handle, function, self._known[key])
        if code:
            self.finished()
            self.log_error(f"IExecutionContext::{where}: Error Code 1: Cuda Runtime (CUDA error {code})")
        return not code

    def finished(self) -> None:
        """Called when work ran; that of a graph was never noted as pending."""
        if self._in_flight:
            self._in_flight.pop(0)
