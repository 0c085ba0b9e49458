"""`affectrt bench --text`: a text encoder of BERT-base's size at every length, FP32, FP16 and INT8 side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import typer

__all__ = ["bench_text"]


def bench_text(
    cache: Path,
    *,
    batches: Sequence[int],
    threads: int | None,
    iterations: int,
    duration_s: float,
    with_peak: bool,
    percentiles: Sequence[float],
    clock: Callable[[], float],
    clock_name: str,
    json: Path | None,
) -> None:
    """Makes the bundle under `cache` the first time, which takes minutes and 6 GB of memory."""
    from rich.console import Console

    from affectrt.benchmarks.machine import machine_facts
    from affectrt.benchmarks.peak import measure_peak
    from affectrt.benchmarks.results import BenchResults, print_results, save_results
    from affectrt.benchmarks.text import speed_ups, time_sentences
    from affectrt.bundle import open_bundle

    from .bench_bundles import TEXT_PRECISIONS, prepare_text_bundle

    messages = Console(stderr=True)
    with messages.status("making a bundle of BERT-base's size") as status:
        bundle = open_bundle(prepare_text_bundle(cache))
        results = BenchResults(machine_facts(), clock=clock_name)
        results.bundles[bundle.manifest.name] = bundle.fingerprint
        if with_peak:
            status.update("measuring the machine's matrix peak")
            results.peak = measure_peak(threads=threads, clock=clock)
        for batch in batches:
            results.stages += time_sentences(
                bundle,
                "text",
                TEXT_PRECISIONS,
                batch=batch,
                threads=threads,
                iterations=iterations,
                duration_s=duration_s,
                peak=results.peak,
                clock=clock,
                progress=status.update,
            )
    print_results(results, Console(width=130), percentiles)
    for line in speed_ups(results.stages):
        typer.echo(line)
    if json is not None:
        typer.echo(f"saved {save_results(results, json)}")
