"""The CUDA context that an engine shares with every other library in the process."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from affectrt.bundle.errors import EngineError

from .nvidia import cuda_value

__all__ = ["PrimaryContext"]


class PrimaryContext:
    """Retained until `close`, and current inside each `with` block. For one thread, that which makes it.

    The primary context, not one of its own: TensorRT, torch and ONNX Runtime use that one, and memory of another
    context would be foreign to them.
    """

    def __init__(self, pycuda: Any, cuda: Any, ordinal: int) -> None:
        self._pycuda = pycuda
        self._cuda = cuda
        try:
            self._context = pycuda.Device(ordinal).retain_primary_context()
        except pycuda.Error as error:
            raise EngineError(f"no CUDA context on GPU {ordinal}: {error}", fix="affectrt doctor") from error

    def __enter__(self) -> PrimaryContext:
        try:
            self._context.push()
        except self._pycuda.Error as error:
            raise EngineError(f"the CUDA context cannot be used any more: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pycuda.Context.pop()

    def close(self) -> None:
        """Release it. What still lives in it is lost when nobody else holds it."""
        if self._context is None:
            return
        # PyCUDA makes a context current before it detaches it and trusts that detaching takes it off again; CUDA does
        # that for other contexts, never for primary ones. What is current is counted off, and put back afterwards.
        handle = self._context.handle
        below = self._take_off(handle)
        self._context.detach()
        self._context = None
        self._take_off(handle)
        for _ in range(below):
            cuda_value(self._cuda, self._cuda.cuCtxPushCurrent(self._cuda.CUcontext(handle)), "restoring a context")

    def _take_off(self, handle: int) -> int:
        """Pop this context as long as it is the current one; how often that was."""
        count = 0
        while int(cuda_value(self._cuda, self._cuda.cuCtxGetCurrent(), "asking for the context")) == handle:
            cuda_value(self._cuda, self._cuda.cuCtxPopCurrent(), "leaving the context")
            count += 1
        return count
