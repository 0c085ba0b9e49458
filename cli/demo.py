"""`affectrt demo`: the whole chain on generated media, then a report page.

The order of the work is the order of the functions: draw, export, calibrate, build, run, report.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affectrt.bundle.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from affectrt.benchmarks.demo_result import DemoResult
    from affectrt.bundle import Bundle, Precision
    from affectrt.runtime.run import RunReport
    from affectrt.training.synthetic import Clip

__all__ = ["demo"]

PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")

# Corpora for training number their people from 0, a few dozen of them: nobody from these numbers was ever in one.
SHOWN_PERSON = 1_000_000
CALIBRATION_PERSON = 2_000_000
CALIBRATION_CLIPS = 3
CALIBRATION_SECONDS = 10.0
PARITY_ROWS = 24
RUNS = 3
# What a folder must hold before --overwrite may replace it.
MARK = "summary.json"


class System(str, Enum):
    """Those that have weights of the demo's size."""

    rcma = "rcma"
    cav = "cav"


def demo(
    out: Annotated[Path, typer.Option(help="Where the report and everything behind it goes.")] = Path("demo-out"),
    seconds: Annotated[float, typer.Option(min=4, max=600, help="Length of the clip.")] = 24.0,
    seed: Annotated[int, typer.Option(min=0, help="Draws the person, the voice and the path of affect.")] = 7,
    system: Annotated[
        System | None, typer.Option(help="Whose weights, of those that are part of affectrt.", show_default="rcma")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Another checkpoint.", show_default="the system's, of the demo's size")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the engines.", show_default="all cores")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier demo left in --out.")] = False,
) -> None:
    """The whole chain on generated media, then a report page.

    Draws a person that the model never saw, exports the demo's checkpoint to ONNX, quantises it to INT8 on other
    drawn people, runs the clip through GStreamer in both precisions, and compares the estimates with the truth that
    the generator knows. Drawn faces and synthetic voices say nothing about people.
    """
    from rich.console import Console

    if checkpoint is not None and system is not None:
        raise UsageError("both --system and --checkpoint", expected="one of them: a checkpoint names its system")
    weights = _checkpoint_path(system or System.rcma) if checkpoint is None else checkpoint
    _check_out(out, overwrite=overwrite)
    console = Console(stderr=True, highlight=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.with_name(f".{out.name}.{os.getpid()}")
    folder.mkdir()
    try:
        result = _run_chain(_Plan(folder, weights, seconds, seed, threads), console)
        _replace(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _print_result(result, out)


@dataclass(frozen=True)
class _Plan:
    folder: Path
    checkpoint: Path
    seconds: float
    seed: int
    threads: int | None


def _run_chain(plan: _Plan, console: Console) -> DemoResult:
    """Every step into `plan.folder`."""
    from affectrt.benchmarks.figures import figure_png
    from affectrt.benchmarks.machine import machine_facts
    from affectrt.benchmarks.report import write_report

    from .demo_findings import demo_result, write_summary, write_truth

    machine = machine_facts()
    with _step(console, "drawing a person, a voice and their truth") as say:
        clip = _draw(plan.folder / "clip.mp4", SHOWN_PERSON, plan.seed, plan.seconds)
        write_truth(clip, plan.folder / "truth.csv")
        calibration = [plan.folder / f"calibration-{index}.mp4" for index in range(CALIBRATION_CLIPS)]
        for index, path in enumerate(calibration):
            _draw(path, CALIBRATION_PERSON + index, plan.seed, min(CALIBRATION_SECONDS, plan.seconds))
        say(f"drew {clip.identity.name}, {plan.seconds:g} s, and {len(calibration)} others for calibration")
    with _step(console, "exporting to ONNX") as say:
        bundle = _export(plan, calibration, say)
        say(f"exported {len(bundle.manifest.graphs)} graphs, each equal to PyTorch on recorded media")
    with _step(console, "calibrating INT8") as say:
        bundle = _calibrate(bundle, calibration, plan.seed, say)
        say("quantised the encoders to INT8 on the other people's clips")
    for path in calibration:
        path.unlink()
    with _step(console, "building engines") as say:
        _build(bundle, plan.threads)
        say("built and warmed up the engines of both precisions")
    with _step(console, "running the clip") as say:
        reports = _run_in_turn(bundle, plan, say)
        speeds = ", ".join(f"{p.upper()} {r.times_real_time:.1f}×" for p, r in reports.items())
        say(f"ran {RUNS} times in each precision, in turn: {speeds} real time")
    with _step(console, "writing the report") as say:
        result = demo_result(plan.folder, clip, bundle, reports, machine)
        write_report(result, plan.folder / "report.html")
        (plan.folder / "report.png").write_bytes(figure_png(result))
        write_summary(result, bundle, plan.folder / MARK)
        say("wrote the report")
    return result


def _draw(path: Path, person: int, seed: int, seconds: float) -> Clip:
    from affectrt.training.synthetic import make_clip, make_identity, write_clip

    clip = make_clip(make_identity(seed, person), seed + person, seconds=seconds)
    write_clip(path, clip.frames(), fps=clip.fps, samples=clip.samples, sample_rate_hz=clip.sample_rate_hz)
    return clip


def _export(plan: _Plan, media: list[Path], say: _Say) -> Bundle:
    from affectrt.export import export_bundle
    from affectrt.models.checkpoint import load_checkpoint
    from affectrt.training.recordings import record_spans

    loaded = load_checkpoint(plan.checkpoint)
    recordings = record_spans(loaded.model, media[:1], per_stage=PARITY_ROWS, seed=plan.seed)
    path = plan.folder / f"{loaded.model.system}-demo.affect"
    return export_bundle(loaded, path, recordings=recordings, name=path.stem, progress=say)


def _calibrate(bundle: Bundle, media: list[Path], seed: int, say: _Say) -> Bundle:
    from affectrt.calibration import calibrate_bundle

    return calibrate_bundle(bundle.path, media, seed=seed, progress=say)


def _build(bundle: Bundle, threads: int | None) -> None:
    from .build import build

    # Its tables are for those who ask; here it warms up what is about to be timed.
    with contextlib.redirect_stdout(io.StringIO()):
        for precision in PRECISIONS:
            build(bundle.path, precision=precision, backend="onnxruntime", threads=threads, warmup=3)


def _run_in_turn(bundle: Bundle, plan: _Plan, say: _Say) -> dict[Precision, RunReport]:
    """The run of median speed for each precision; taking turns, what slows the machine down slows down both."""
    reports: dict[Precision, list[RunReport]] = {precision: [] for precision in PRECISIONS}
    for repeat in range(RUNS):
        for precision, done in reports.items():
            say(f"running the clip in {precision.upper()}, {repeat + 1} of {RUNS}")
            done.append(_run(bundle, plan, precision))
    return {p: sorted(done, key=lambda r: r.times_real_time)[RUNS // 2] for p, done in reports.items()}


def _run(bundle: Bundle, plan: _Plan, precision: Precision) -> RunReport:
    from affectrt.runtime.run import run_bundle
    from affectrt.runtime.sinks import open_sink
    from affectrt.runtime.sources import open_source

    from .demo_findings import predictions_name

    source = open_source(plan.folder / "clip.mp4", bundle.contract)
    sink = open_sink(plan.folder / predictions_name(precision), overwrite=True)
    return run_bundle(bundle, source, [sink], precision=precision, backend="onnxruntime", threads=plan.threads)


class _Say:
    """What a step is doing, and at its end what it did."""

    def __init__(self, update: Console, title: str) -> None:
        self._status = update.status(title)
        self.last = title

    def __call__(self, words: str) -> None:
        self.last = words
        self._status.update(words)

    def __enter__(self) -> _Say:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()


@contextlib.contextmanager
def _step(console: Console, title: str) -> Iterator[_Say]:
    """A spinner with `title` while the block runs, then one line with its last words and its time."""
    began = time.perf_counter()
    with _Say(console, title) as say:
        yield say
    console.print(f"{time.perf_counter() - began:6.1f} s  {say.last}", markup=False, soft_wrap=True)


def _checkpoint_path(system: System) -> Path:
    import affectrt.models

    name = f"{system.value}-demo"
    path = Path(affectrt.models.__path__[0]) / "weights" / f"{name}.safetensors"
    if not path.is_file():
        raise UsageError(
            f"the demo's checkpoint is not at {path}",
            expected="a complete installation or checkout",
            fix=f"affectrt train training/recipes/{name}.toml --out {name}.safetensors, "
            f"then affectrt demo --checkpoint {name}.safetensors",
        )
    return path


def _check_out(out: Path, *, overwrite: bool) -> None:
    """UsageError when `out` holds something, unless it is an earlier demo's and may go."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir() or not (out / MARK).is_file():
        raise UsageError(
            f"{out} exists and is not the output of a demo",
            expected="a new or empty folder",
            fix="affectrt demo --out DIR",
        )
    if not overwrite:
        raise UsageError(
            f"{out} holds the output of an earlier demo",
            expected="a new or empty folder",
            fix=f"affectrt demo --out {out} --overwrite",
        )


def _replace(folder: Path, out: Path) -> None:
    """Put `folder` in the place of `out`, which stays whole if that fails."""
    old = out.with_name(f".{out.name}.old.{os.getpid()}")
    if out.exists():
        out.rename(old)
    try:
        folder.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _print_result(result: DemoResult, out: Path) -> None:
    """What happened, the table, and where the page lies, on standard output."""
    from rich.console import Console
    from rich.table import Table

    from affectrt.benchmarks.demo_result import DIMENSIONS, headline

    table = Table(box=None, pad_edge=False)
    table.add_column("precision")
    for name in (*(f"CCC {d}" for d in DIMENSIONS), "ms a step", "× real time", "graphs MB"):
        table.add_column(name, justify="right")
    for run in result.runs:
        table.add_row(
            run.label,
            *(f"{run.ccc[d]:.3f}" for d in DIMENSIONS),
            f"{1000 * run.wall_s / max(1, result.steps):.2f}",
            f"{result.times_real_time(run):.1f}",
            f"{run.graph_bytes / 1e6:.2f}",
        )
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(headline(result), markup=False)
    console.print(f"report: {out / 'report.html'}", markup=False)
