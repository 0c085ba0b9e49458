"""Which backend runs a bundle on this machine, and why: decided once for all stages, in one sentence."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from affectrt.bundle.errors import AffectError, UsageError

from .engine_cache import EngineCache
from .gpu import Gpu, find_gpu
from .nvidia import Platform, import_pycuda, import_tensorrt, read_platform
from .onnxruntime_engine import CUDA, OnnxRuntimeEngine, offers_cuda

if TYPE_CHECKING:
    from affectrt.bundle.manifest import Asked, Graph, Target
    from affectrt.bundle.store import Bundle

    from .engine_record import EngineRecord

__all__ = ["BACKENDS", "Choice", "choose_backend", "rebuild_line", "target_of"]

Backend = Literal["tensorrt", "onnxruntime", "onnxruntime-cuda"]
BACKENDS: tuple[str, ...] = ("auto", *get_args(Backend))


@dataclass(frozen=True)
class Choice:
    """A backend and the sentence that says why it.

    `notable`: a person should read that sentence unasked, since there is a GPU or should be one. `gpu` and `engines`,
    the records by stage, are TensorRT's.
    """

    backend: Backend
    why: str
    notable: bool = False
    gpu: Gpu | None = None
    engines: Mapping[str, EngineRecord] = field(default_factory=dict)


def choose_backend(
    bundle: Bundle,
    precision: Asked,
    backend: str = "auto",
    *,
    cache: EngineCache | None = None,
    stages: Sequence[str] | None = None,
) -> Choice:
    """`auto` is TensorRT where it, a GPU and engines for all stages are there, else ONNX Runtime, on CUDA if it can.

    Raises UsageError for an unknown backend; what stands against a backend that was asked for by name: EngineError,
    MissingDependency or BundleError. `stages`: those that will be opened, all unless said.
    """
    if backend not in BACKENDS:
        raise UsageError(f"backend {backend!r}", expected=" or ".join(BACKENDS), fix="--backend auto")
    if backend == "tensorrt":
        return _tensorrt(bundle, precision, cache, stages or bundle.contract.stages, "as asked")
    if backend == "onnxruntime-cuda":
        return Choice("onnxruntime-cuda", "ONNX Runtime on CUDA, as asked", notable=True)
    if backend == "onnxruntime":
        return Choice("onnxruntime", "ONNX Runtime on the processor, as asked")
    return _best(bundle, precision, cache)


def target_of(backend: Backend) -> Target:
    """Whose graphs a backend takes.

    ONNX Runtime's CUDA kernels take TensorRT's: quantised symmetrically, computed as written, float16 as such. Those
    for processors count on integer kernels that saturate, which CUDA does not have.
    """
    return "cpu" if backend == "onnxruntime" else "tensorrt"


def rebuild_line(bundle: Bundle, precision: Asked) -> str:
    """The command that builds a bundle's engines on this machine."""
    return f"affectrt build {shlex.quote(str(bundle.path))} --precision {precision}"


def _best(bundle: Bundle, precision: Asked, cache: EngineCache | None) -> Choice:
    try:
        return _tensorrt(bundle, precision, cache, bundle.contract.stages, "with engines built on this machine")
    except AffectError as error:
        against = error
    if not _has_gpu(read_platform()):
        return Choice("onnxruntime", "ONNX Runtime on the processor: this machine has no NVIDIA GPU")
    reason = f"TensorRT cannot run this: {_sentence(against)}"
    if offers_cuda():
        try:
            _try_cuda(bundle, precision)
        except AffectError as error:
            reason += f"; {_sentence(error)}"
        else:
            return Choice("onnxruntime-cuda", f"ONNX Runtime on CUDA; {reason}", notable=True)
    return Choice("onnxruntime", f"ONNX Runtime on the processor although there is a GPU; {reason}", notable=True)


def _tensorrt(bundle: Bundle, precision: Asked, cache: EngineCache | None, stages: Sequence[str], why: str) -> Choice:
    gpu = find_gpu()
    trt = import_tensorrt()
    import_pycuda()
    graphs: dict[str, Graph] = {stage: bundle.graph_for(stage, precision, "tensorrt") for stage in stages}
    cache = cache or EngineCache()
    found = {
        stage: cache.find(
            graph.sha256,
            tensorrt=str(trt.__version__),
            gpu=gpu,
            lengths=bundle.contract.lengths(stage),
            rebuild=rebuild_line(bundle, precision),
        )
        for stage, graph in graphs.items()
    }
    sentence = f"TensorRT {trt.__version__} on {gpu.name}, {why}"
    return Choice("tensorrt", sentence, notable=True, gpu=gpu, engines=found)


def _has_gpu(where: Platform) -> bool:
    """Whether the kernel knows of an NVIDIA device, or CUDA finds one."""
    if where.nvidia:
        return True
    try:
        find_gpu()
    except AffectError:
        return False
    return True


def _try_cuda(bundle: Bundle, precision: Asked) -> None:
    """Open the smallest graph on CUDA: whether ONNX Runtime can load CUDA's libraries shows only when it must."""
    graphs = [bundle.graph_for(stage, precision, target_of("onnxruntime-cuda")) for stage in bundle.contract.stages]
    smallest = min(graphs, key=lambda graph: graph.size_bytes)
    OnnxRuntimeEngine(bundle.read(smallest), threads=1, provenance={}, provider=CUDA).close()


def _sentence(error: AffectError) -> str:
    """What was found and what mends it, on one line."""
    found = error.found.strip().splitlines()[0].rstrip(":")
    return f"{found} ({error.fix})" if error.fix else found
