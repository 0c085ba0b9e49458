"""A graph on TensorRT, with PyCUDA's memory and streams and CUDA graphs: the road to NVIDIA's GPUs."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from affectrt.bundle.errors import EngineError

from .base import Array, TensorSpec
from .gpu import Gpu, find_gpu
from .nvidia import import_cuda_driver, import_pycuda, import_tensorrt
from .padding import parts_of
from .primary_context import PrimaryContext
from .tensorrt_log import tensorrt_log
from .tensorrt_profile import Profile, Stream, refused
from .tensorrt_tensors import ProfileSize, read_tensors

if TYPE_CHECKING:
    import tensorrt as trt

__all__ = ["Memory", "TensorrtEngine"]

Memory = Literal["auto", "mapped", "copied"]


class TensorrtEngine:
    """Runs one serialised engine (`plan`) of static `batches`, one optimisation profile each, or one for each length.

    `plan` is executable code: it must come from `EngineCache.read`, which believes no file before it is checked.
    Any number of rows is computed: in the smallest batch that holds them, with rows of padding, or in several calls of
    the largest. `memory` "auto" maps the processor's memory on an integrated GPU and copies on others. The engine
    belongs to the thread that opens it.

    Raises MissingDependency where a library is not installed, EngineError where the GPU or TensorRT refuses, where the
    plan is not what `batches` say, and from `infer` for wrong inputs, a wrong thread or a failed computation.
    """

    def __init__(
        self,
        plan: bytes,
        *,
        batches: Sequence[int],
        lengths: Sequence[int] = (),
        provenance: Mapping[str, str],
        cuda_graph: bool = True,
        memory: Memory = "auto",
        dla_core: int | None = None,
        gpu: Gpu | None = None,
    ) -> None:
        version = str(import_tensorrt().__version__)
        self._gpu = gpu or find_gpu()
        self._pycuda = import_pycuda()
        self._thread = get_ident()
        self._cuda_graph = cuda_graph
        self._mapped = memory == "mapped" or (memory == "auto" and self._gpu.integrated)
        self._facts = {
            "backend": "tensorrt",
            "backend_version": version,
            "device": f"{self._gpu.name}, compute capability {self._gpu.compute_capability}",
            "driver": self._gpu.driver,
            "memory": "mapped" if self._mapped else "copied",
            **provenance,
        }
        self._runtime: trt.Runtime | None = None
        self._engine: trt.ICudaEngine | None = None
        self._profiles: dict[ProfileSize, Profile] = {}
        cuda = import_cuda_driver()
        stack = ExitStack()
        try:
            self._context = PrimaryContext(self._pycuda, cuda, self._gpu.ordinal)
            stack.callback(self._context.close)
            stack.callback(self._release)
            with self._context:
                self._open(cuda, plan, batches, lengths, dla_core)
        except BaseException as error:
            with suppress(EngineError):  # what failed first is what matters
                stack.close()
            if isinstance(error, self._pycuda.Error):
                raise self._failed("opening an engine", error) from error
            raise
        self._closing: ExitStack | None = stack

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        return self._tensors.inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        return self._tensors.outputs

    @property
    def provenance(self) -> Mapping[str, str]:
        failures = [profile.capture_failure for profile in self._profiles.values() if profile.capture_failure]
        state = "off" if not self._cuda_graph else f"failed: {failures[0]}" if failures else "captured"
        return {**self._facts, "cuda_graph": state}

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        self._check_usable()
        length = self._length_of(feeds)
        rows = self._rows_of(feeds, length)
        results: dict[str, Array] = {
            name: np.empty((rows, *spec.shape), spec.dtype) for name, spec in self._tensors.outputs_at(length).items()
        }
        with self._context:
            try:
                for start, stop, batch in parts_of(rows, self._batches):
                    profile = self._profiles[ProfileSize(batch, length)]
                    profile.fill(feeds, start, stop)
                    profile.run()
                    for name, result in results.items():
                        result[start:stop] = profile.host[name][: stop - start]
            except self._pycuda.Error as error:
                raise self._failed("running an engine", error) from error
        return results

    def time_runs(self, batch: int, count: int, *, length: int | None = None, transfers: bool = True) -> list[float]:
        """Seconds of the GPU, by events, for each of `count` runs of one of the engine's batch sizes and lengths.

        They compute what was last given in that size. Without `transfers` the way of inputs and outputs is left out,
        which mapped memory does not have.
        """
        self._check_usable()
        with self._context:
            try:
                return self._profiles[ProfileSize(batch, length)].time_runs(count, transfers=transfers)
            except self._pycuda.Error as error:
                raise self._failed("timing an engine", error) from error

    def close(self) -> None:
        """Free everything, last made first. EngineError from another thread than the one that opened it."""
        stack = self._closing
        if stack is None:
            return
        self._check_thread()
        self._closing = None
        stack.close()

    def __enter__(self) -> TensorrtEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except EngineError:
            if error is None:  # after a failure that could not be freed either, the first is what matters
                raise

    def _open(
        self, cuda: Any, plan: bytes, batches: Sequence[int], lengths: Sequence[int], dla_core: int | None
    ) -> None:
        try:
            self._stream = Stream(self._pycuda, cuda)
            self._load(plan, batches, lengths, dla_core)
        except BaseException as error:
            # The locals of failed calls would keep TensorRT's objects alive beyond the context to free them in.
            _clear_frames(error)
            raise

    def _load(self, plan: bytes, batches: Sequence[int], lengths: Sequence[int], dla_core: int | None) -> None:
        import tensorrt as trt

        log = tensorrt_log()
        mark = log.mark()
        try:
            self._runtime = trt.Runtime(log.logger)
        except TypeError:  # how the bindings put it that TensorRT gave them none
            raise refused("starting", mark, "affectrt doctor") from None
        if dla_core is not None:
            if not 0 <= dla_core < self._runtime.num_DLA_cores:
                raise EngineError(
                    f"there is no DLA core {dla_core}", expected=f"one of {self._runtime.num_DLA_cores}, from 0"
                )
            self._runtime.DLA_core = dla_core
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise refused("reading an engine", mark, "affectrt build the bundle again on this machine")
        self._tensors = read_tensors(self._engine, batches, lengths)
        self._batches, self._lengths = sorted(set(batches)), sorted(set(lengths))
        for size in self._tensors.profiles:
            self._profiles[size] = Profile(
                self._engine,
                self._tensors,
                size,
                self._stream,
                mapped=self._mapped,
                cuda_graph=self._cuda_graph,
            )

    def _release(self) -> None:
        """Profiles, engine, runtime, stream: references are dropped one by one, while the context is current."""
        with self._context, ExitStack() as stack:
            stack.callback(self._drop_stream)
            stack.callback(self._drop_engine)
            while self._profiles:
                stack.callback(self._profiles.pop(next(iter(self._profiles))).close)

    def _drop_engine(self) -> None:
        self._engine = None
        self._runtime = None

    def _drop_stream(self) -> None:
        stream = getattr(self, "_stream", None)
        if stream is not None:
            stream.close()

    def _check_usable(self) -> None:
        if self._closing is None:
            raise EngineError("this engine is closed", expected="an open engine")
        self._check_thread()

    def _check_thread(self) -> None:
        if get_ident() != self._thread:
            raise EngineError(
                "this engine belongs to another thread", expected="the thread that opened it; each needs its own engine"
            )

    def _length_of(self, feeds: Mapping[str, Array]) -> int | None:
        """The length of a call, by its first input; None where the stage has but one."""
        name = next(iter(self.inputs))
        feed = feeds.get(name)
        if not self._lengths or not isinstance(feed, np.ndarray) or feed.ndim < 2:
            return self._lengths[-1] if self._lengths else None
        if feed.shape[1] not in self._lengths:
            raise EngineError(
                f"input {name!r} of length {feed.shape[1]}",
                expected=f"a length that this engine was built for: {', '.join(map(str, self._lengths))}",
            )
        return int(feed.shape[1])

    def _rows_of(self, feeds: Mapping[str, Array], length: int | None) -> int:
        if feeds.keys() != self.inputs.keys():
            raise EngineError(
                f"inputs {', '.join(sorted(feeds)) or 'none'}", expected=f"inputs {', '.join(sorted(self.inputs))}"
            )
        counts = set()
        for name, spec in self._tensors.inputs_at(length).items():
            feed = feeds[name]
            if not isinstance(feed, np.ndarray) or feed.dtype.name != spec.dtype or feed.shape[1:] != spec.shape:
                found = f"{feed.dtype} {list(feed.shape)}" if isinstance(feed, np.ndarray) else type(feed).__name__
                wanted = ", ".join(("rows", *map(str, spec.shape)))
                raise EngineError(f"input {name!r} is {found}", expected=f"{spec.dtype} [{wanted}]")
            counts.add(feed.shape[0])
        if len(counts) != 1 or min(counts) < 1:
            raise EngineError(f"inputs of {sorted(counts)} rows", expected="one number of rows, at least 1")
        return int(counts.pop())

    def _failed(self, doing: str, error: Exception) -> EngineError:
        return EngineError(f"CUDA failed at {doing} on {self._gpu.name}: {error}")


def _clear_frames(error: BaseException) -> None:
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
