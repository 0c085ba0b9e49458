"""Opening a bundle's stages on the backend that was chosen for them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from affectrt.bundle.errors import BundleError

from .backend_choice import Choice, choose_backend, rebuild_line, target_of
from .base import Engine, TensorSpec
from .engine_cache import EngineCache
from .onnxruntime_engine import CPU, CUDA, OnnxRuntimeEngine
from .tensorrt_engine import TensorrtEngine

if TYPE_CHECKING:
    from affectrt.bundle.manifest import Asked, Graph
    from affectrt.bundle.store import Bundle

__all__ = ["open_engine", "open_engines"]


def open_engine(
    bundle: Bundle,
    stage: str,
    precision: Asked = "fp32",
    backend: str | Choice = "auto",
    threads: int | None = None,
    *,
    cuda_graph: bool = True,
    cache: EngineCache | None = None,
) -> Engine:
    """Open the graph that the bundle's plan names for `stage` at `precision`.

    `backend`: auto, tensorrt, onnxruntime or onnxruntime-cuda, or what `choose_backend` gave; the engine's provenance
    says why it was chosen. `threads` are ONNX Runtime's, `cuda_graph` is TensorRT's, whose engines lie in `cache`.

    Raises UsageError for an unknown backend, BundleError when the graph's tensors are not what the contract says,
    MissingDependency and EngineError when a backend asked for is not there or refuses the graph.
    """
    choice = _choice(bundle, precision, backend, cache, (stage,))
    graph = bundle.graph_for(stage, precision, target_of(choice.backend))
    provenance = {
        "stage": stage,
        "precision": graph.precision,
        "graph": graph.file,
        "graph_sha256": graph.sha256,
        "bundle_sha256": bundle.fingerprint,
        "chosen": choice.why,
    }
    engine: Engine
    if choice.backend == "tensorrt":
        engine = _open_tensorrt(bundle, graph, precision, choice, provenance, cuda_graph, cache)
    else:
        cuda = choice.backend == "onnxruntime-cuda"
        engine = OnnxRuntimeEngine(
            bundle.read(graph),
            threads=threads,
            provenance=provenance,
            integer_kernels=not cuda,
            provider=CUDA if cuda else CPU,
        )
    try:
        _check_tensors(bundle, stage, graph.file, engine)
    except BaseException:
        engine.close()
        raise
    return engine


def open_engines(
    bundle: Bundle,
    precision: Asked,
    stack: ExitStack,
    backend: str | Choice = "auto",
    threads: int | None = None,
    *,
    cuda_graph: bool = True,
    cache: EngineCache | None = None,
) -> dict[str, Engine]:
    """Open every stage of a bundle on one backend; `stack` closes them."""
    stages = bundle.contract.stages
    choice = _choice(bundle, precision, backend, cache, stages)
    return {
        stage: stack.enter_context(
            open_engine(bundle, stage, precision, choice, threads, cuda_graph=cuda_graph, cache=cache)
        )
        for stage in stages
    }


def _choice(
    bundle: Bundle, precision: Asked, backend: str | Choice, cache: EngineCache | None, stages: tuple[str, ...]
) -> Choice:
    if isinstance(backend, Choice):
        return backend
    return choose_backend(bundle, precision, backend, cache=cache, stages=stages)


def _open_tensorrt(
    bundle: Bundle,
    graph: Graph,
    precision: Asked,
    choice: Choice,
    provenance: Mapping[str, str],
    cuda_graph: bool,
    cache: EngineCache | None,
) -> TensorrtEngine:
    record = choice.engines[graph.stage]
    plan = (cache or EngineCache()).read(record, rebuild=rebuild_line(bundle, precision))
    facts = {**provenance, "precision": record.precision, "engine_sha256": record.engine_sha256}
    if record.precision != record.asked:
        facts["fallback"] = f"{record.precision} rather than {record.asked}: {'; '.join(record.fallbacks)}"
    return TensorrtEngine(
        plan,
        batches=record.key.batches,
        lengths=record.key.lengths,
        provenance=facts,
        cuda_graph=cuda_graph,
        dla_core=record.key.options.dla_core,
        gpu=choice.gpu,
    )


def _check_tensors(bundle: Bundle, stage: str, file: str, engine: Engine) -> None:
    """A manifest may lie; the graph is asked."""
    contract = bundle.contract
    lengths = contract.lengths(stage)
    open_axis = -1 if lengths else None
    output = contract.stage_output(stage)
    wanted_inputs = {t.name: TensorSpec(t.dtype, t.shape).sized(open_axis) for t in contract.stage_inputs(stage)}
    wanted_outputs = {output.name: TensorSpec(output.dtype, output.shape).sized(open_axis)}
    if dict(engine.inputs) == wanted_inputs and dict(engine.outputs) == wanted_outputs:
        return
    several = f"; -1 is an open axis, for lengths {', '.join(map(str, lengths))}" if lengths else ""
    wanted = f"inputs {_told(wanted_inputs)} and outputs {_told(wanted_outputs)}"
    raise BundleError(
        f"graph {file} of stage {stage!r} has inputs {_told(engine.inputs)} and outputs {_told(engine.outputs)}",
        expected=f"{wanted}, as the manifest declares{several}",
        fix="affectrt export the checkpoint again; this bundle's manifest and graphs do not belong together",
    )


def _told(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f"{name} {spec.dtype}{list(spec.shape)}" for name, spec in specs.items()) or "none"
