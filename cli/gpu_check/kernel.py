"""The smallest kernel, y = 2 x + 1, compiled on this machine: by NVRTC through cuda-bindings, else by nvcc."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from affectrt.bundle.errors import EngineError

__all__ = ["Launch", "checked", "compile_kernel", "expected"]

SOURCE = """
extern "C" __global__ void scale(const float *x, float *y, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) y[i] = 2.0f * x[i] + 1.0f;
}
"""
THREADS = 256

Launch = Callable[[Any, int, int, int], None]
"""Enqueue on a stream of PyCUDA: from one device address to another, so many float32."""


def expected(x: Any) -> Any:
    """What the kernel makes of an array; exact for small integers."""
    return 2 * x + 1


def checked(result: Any, what: str) -> Any:
    """The value of a call of cuda-bindings; EngineError with the name of its status when that is not success."""
    status, *values = result
    if int(status) != 0:
        raise EngineError(f"{what} failed: {getattr(status, 'name', status)}")
    return values[0] if len(values) == 1 else values


def compile_kernel(capability: str) -> tuple[Launch, str]:
    """A launcher and the compiler's name; the context must be current. EngineError when neither compiler works."""
    try:
        return _with_nvrtc(capability), "NVRTC"
    except Exception as first:  # the library or the architecture may be missing in more ways than are documented
        try:
            return _with_nvcc(), "nvcc"
        except Exception as second:
            raise EngineError(
                f"no compiler makes a kernel: NVRTC: {_words(first)}; nvcc: {_words(second)}",
                expected="libnvrtc or nvcc of the CUDA toolkit",
            ) from second


def _with_nvrtc(capability: str) -> Launch:
    from cuda.bindings import driver, nvrtc

    program = checked(nvrtc.nvrtcCreateProgram(SOURCE.encode(), b"scale.cu", 0, [], []), "nvrtcCreateProgram")
    try:
        options = [f"--gpu-architecture=sm_{capability.replace('.', '')}".encode()]
        checked(nvrtc.nvrtcCompileProgram(program, len(options), options), "nvrtcCompileProgram")
        binary = b"\0" * checked(nvrtc.nvrtcGetCUBINSize(program), "nvrtcGetCUBINSize")
        checked(nvrtc.nvrtcGetCUBIN(program, binary), "nvrtcGetCUBIN")
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    module = checked(driver.cuModuleLoadData(binary), "cuModuleLoadData")
    function = checked(driver.cuModuleGetFunction(module, b"scale"), "cuModuleGetFunction")

    def launch(stream: Any, source: int, target: int, count: int) -> None:
        values = (ctypes.c_void_p(source), ctypes.c_void_p(target), ctypes.c_int(count))
        pointers = (ctypes.c_void_p * 3)(*(ctypes.addressof(value) for value in values))
        blocks = -(-count // THREADS)
        address = ctypes.addressof(pointers)
        queue = driver.CUstream(stream.handle)
        checked(driver.cuLaunchKernel(function, blocks, 1, 1, THREADS, 1, 1, 0, queue, address, 0), "cuLaunchKernel")

    return launch


def _with_nvcc() -> Launch:
    import numpy as np
    from pycuda.compiler import SourceModule

    function: Any = SourceModule(SOURCE, no_extern_c=True).get_function("scale")

    def launch(stream: Any, source: int, target: int, count: int) -> None:
        grid = (-(-count // THREADS), 1)
        function(np.uintp(source), np.uintp(target), np.int32(count), stream=stream, block=(THREADS, 1, 1), grid=grid)

    return launch


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
