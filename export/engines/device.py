"""The CUDA context in which an engine is loaded to be looked into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from affectrt.runtime.engines.nvidia import cuda_value, import_cuda_driver

if TYPE_CHECKING:
    from affectrt.runtime.engines.gpu import Gpu

__all__ = ["primary_context"]


@contextmanager
def primary_context(gpu: Gpu) -> Iterator[None]:
    """The context that CUDA's libraries share, current in this thread. Through cuda-bindings: building needs no PyCUDA.

    What was loaded in the block must be gone at its end. Raises EngineError.
    """
    cuda = import_cuda_driver()
    cuda_value(cuda, cuda.cuInit(0), "starting CUDA")
    device = cuda_value(cuda, cuda.cuDeviceGet(gpu.ordinal), f"asking for GPU {gpu.ordinal}")
    context = cuda_value(cuda, cuda.cuDevicePrimaryCtxRetain(device), "taking the primary context")
    try:
        cuda_value(cuda, cuda.cuCtxPushCurrent(context), "making the primary context current")
        try:
            yield
        finally:
            cuda.cuCtxPopCurrent()
    finally:
        cuda.cuDevicePrimaryCtxRelease(device)
