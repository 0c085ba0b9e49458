"""How fast bytes move: between host and device, and within the device. By CUDA events, best of several rounds."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

from .figures import Copy
from .kernel import checked
from .steps import Collector, Settings

__all__ = ["measure_copies"]

ROUNDS, REPEATS = 5, 8

Kind = Literal["host to device, pinned", "host to device, pageable", "device to host, pinned", "device to device"]


def measure_copies(found: Collector, settings: Settings) -> None:
    """Through cuda-bindings alone, in the primary context."""
    from affectrt.runtime.engines.nvidia import import_cuda_driver

    cuda, size = import_cuda_driver(), settings.copy_bytes
    with ExitStack() as stack:
        stack.enter_context(_context(cuda))
        flags = cuda.CUstream_flags.CU_STREAM_NON_BLOCKING
        stream = checked(cuda.cuStreamCreate(int(flags)), "cuStreamCreate")
        stack.callback(cuda.cuStreamDestroy, stream)
        devices = [checked(cuda.cuMemAlloc(size), "cuMemAlloc") for _ in range(2)]
        for device in devices:
            stack.callback(cuda.cuMemFree, device)
        pinned = checked(cuda.cuMemHostAlloc(size, 0), "cuMemHostAlloc")
        stack.callback(cuda.cuMemFreeHost, pinned)
        # Touched, so that no page is made while it is timed.
        pageable = ctypes.create_string_buffer(size)
        there, elsewhere = devices
        for kind, copy in _copies(cuda, there, elsewhere, pinned, ctypes.addressof(pageable), size, stream):
            seconds = _best(cuda, stream, copy)
            found.add(Copy(kind=kind, size_bytes=size, gbyte_per_s=size / seconds / 1e9))


def _copies(
    cuda: Any, there: Any, elsewhere: Any, pinned: Any, pageable: int, size: int, stream: Any
) -> Iterator[tuple[Kind, Callable[[], Any]]]:
    yield "host to device, pinned", lambda: cuda.cuMemcpyHtoDAsync(there, pinned, size, stream)
    yield "host to device, pageable", lambda: cuda.cuMemcpyHtoDAsync(there, pageable, size, stream)
    yield "device to host, pinned", lambda: cuda.cuMemcpyDtoHAsync(pinned, there, size, stream)
    yield "device to device", lambda: cuda.cuMemcpyDtoDAsync(elsewhere, there, size, stream)


def _best(cuda: Any, stream: Any, copy: Callable[[], Any]) -> float:
    """Seconds of one copy in the fastest round."""
    with _event(cuda) as begin, _event(cuda) as end:
        taken = []
        for _ in range(ROUNDS + 1):  # the first warms up
            checked(cuda.cuEventRecord(begin, stream), "cuEventRecord")
            for _ in range(REPEATS):
                checked(copy(), "an asynchronous copy")
            checked(cuda.cuEventRecord(end, stream), "cuEventRecord")
            checked(cuda.cuEventSynchronize(end), "cuEventSynchronize")
            taken.append(checked(cuda.cuEventElapsedTime(begin, end), "cuEventElapsedTime") / 1000 / REPEATS)
    return float(max(min(taken[1:]), 1e-9))


@contextmanager
def _event(cuda: Any) -> Iterator[Any]:
    event = checked(cuda.cuEventCreate(int(cuda.CUevent_flags.CU_EVENT_DEFAULT)), "cuEventCreate")
    try:
        yield event
    finally:
        cuda.cuEventDestroy(event)


@contextmanager
def _context(cuda: Any) -> Iterator[None]:
    checked(cuda.cuInit(0), "cuInit")
    device = checked(cuda.cuDeviceGet(0), "cuDeviceGet")
    context = checked(cuda.cuDevicePrimaryCtxRetain(device), "cuDevicePrimaryCtxRetain")
    try:
        checked(cuda.cuCtxPushCurrent(context), "cuCtxPushCurrent")
        try:
            yield
        finally:
            cuda.cuCtxPopCurrent()
    finally:
        cuda.cuDevicePrimaryCtxRelease(device)
