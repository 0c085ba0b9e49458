"""One size of a TensorRT engine, ready to run: execution context, memory, and a captured graph."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from affectrt.bundle.errors import EngineError

from .base import Array
from .cuda_graph import CudaGraph
from .device_buffers import DeviceBuffers
from .tensorrt_log import tensorrt_log
from .tensorrt_tensors import EngineTensors, ProfileSize

if TYPE_CHECKING:
    import tensorrt as trt

__all__ = ["Profile", "Stream"]

_LOG = logging.getLogger(__name__)


class Stream:
    """A stream as PyCUDA's object, and the modules that put work on it."""

    def __init__(self, pycuda: Any, cuda: Any) -> None:
        self.pycuda = pycuda
        self.cuda = cuda
        # One that waits for nobody: on the default stream TensorRT would synchronise more than it needs.
        self.queue: Any = pycuda.Stream(int(cuda.CUstream_flags.CU_STREAM_NON_BLOCKING))

    @property
    def handle(self) -> int:
        return int(self.queue.handle)

    def wait(self) -> None:
        self.queue.synchronize()

    def drain(self) -> None:
        """Wait for what a failure left behind, so that nothing runs any more; that it failed is known already."""
        with suppress(self.pycuda.Error):
            self.wait()

    def close(self) -> None:
        self.queue = None


class Profile:
    """A static size of an engine. Fill `host` with inputs, `run`, and find the outputs in `host`.

    Shapes and addresses are set once, the first enqueue is real, and what follows it is captured. After an error
    nothing of that is trusted: the next `run` sets and captures all of it anew. The CUDA context must be current.
    """

    def __init__(
        self,
        engine: trt.ICudaEngine,
        tensors: EngineTensors,
        size: ProfileSize,
        stream: Stream,
        *,
        mapped: bool,
        cuda_graph: bool,
    ) -> None:
        self._number = tensors.profiles[size]
        self._size = size
        self._inputs, self._outputs = tensors.inputs_at(size.length), tensors.outputs_at(size.length)
        self._stream = stream
        self._wants_graph = cuda_graph
        self._graph: CudaGraph | None = None
        self._ready = False
        self.capture_failure: str | None = None
        mark = tensorrt_log().mark()
        self._context: trt.IExecutionContext | None = engine.create_execution_context()
        if self._context is None:
            doing = f"making an execution context for {size.in_words()}"
            raise refused(doing, mark, "affectrt build with smaller batches")
        try:
            self._quieten()
            self._buffers = DeviceBuffers(stream.pycuda, self._inputs, self._outputs, rows=size.batch, mapped=mapped)
        except BaseException:
            self._context = None
            raise
        self.host = self._buffers.host
        # Rows of padding stay zeros: how many rows hold inputs of earlier calls.
        self._dirty_rows = 0
        try:
            self.prepare()
        except BaseException:
            self.close()
            raise

    def fill(self, feeds: Mapping[str, Array], start: int, stop: int) -> None:
        """Copy rows `start` … `stop` of each feed into the inputs; the rows after them become zeros."""
        rows = stop - start
        for name, feed in feeds.items():
            self.host[name][:rows] = feed[start:stop]
            if rows < self._dirty_rows:
                self.host[name][rows : self._dirty_rows] = 0
        self._dirty_rows = rows

    def run(self) -> None:
        """Compute; when it returns, the outputs in `host` are those of the inputs in `host`."""
        if not self._ready:
            self.prepare()
        try:
            if self._graph is not None:
                self._graph.launch()
            else:
                self._enqueue()
            self._stream.wait()
        except BaseException:
            self._ready = False
            self._stream.drain()
            raise

    def time_runs(self, count: int, *, transfers: bool = True) -> list[float]:
        """Seconds that the GPU takes for each of `count` runs on what `host` holds, by events.

        Without `transfers` only what TensorRT computes, captured for the purpose if this profile is captured.
        """
        if not self._ready:
            self.prepare()
        work = self._enqueue if transfers else self._compute
        graph = CudaGraph(self._stream.cuda, self._stream.handle, work) if self._graph is not None else None
        launch = work if graph is None else graph.launch
        begin, end = self._stream.pycuda.Event(), self._stream.pycuda.Event()
        seconds: list[float] = []
        try:
            for _ in range(count):
                begin.record(self._stream.queue)
                launch()
                end.record(self._stream.queue)
                end.synchronize()
                seconds.append(end.time_since(begin) / 1000)
        except BaseException:
            self._ready = False
            raise
        finally:
            if graph is not None:
                graph.close()
        return seconds

    def prepare(self) -> None:
        """Set profile, shapes and addresses, compute once, and capture. Anew: after an error or a change of these."""
        self._ready = False
        self._drop_graph()
        self._bind()
        # Not captured: what TensorRT initialises on the first enqueue must not become part of every replay.
        self._enqueue()
        self._stream.wait()
        if self._wants_graph:
            self._capture()
        self._ready = True

    def close(self) -> None:
        """Graph, execution context, memory, in this order, when nothing runs any more."""
        self._stream.drain()
        try:
            self._drop_graph()
        finally:
            self._context = None
            self._buffers.close()

    @property
    def _execution(self) -> trt.IExecutionContext:
        if self._context is None:
            raise EngineError("this engine is closed", expected="an open engine")
        return self._context

    def _bind(self) -> None:
        # No local name for the context: an exception would keep it, and it must go before the engine.
        mark, batch = tensorrt_log().mark(), self._size.batch
        if not self._execution.set_optimization_profile_async(self._number, self._stream.handle):
            raise refused(f"choosing optimisation profile {self._number}", mark)
        self._stream.wait()
        for name, spec in self._inputs.items():
            if not self._execution.set_input_shape(name, (batch, *spec.shape)):
                raise refused(f"setting the shape of input {name!r}", mark)
        if unknown := self._execution.infer_shapes():
            raise refused(f"finding the shapes (unknown: {', '.join(map(str, unknown))})", mark)
        for name, spec in self._outputs.items():
            found, wanted = tuple(self._execution.get_tensor_shape(name)), (batch, *spec.shape)
            if found != wanted:
                raise EngineError(f"output {name!r} has shape {list(found)}", expected=f"{list(wanted)}")
        for name, address in self._buffers.addresses.items():
            if not self._execution.set_tensor_address(name, address):
                raise refused(f"setting the address of {name!r}", mark)

    def _enqueue(self) -> None:
        self._buffers.copy_in(self._stream.queue)
        self._compute()
        self._buffers.copy_out(self._stream.queue)

    def _compute(self) -> None:
        mark = tensorrt_log().mark()
        if not self._execution.execute_async_v3(self._stream.handle):
            raise refused("running an engine", mark)

    def _capture(self) -> None:
        """Where it fails the engine goes on without a graph, slower by a few calls, and says so once."""
        try:
            self._graph = CudaGraph(self._stream.cuda, self._stream.handle, self._enqueue)
        except (EngineError, self._stream.pycuda.Error) as error:
            first = self.capture_failure is None
            self.capture_failure = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if first:
                _LOG.warning("%s runs without a CUDA graph: %s", self._size.in_words(), self.capture_failure)
            self._stream.wait()
        else:
            self.capture_failure = None

    def _drop_graph(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.close()

    def _quieten(self) -> None:
        """Engines tell profilers about their layers; that costs time in every enqueue."""
        import tensorrt as trt

        if hasattr(self._execution, "nvtx_verbosity"):
            self._execution.nvtx_verbosity = trt.ProfilingVerbosity.NONE


def refused(doing: str, mark: int, fix: str | None = None) -> EngineError:
    """TensorRT only says no; why is in its log."""
    why = tensorrt_log().since(mark)
    return EngineError(f"TensorRT failed at {doing}: {why or 'it logged no reason'}", fix=fix)
