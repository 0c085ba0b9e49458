"""What a test may do to the simulated NVIDIA software, and ask of it: `from doubles.nvidia import faults`."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Any

__all__ = ["cuda", "reset", "tensorrt"]

ALWAYS = -1

# Names of CUdevice_attribute's values that tests change.
_ATTRIBUTES = {
    "integrated": 18,
    "can_map_host_memory": 19,
    "compute_capability_major": 75,
    "compute_capability_minor": 76,
}


@functools.cache
def libcuda() -> ctypes.CDLL:
    """The library that PyCUDA and cuda-bindings found too."""
    library = ctypes.CDLL("libcuda.so.1")
    pointer, size = ctypes.c_ulonglong, ctypes.c_size_t
    library.doubles_find_memory.argtypes = [pointer, size]
    library.doubles_tensorrt_allocate.argtypes = [ctypes.POINTER(pointer), size]
    library.doubles_tensorrt_free.argtypes = [pointer]
    library.doubles_spoil_capture.argtypes = [ctypes.c_void_p]
    library.cuStreamIsCapturing.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
    library.cuLaunchHostFunc.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    return library


class CudaFaults:
    """Of the driver."""

    def fail(self, function: str, code: int, skip: int = 0, times: int = 1) -> None:
        """`function`, a symbol such as cuMemAlloc_v2, returns `code` after `skip` calls, `times` times (-1: always).

        "tensorrt_allocation" stands for the memory that TensorRT takes for an engine or a context.
        """
        if function != "tensorrt_allocation" and not hasattr(libcuda(), function):
            raise ValueError(f"the simulated libcuda has no {function}")
        libcuda().doubles_fail(function.encode(), code, skip, times)

    def counters(self) -> dict[str, int]:
        """Since the last reset; `context_depth` is that of this thread's stack."""
        found: dict[str, int] = {}
        name, value = ctypes.c_char_p(), ctypes.c_long()
        while libcuda().doubles_counter(len(found), ctypes.byref(name), ctypes.byref(value)) == 0:
            found[(name.value or b"").decode()] = value.value
        return {**found, "context_depth": libcuda().doubles_context_depth()}

    def leaks(self) -> dict[str, int]:
        """By kind, what was made and not given back; negative where more was given back than made."""
        now = self.counters()
        pairs = {made: made.replace("_allocations", "_frees").replace("_created", "_destroyed") for made in now}
        pairs["contexts_retained"] = "contexts_released"
        left = {made: now[made] - now[gone] for made, gone in pairs.items() if gone != made}
        left["context_depth"] = now["context_depth"]
        return {kind: number for kind, number in left.items() if number}

    def set_attribute(self, name: str, value: int) -> None:
        libcuda().doubles_set_attribute(_ATTRIBUTES[name], value)


@dataclass
class _Fault:
    name: str
    skip: int
    times: int


class TensorrtFaults:
    """Of TensorRT."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self._faults: list[_Fault] = []
        self.calls: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = []
        self.misuses: list[str] = []
        self.builds: list[dict[str, Any]] = []
        self.layer_types: dict[str, str] = {}
        self.build_seconds = 0.0  # how long a build takes

    def fail(self, name: str, *, skip: int = 0, times: int = 1) -> None:
        """`Class.method` logs an error and returns False or None, as the real call does; a constructor raises."""
        if name not in self.known:
            raise ValueError(f"this TensorRT has no {name}")
        self._faults.append(_Fault(name, skip, times))

    def build_as(self, layer_types: dict[str, str]) -> None:
        """The inspector of engines built from now on says that these layers came out as "Float", "Half" or "Int8".

        A layer is named by any ONNX node in it.
        """
        self.layer_types = dict(layer_types)

    def strikes(self, name: str) -> bool:
        for fault in self._faults:
            if fault.name == name and fault.times:
                if fault.skip:
                    fault.skip -= 1
                else:
                    fault.times -= 1
                    return True
        return False

    def note(self, kind: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Objects are noted as text, so that the list keeps nothing alive."""
        self.calls.append((kind, name, tuple(map(_plain, args)), {key: _plain(value) for key, value in kwargs.items()}))

    def misuse(self, what: str) -> None:
        """What the real library would not notice, or would crash on: a test that saw one fails."""
        self.misuses.append(what)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str | tuple | list):
        return value
    return repr(value) if hasattr(value, "__members__") else f"<{type(value).__name__}>"


cuda = CudaFaults()
tensorrt = TensorrtFaults()


def reset() -> None:
    """No faults, attributes as at the start, every record empty, every counter at zero."""
    libcuda().doubles_reset()
    known = tensorrt.known
    tensorrt.__init__()  # type: ignore[misc]
    tensorrt.known = known
