"""Memory and capture as the engine uses them, with a kernel too small to be at fault: pinned, mapped, replayed.

PyCUDA allocates and copies; what it lacks, CUDA graphs, comes from cuda-bindings on PyCUDA's stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from .figures import Check
from .kernel import Launch, checked, compile_kernel, expected
from .steps import Collector, Settings

__all__ = ["check_memory"]

COUNT = 1 << 16
REPLAYS = 20


def check_memory(
    found: Collector, settings: Settings, compiled: Callable[[str], tuple[Launch, str]] = compile_kernel
) -> None:
    """Every way on its own, each result compared with the host's, exactly. `compiled` gives the kernel."""
    from affectrt.runtime.engines.nvidia import import_cuda_driver, import_pycuda
    from affectrt.runtime.engines.primary_context import PrimaryContext

    drv, cuda = import_pycuda(), import_cuda_driver()
    device = drv.Device(0)
    context = PrimaryContext(drv, cuda, 0)
    with closing(context), context:
        found.facts["PyCUDA sees"] = f"{device.name()}, CUDA {drv.get_driver_version()}"
        major, minor = device.compute_capability()
        launch, compiler = compiled(f"{major}.{minor}")
        found.add(Check(name="a kernel compiles", passed=True, seen=compiler))
        for name, way in (
            ("pinned memory, copies", _copied),
            ("pageable memory, copies", _pageable),
            ("mapped memory, no copies", _mapped),
            ("captured on PyCUDA's stream, replayed", _captured),
            ("event times", _timed),
        ):
            try:
                found.add(Check(name=name, passed=True, seen=way(drv, cuda, launch)))
            except Exception as error:  # one way that does not work must not hide the others
                seen = " ".join(f"{type(error).__name__}: {error}".split())
                found.add(Check(name=name, passed=False, seen=seen))


class _WrongError(Exception):
    """The device's numbers are not the host's."""


def _copied(drv: Any, cuda: Any, launch: Launch) -> str:
    stream, x, y = drv.Stream(), drv.pagelocked_empty(COUNT, np.float32), drv.pagelocked_empty(COUNT, np.float32)
    with _device(drv, x.nbytes) as source, _device(drv, x.nbytes) as target:
        x[:] = np.arange(COUNT) % 1024
        drv.memcpy_htod_async(source, x, stream)
        launch(stream, int(source), int(target), COUNT)
        drv.memcpy_dtoh_async(y, target, stream)
        stream.synchronize()
        return _same(y, expected(x))


def _pageable(drv: Any, cuda: Any, launch: Launch) -> str:
    stream, x = drv.Stream(), np.arange(COUNT, dtype=np.float32) % 512
    y = np.empty_like(x)
    with _device(drv, x.nbytes) as source, _device(drv, x.nbytes) as target:
        drv.memcpy_htod(source, x)
        launch(stream, int(source), int(target), COUNT)
        stream.synchronize()
        drv.memcpy_dtoh(y, target)
        return _same(y, expected(x))


def _mapped(drv: Any, cuda: Any, launch: Launch) -> str:
    flags = drv.host_alloc_flags.DEVICEMAP
    stream, x = drv.Stream(), drv.pagelocked_empty(COUNT, np.float32, mem_flags=flags)
    y = drv.pagelocked_empty(COUNT, np.float32, mem_flags=flags)
    x[:], y[:] = np.arange(COUNT) % 2048, -1
    launch(stream, int(x.base.get_device_pointer()), int(y.base.get_device_pointer()), COUNT)
    stream.synchronize()
    return _same(y, expected(x))


def _captured(drv: Any, cuda: Any, launch: Launch) -> str:
    stream, x, y = drv.Stream(), drv.pagelocked_empty(COUNT, np.float32), drv.pagelocked_empty(COUNT, np.float32)
    with _device(drv, x.nbytes) as source, _device(drv, x.nbytes) as target:

        def once() -> None:
            drv.memcpy_htod_async(source, x, stream)
            launch(stream, int(source), int(target), COUNT)
            drv.memcpy_dtoh_async(y, target, stream)

        x[:] = 0
        once()  # not captured: a first launch may still load code
        stream.synchronize()
        queue = cuda.CUstream(stream.handle)
        mode = cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        checked(cuda.cuStreamBeginCapture(queue, mode), "cuStreamBeginCapture")
        try:
            once()
        finally:
            graph = checked(cuda.cuStreamEndCapture(queue), "cuStreamEndCapture")
        executable = checked(cuda.cuGraphInstantiate(graph, 0), "cuGraphInstantiate")
        try:
            checked(cuda.cuGraphUpload(executable, queue), "cuGraphUpload")
            stream.synchronize()
            for replay in range(REPLAYS):
                x[:], y[:] = np.arange(COUNT) % 256 + replay, -1
                checked(cuda.cuGraphLaunch(executable, queue), "cuGraphLaunch")
                stream.synchronize()
                _same(y, expected(x))
        finally:
            cuda.cuGraphExecDestroy(executable)
            cuda.cuGraphDestroy(graph)
        return f"{REPLAYS} replays, each with other numbers"


def _timed(drv: Any, cuda: Any, launch: Launch) -> str:
    stream, begin, end = drv.Stream(), drv.Event(), drv.Event()
    with _device(drv, 4 * COUNT) as source, _device(drv, 4 * COUNT) as target:
        launch(stream, int(source), int(target), COUNT)
        begin.record(stream)
        for _ in range(REPLAYS):
            launch(stream, int(source), int(target), COUNT)
        end.record(stream)
        end.synchronize()
        taken = float(begin.time_till(end))
    if not taken >= 0:
        raise _WrongError(f"{REPLAYS} launches took {taken} ms")
    return f"{1000 * taken / REPLAYS:.1f} µs a launch of {COUNT} numbers"


@contextmanager
def _device(drv: Any, size: int) -> Iterator[Any]:
    memory = drv.mem_alloc(size)
    try:
        yield memory
    finally:
        memory.free()


def _same(found: Any, wanted: Any) -> str:
    wrong = int(np.count_nonzero(found != wanted))
    if wrong:
        raise _WrongError(f"{wrong} of {len(wanted)} numbers differ, the first at {int(np.argmax(found != wanted))}")
    return f"{len(wanted)} numbers, all equal to the host's"
