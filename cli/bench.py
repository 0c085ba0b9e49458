"""`affectrt bench [X.affect]`: latency and throughput of a bundle's stages, and of the whole pipeline on a file."""

from __future__ import annotations

import sys
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from affectrt.bundle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from affectrt.bundle import Asked, Bundle

__all__ = ["bench"]


def bench(
    bundle: Annotated[
        Path | None,
        typer.Argument(
            help="A bundle directory, NAME.affect. Without one: the whole suite on the demos' and the papers' size.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32, int8, auto, …, or all that the bundle has.")] = "all",
    iterations: Annotated[int, typer.Option(min=1, help="Calls to time, at least.")] = 50,
    duration: Annotated[float, typer.Option(min=0, help="Seconds to time, at least.")] = 1.0,
    warmup: Annotated[int, typer.Option(min=0, help="Milliseconds of calls before timing.")] = 200,
    percentile: Annotated[str, typer.Option(help="Percentiles of latency, separated by commas.")] = "50,90,99",
    batch: Annotated[
        str | None,
        typer.Option(
            help="Batch sizes, separated by commas.", show_default="1,8, of large inputs what a run makes of 8"
        ),
    ] = None,
    source: Annotated[Path | None, typer.Option(help="A media file: time the whole pipeline on it too.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of the whole pipeline.")] = 3,
    backend: Annotated[str, typer.Option(help="auto, tensorrt, onnxruntime or onnxruntime-cuda.")] = "auto",
    cuda_graph: Annotated[
        bool, typer.Option("--cuda-graph/--no-cuda-graph", help="TensorRT: replay captured work.")
    ] = True,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: the cores this process may use.")] = None,
    peak: Annotated[
        bool, typer.Option(help="Measure the machine's matrix peak and hold each stage to it; needs onnx.")
    ] = True,
    cpu_time: Annotated[
        bool,
        typer.Option(
            "--cpu-time",
            help="Count the processor time of one thread instead of the wall clock: on a machine that others use too.",
        ),
    ] = False,
    text: Annotated[
        bool,
        typer.Option("--text", help="Instead: a text encoder as large as BERT-base, at every length."),
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write the results to this file, or into this folder.")] = None,
    cache: Annotated[Path, typer.Option(help="Where the suite keeps the bundles that it makes.")] = Path("build/bench"),
) -> None:
    """Latency and throughput on this machine.

    Each stage is timed alone; with --source the whole pipeline is timed against the bare engines, in turn. Without a
    bundle the pytest-benchmark suites run on bundles of the demos' and the papers' size, made for the purpose.
    """
    percentiles = _numbers(percentile, "--percentile", 0, 100)
    batches = None if batch is None else [int(size) for size in _numbers(batch, "--batch", 1, 4096)]
    if cpu_time and (source is not None or (bundle is None and not text) or threads not in (None, 1)):
        raise UsageError(
            "--cpu-time counts one thread's time",
            expected="a bundle or --text, without --source, with at most one thread",
        )
    threads, clock = (1, time.thread_time) if cpu_time else (threads, time.perf_counter)
    if text:
        if bundle is not None or source is not None:
            raise UsageError("--text makes its own bundle", expected="no bundle and no --source")
        from .bench_text import bench_text

        bench_text(
            cache,
            batches=batches or (1,),
            threads=threads,
            iterations=iterations,
            duration_s=duration,
            with_peak=peak,
            percentiles=percentiles,
            clock=clock,
            clock_name=_clock_name(cpu_time=cpu_time),
            json=json,
        )
        return
    if bundle is None:
        raise typer.Exit(_run_suite(cache, repeats, threads, json))

    from rich.console import Console

    from affectrt.benchmarks.machine import machine_facts
    from affectrt.benchmarks.peak import measure_peak
    from affectrt.benchmarks.pipeline import compare_pipeline
    from affectrt.benchmarks.results import BenchResults, print_results, save_results
    from affectrt.benchmarks.stages import BATCHES, batches_of, lengths_of, row_of, time_stage
    from affectrt.bundle import open_bundle
    from affectrt.runtime.engines import choose_backend

    results = BenchResults(machine_facts(), clock=_clock_name(cpu_time=cpu_time))
    opened = open_bundle(bundle)
    precisions = _precisions(opened, precision)
    if source is not None and not source.is_file():
        raise UsageError(
            f"there is no file {source}", expected="a media file", fix="affectrt bench BUNDLE --source FILE"
        )
    choices = {asked: choose_backend(opened, asked, backend) for asked in precisions}
    for why in sorted({choice.why for choice in choices.values() if choice.notable}):
        print(f"affectrt: {why}", file=sys.stderr)
    results.bundles[opened.manifest.name] = opened.fingerprint
    messages = Console(stderr=True)
    with messages.status("measuring the machine's matrix peak") as status:
        if peak:
            results.peak = measure_peak(threads=threads, clock=clock)
        for asked in precisions:
            for stage in opened.contract.stages:
                for size, length in product(
                    batches or batches_of(opened.contract, stage), lengths_of(opened.contract, stage)
                ):
                    status.update(f"{row_of(opened.contract, stage, length)} {asked}, batch {size}")
                    results.stages.append(
                        time_stage(
                            opened,
                            stage,
                            asked,
                            size,
                            length=length,
                            backend=choices[asked],
                            cuda_graph=cuda_graph,
                            threads=threads,
                            iterations=iterations,
                            duration_s=duration,
                            warmup_s=warmup / 1000,
                            peak=results.peak,
                            clock=clock,
                        )
                    )
        for asked in precisions if source is not None else ():
            status.update(f"whole pipeline {asked}")
            results.pipelines.append(
                compare_pipeline(
                    opened,
                    str(source),
                    asked,
                    batch=max(batches or BATCHES),
                    repeats=repeats,
                    backend=choices[asked],
                    cuda_graph=cuda_graph,
                    threads=threads,
                )
            )
    # A pipe has no width; a table must not be cut to fit one.
    print_results(results, Console() if sys.stdout.isatty() else Console(width=120), percentiles)
    if json is not None:
        typer.echo(f"saved {save_results(results, json)}")


def _clock_name(*, cpu_time: bool) -> str:
    return "processor time of one thread" if cpu_time else "wall clock"


def _run_suite(cache: Path, repeats: int, threads: int | None, json: Path | None) -> int:
    """The pytest-benchmark suites on freshly made or cached bundles; returns pytest's exit code."""
    import pytest

    import affectrt.benchmarks

    from .bench_bundles import prepare_bundles

    made = prepare_bundles(cache)
    arguments = [
        *affectrt.benchmarks.__path__,
        "--import-mode=importlib",
        "--override-ini=addopts=",
        "-q",
        "-p",
        "no:cacheprovider",
        "--benchmark-quiet",
        "--benchmark-disable-gc",
        "--benchmark-warmup=on",
        "--benchmark-warmup-iterations=3",
        "--benchmark-min-rounds=20",
        "--benchmark-max-time=1.5",
        f"--media={made.media}",
        f"--repeats={repeats}",
        *(f"--bundle={name}={path}" for name, path in made.bundles.items()),
    ]
    if threads is not None:
        arguments.append(f"--engine-threads={threads}")
    if json is not None:
        arguments.append(f"--results={json}")
    return int(pytest.main(arguments))


def _precisions(bundle: Bundle, asked: str) -> Sequence[Asked]:
    if asked == "all":
        return bundle.precisions()
    bundle.plan(asked)  # an unknown one is told with what there is
    return [cast("Asked", asked)]


def _numbers(text: str, option: str, low: float, high: float) -> list[float]:
    try:
        values = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        values = []
    if not values or not all(low <= value <= high for value in values):
        raise UsageError(f"{option} {text!r}", expected=f"numbers from {low:g} to {high:g}, separated by commas")
    return values
