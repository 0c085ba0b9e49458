"""What a benchmark run found: printed as tables for people, saved as JSON for comparison."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .machine import machine_slug
from .peak import Peak
from .pipeline import PipelineResult
from .stages import StageResult, Work

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["BenchResults", "print_results", "save_results"]

FORMAT = "affectrt-bench"
FORMAT_VERSION = 1


@dataclass
class BenchResults:
    """Filled while a run goes on. `machine` must be taken before the first measurement: it holds the load."""

    machine: Mapping[str, str]
    peak: Peak | None = None
    stages: list[StageResult] = field(default_factory=list)
    pipelines: list[PipelineResult] = field(default_factory=list)
    session_ms_per_step: dict[str, float] = field(default_factory=dict)
    bundles: dict[str, str] = field(default_factory=dict)  # model → fingerprint
    clock: str = "wall clock"

    def as_record(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "machine": dict(self.machine),
            "bundles": dict(self.bundles),
            "clock": self.clock,
            "peak": None if self.peak is None else self.peak.as_record(),
            "stages": [result.as_record() for result in self.stages],
            "session_ms_per_step": dict(self.session_ms_per_step),
            "pipelines": [result.as_record() for result in self.pipelines],
        }


def save_results(results: BenchResults, target: str | os.PathLike[str], *, today: datetime.date | None = None) -> Path:
    """Write JSON to the file `target`, or into the folder `target` as MACHINE-DATE.json; whole or not at all."""
    path = Path(target)
    if path.suffix != ".json":
        path = path / f"{machine_slug()}-{today or datetime.date.today():%Y-%m-%d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        text = json.dumps(results.as_record(), indent=1, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def print_results(results: BenchResults, console: Console, percentiles: Sequence[float] = (50, 90, 99)) -> None:
    """Machine, peak, stages, pipelines: one table each, of what there is. `int8→fp32`: what the bundle's plan makes."""
    facts = " · ".join(f"{name} {value}" for name, value in results.machine.items())
    console.print(facts, style="dim")
    if results.peak is not None:
        console.print(
            f"matrix peak measured here: FP32 {results.peak.fp32 / 1e9:.0f}, INT8 {results.peak.int8 / 1e9:.0f} GMAC/s"
        )
    if results.stages:
        _print_stages(results, console, percentiles)
    for model, stages in _by_model(results.stages).items():
        told = ", ".join(f"{name} {_gmac(stage.work)}({stage.row})" for name, stage in stages.items())
        console.print(f"a row of {model} is: {told}", soft_wrap=True)
    for model, cost in results.session_ms_per_step.items():
        console.print(f"session and alignment of {model} without engines: {cost:.3f} ms a step")
    if results.pipelines:
        _print_pipelines(results.pipelines, console)


def _print_stages(results: BenchResults, console: Console, percentiles: Sequence[float]) -> None:
    from rich.table import Table

    table = Table(title=f"each stage alone, {results.clock}", title_justify="left", box=None, pad_edge=False)
    for name in ("model", "stage", "precision"):
        table.add_column(name)
    compared = any(result.error is not None for result in results.stages)
    measured = ("batch", *(f"p{p:g} ms" for p in percentiles), "rows/s", "GMAC/s", "of peak", *["error"] * compared)
    for name in measured:
        table.add_column(name, justify="right")
    for result in results.stages:
        timing, speed, share = result.timing, result.macs_per_second, result.share_of_peak
        ran = result.precision if result.ran == result.precision else f"{result.precision}→{result.ran}"
        table.add_row(
            result.model,
            result.stage if result.length is None else f"{result.stage}, {result.length} pieces",
            ran,
            str(timing.rows),
            *(f"{1000 * timing.percentile(p):.2f}" for p in percentiles),
            f"{timing.rows_per_second:.{1 if timing.rows_per_second >= 10 else 2}f}",
            "–" if speed is None else f"{speed / 1e9:.1f}",
            "–" if share is None else f"{100 * share:.0f} %",
            *(["–" if result.error is None else f"{result.error:.2%}"] if compared else []),
        )
    console.print(table)


def _by_model(results: Sequence[StageResult]) -> dict[str, dict[str, StageResult]]:
    models: dict[str, dict[str, StageResult]] = {}
    for result in results:
        models.setdefault(result.model, {})[result.stage] = result
    return models


def _gmac(work: Work | None) -> str:
    return "" if work is None else f"{work.macs / 1e9:.3f} GMAC "


def _print_pipelines(pipelines: Sequence[PipelineResult], console: Console) -> None:
    from rich.table import Table

    table = Table(title="a whole file, median of repeats", title_justify="left", box=None, pad_edge=False)
    for name in ("model", "precision"):
        table.add_column(name)
    for name in ("batch", "hop", "engines s", "session s", "pipeline s", "over engines", "× real time"):
        table.add_column(name, justify="right")
    for result in pipelines:
        table.add_row(
            result.model,
            result.precision,
            str(result.batch),
            str(result.hop_steps),
            *(f"{sorted(s)[len(s) // 2]:.2f}" for s in (result.bare, result.session, result.pipeline)),
            f"{result.ratio:.3f}",
            f"{result.times_real_time(result.pipeline):.2f}",
        )
    console.print(table)
    for result in pipelines:
        whole = sum(result.parts.values())
        shares = ", ".join(f"{part} {100 * s / whole:.1f} %" for part, s in result.parts.items()) if whole else "–"
        console.print(f"  {result.model} {result.precision}: {shares}", style="dim")
