"""`affectrt build`: make every graph of a bundle executable on this machine, and say how long that takes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from affectrt.bundle import Asked, Bundle
    from affectrt.runtime.engines import Choice

__all__ = ["build"]


def build(
    bundle: Annotated[Path, typer.Argument(help="A bundle directory, NAME.affect.", show_default=False)],
    precision: Annotated[str, typer.Option(help="fp32, what `calibrate` added, or auto.")] = "fp32",
    backend: Annotated[
        str,
        typer.Option(
            help="tensorrt, onnxruntime, onnxruntime-cuda, or auto: TensorRT where it and a GPU are there, else ONNX "
            "Runtime."
        ),
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="ONNX Runtime.", show_default="the cores this process may use")
    ] = None,
    warmup: Annotated[int, typer.Option(min=1, help="ONNX Runtime: runs of each graph before the timed one.")] = 3,
    batch: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            max=4096,
            help="TensorRT: rows of the encoders' calls; may be repeated. Large inputs come in smaller batches.",
            show_default="1 and 8",
        ),
    ] = None,
    workspace_mib: Annotated[
        int, typer.Option(min=1, max=1 << 20, help="TensorRT: memory a layer may work in.")
    ] = 1024,
    optimization_level: Annotated[
        int, typer.Option(min=0, max=5, help="TensorRT: how hard it searches; 4 and 5 take long.")
    ] = 3,
    tf32: Annotated[bool, typer.Option("--tf32", help="TensorRT: FP32 products with 10 bits of mantissa.")] = False,
    timing_cache: Annotated[
        Path | None,
        typer.Option(help="TensorRT: file of measurements.", show_default="one per device and version in the cache"),
    ] = None,
    max_aux_streams: Annotated[
        int, typer.Option(min=0, max=64, help="TensorRT: streams beside the one of a call.")
    ] = 0,
    dla: Annotated[
        int | None,
        typer.Option(min=0, max=15, help="TensorRT, experimental: DLA core, with the GPU for what it cannot do."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="TensorRT: fail where a precision cannot be built.")] = False,
    cache_dir: Annotated[
        Path | None,
        typer.Option(help="TensorRT: where engines are kept.", show_default="$AFFECTRT_CACHE_DIR or ~/.cache/affectrt"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="TensorRT: build what is there already, too.")] = False,
) -> None:
    """Make every graph of a bundle executable on this machine.

    TensorRT builds an engine per graph, for minutes, and keeps it for `run`. What cannot be built in its precision
    falls back to the bundle's graph of the next lower one, and the table says so.

    ONNX Runtime compiles when a graph is loaded and keeps nothing, so there is nothing to build ahead: this opens
    and warms up what `run` would use, and shows what was taken and what it costs.
    """
    from affectrt.bundle import UsageError, open_bundle
    from affectrt.runtime.engines import BACKENDS, choose_backend, target_of

    from .build_engines import build_engines, tensorrt_is_missing

    if backend not in BACKENDS:
        raise UsageError(f"backend {backend!r}", expected=" or ".join(BACKENDS), fix="--backend auto")
    opened = open_bundle(bundle)
    asked = cast("Asked", precision)
    missing = tensorrt_is_missing() if backend in ("auto", "tensorrt") else None
    if missing is not None and backend == "tensorrt":
        raise missing
    if backend == "tensorrt" or (backend == "auto" and missing is None):
        from affectrt.runtime.engines.engine_record import BuildOptions

        options = BuildOptions(
            optimization_level=optimization_level,
            workspace_bytes=workspace_mib << 20,
            tf32=tf32,
            max_aux_streams=max_aux_streams,
            dla_core=dla,
        )
        opened.plan(asked, "tensorrt")  # an unknown precision is told before anything is built
        build_engines(opened, asked, batch or (1, 8), options, cache_dir, timing_cache, strict=strict, force=force)
        return
    choice = choose_backend(opened, asked, "onnxruntime" if backend == "auto" else backend)
    opened.plan(asked, target_of(choice.backend))
    if missing is not None:
        typer.echo(f"No TensorRT engines, ONNX Runtime instead: {' '.join(missing.found.split())}", err=True)
    for stage in opened.contract.stages:
        _build_stage(opened, stage, asked, choice, threads, warmup)
    typer.echo("ONNX Runtime compiles at load time: nothing was cached, and the next start pays the load time again.")


def _build_stage(
    bundle: Bundle, stage: str, precision: Asked, choice: Choice, threads: int | None, warmup: int
) -> None:
    import numpy as np

    from affectrt.runtime.engines import open_engine

    # Of a stage with several lengths the longest, which costs most.
    feeds = {t.name: np.zeros((1, *t.shape), t.dtype) for t in bundle.contract.stage_inputs(stage)}
    begun = time.perf_counter()
    with open_engine(bundle, stage, precision, choice, threads) as engine:
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
