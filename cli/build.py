"""`affectrt build`: make every graph of a bundle executable on this machine, and say how long that takes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from affectrt.bundle import Asked, Bundle

__all__ = ["build"]


def build(
    bundle: Annotated[Path, typer.Argument(help="A bundle directory, NAME.affect.", show_default=False)],
    precision: Annotated[str, typer.Option(help="fp32, what `calibrate` added, or auto.")] = "fp32",
    backend: Annotated[str, typer.Option(help="auto or onnxruntime.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="Default: the cores this process may use.")] = None,
    warmup: Annotated[int, typer.Option(min=1, help="Runs of each graph before the timed one.")] = 3,
) -> None:
    """Make every graph of a bundle executable on this machine.

    ONNX Runtime compiles when a graph is loaded and keeps nothing, so there is nothing to build ahead: this opens
    and warms up what `run` would use, and shows what was taken and what it costs.
    """
    from affectrt.bundle import EngineError, open_bundle

    if backend == "tensorrt":
        raise EngineError(
            "TensorRT engines are not built by this version",
            expected="backend auto or onnxruntime",
            fix=f"affectrt build {bundle} --backend onnxruntime",
        )
    opened = open_bundle(bundle)
    opened.plan(precision)  # an unknown precision is told before any graph is loaded
    for stage in opened.contract.stages:
        _build_stage(opened, stage, cast("Asked", precision), backend, threads, warmup)
    typer.echo("ONNX Runtime compiles at load time: nothing was cached, and the next start pays the load time again.")


def _build_stage(bundle: Bundle, stage: str, precision: Asked, backend: str, threads: int | None, warmup: int) -> None:
    import numpy as np

    from affectrt.runtime.engines import open_engine

    feeds = {t.name: np.zeros((1, *t.shape), t.dtype) for t in bundle.contract.stage_inputs(stage)}
    begun = time.perf_counter()
    with open_engine(bundle, stage, precision, backend, threads) as engine:
        load_s = time.perf_counter() - begun
        for _ in range(warmup):
            engine.infer(feeds)
        begun = time.perf_counter()
        engine.infer(feeds)
        run_ms = 1000 * (time.perf_counter() - begun)
        taken = engine.provenance
    typer.echo(
        f"{stage:<8} {taken['precision']:<5} {taken['graph']:<24} loaded in {load_s:.2f} s, one row {run_ms:.2f} ms"
        f"   ({taken['backend']} {taken['backend_version']}, {taken.get('threads', '?')} threads)"
    )
