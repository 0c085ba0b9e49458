"""Choosing a backend and opening a bundle's stage on it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from affectrt.bundle.errors import BundleError, UsageError

from .base import Engine, TensorSpec
from .onnxruntime_engine import OnnxRuntimeEngine

if TYPE_CHECKING:
    from affectrt.bundle.manifest import Asked
    from affectrt.bundle.store import Bundle

__all__ = ["open_engine", "open_engines"]


def open_engine(
    bundle: Bundle,
    stage: str,
    precision: Asked = "fp32",
    backend: str = "auto",
    threads: int | None = None,
) -> Engine:
    """Open the graph that the bundle's plan names for `stage` at `precision`.

    Raises UsageError for an unknown backend, BundleError when the graph's tensors are not what the contract says,
    EngineError when the backend refuses the graph.
    """
    if backend not in ("auto", "onnxruntime"):
        raise UsageError(f"backend {backend!r}", expected="auto or onnxruntime", fix="--backend auto")
    graph = bundle.graph_for(stage, precision, target="cpu")
    engine = OnnxRuntimeEngine(
        bundle.read(graph),
        threads=threads,
        provenance={
            "stage": stage,
            "precision": graph.precision,
            "graph": graph.file,
            "graph_sha256": graph.sha256,
            "bundle_sha256": bundle.fingerprint,
        },
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
    backend: str = "auto",
    threads: int | None = None,
) -> dict[str, Engine]:
    """Open every stage of a bundle; `stack` closes them."""
    return {
        stage: stack.enter_context(open_engine(bundle, stage, precision, backend, threads))
        for stage in bundle.contract.stages
    }


def _check_tensors(bundle: Bundle, stage: str, file: str, engine: Engine) -> None:
    """A manifest may lie; the graph is asked."""
    contract = bundle.contract
    output = contract.stage_output(stage)
    wanted_inputs = {t.name: TensorSpec(t.dtype, t.shape) for t in contract.stage_inputs(stage)}
    wanted_outputs = {output.name: TensorSpec(output.dtype, output.shape)}
    if dict(engine.inputs) == wanted_inputs and dict(engine.outputs) == wanted_outputs:
        return
    raise BundleError(
        f"graph {file} of stage {stage!r} has inputs {_told(engine.inputs)} and outputs {_told(engine.outputs)}",
        expected=f"inputs {_told(wanted_inputs)} and outputs {_told(wanted_outputs)}, as the manifest declares",
        fix="affectrt export the checkpoint again; this bundle's manifest and graphs do not belong together",
    )


def _told(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f"{name} {spec.dtype}{list(spec.shape)}" for name, spec in specs.items()) or "none"
