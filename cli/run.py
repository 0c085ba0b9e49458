"""`affectrt run BUNDLE SOURCE [SINK…]`: valence and arousal of a file."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from affectrt.bundle import Asked
    from affectrt.runtime.run import Progress, RunReport, Stop

__all__ = ["run"]

# 128 + the signal's number, as a shell reports it; a reader that has gone is what SIGPIPE would be.
_STOPPED = {"SIGINT": 128 + signal.SIGINT, "SIGTERM": 128 + signal.SIGTERM, "reader gone": 128 + signal.SIGPIPE}


def run(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle, a NAME.affect directory.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A media file, as a path or file:// URI.")],
    sinks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SINK]...",
            help="Where estimates go: NAME.jsonl, NAME.csv, or - for JSON Lines on standard output (the default).",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="As far as the bundle has it: fp32, int8, …; auto: what was selected.")
    ] = "fp32",
    backend: Annotated[
        str,
        typer.Option(
            help="What executes the graphs: tensorrt, onnxruntime, onnxruntime-cuda, or auto: TensorRT where its "
            "engines are built (affectrt build), else ONNX Runtime."
        ),
    ] = "auto",
    cuda_graph: Annotated[
        bool, typer.Option("--cuda-graph/--no-cuda-graph", help="TensorRT: replay captured work; quicker to start.")
    ] = True,
    hop: Annotated[
        int | None,
        typer.Option(min=1, help="Steps between two runs of the fusion.", show_default="the bundle's"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the engines.", show_default="all cores")
    ] = None,
    batch: Annotated[
        int, typer.Option(min=1, help="Largest batch; large inputs, such as clips, come in smaller ones.")
    ] = 8,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace sinks that exist already.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no summary, only warnings.")] = False,
) -> None:
    """Estimate valence and arousal of SOURCE and write them to every SINK.

    Exit code 0: the source was read to its end. 1: it could not be read, or only in part (what could be read is
    in the sinks). 2: wrong use. 130, 143: stopped by Ctrl-C or SIGTERM; 141: nobody reads standard output.
    """
    from affectrt.bundle import UsageError, open_bundle
    from affectrt.runtime.engines import choose_backend, target_of
    from affectrt.runtime.run import Stop, run_bundle
    from affectrt.runtime.sinks import open_sinks
    from affectrt.runtime.sources import open_source

    targets = open_sinks(sinks or ["-"], overwrite=overwrite)
    if Path(source).resolve() in (Path(sink).resolve() for sink in sinks or []):
        raise UsageError(f"{source} is both source and sink", fix="write to another file")
    opened = open_bundle(bundle)
    asked = cast("Asked", precision)
    choice = choose_backend(opened, asked, backend)
    opened.plan(asked, target_of(choice.backend))  # an unknown precision is told before anything is loaded
    media = open_source(source, opened.contract)
    if choice.notable and not quiet:
        print(f"affectrt: {choice.why}", file=sys.stderr)
    stop = Stop()
    with _stopped_by_signals(stop), _progress_bar(hidden=quiet or not sys.stderr.isatty()) as progress:
        report = run_bundle(
            opened,
            media,
            targets,
            precision=asked,
            backend=choice,
            cuda_graph=cuda_graph,
            hop_steps=hop,
            threads=threads,
            max_batch=batch,
            stop=stop,
            progress=progress,
        )
    _tell(report, quiet=quiet)
    code = _STOPPED[report.stopped_by] if report.stopped_by in _STOPPED else int(not report.outcome.complete)
    if code:
        raise typer.Exit(code)


@contextmanager
def _stopped_by_signals(stop: Stop) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends a run that is reading in good order; before that, or again, it ends at once."""

    def handle(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if stop.armed and stop.reason is None:
            stop.request(name)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(_STOPPED[name])

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress_bar(*, hidden: bool) -> Iterator[Progress | None]:
    """A bar over the media's duration on standard error, gone at the end; a mere counter where it is unknown."""
    if hidden:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.completed:.0f} s of media"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(media_s: float, duration_s: float | None) -> None:
            bar.update(task, completed=media_s, total=duration_s)

        yield show


def _tell(report: RunReport, *, quiet: bool) -> None:
    """Warnings, and one line of summary, on standard error."""
    fallen = [f"{stage} runs in {facts['fallback']}" for stage, facts in report.engines.items() if "fallback" in facts]
    notes = [note.message for note in report.outcome.notes if note.kind != "stopped"]
    for text in (*fallen, *notes, *report.gaps):
        print(f"affectrt: warning: {text}", file=sys.stderr)
    if report.stopped_by == "reader gone":
        return
    if report.estimates == 0 and report.stopped_by is None and report.media_s < report.hop_s:
        print(
            f"affectrt: warning: {report.source} has no estimate: it ends before the first, which takes "
            f"{report.hop_s:g} s of media; a smaller --hop gives one sooner",
            file=sys.stderr,
        )
    if report.stopped_by is not None:
        print(
            f"affectrt: stopped by {report.stopped_by} at {report.media_s:.1f} s; what was written is whole",
            file=sys.stderr,
        )
    if quiet:
        return
    digits = 1 if report.times_real_time >= 1 else 2
    print(
        f"{report.source}: {report.estimates} estimates of {report.media_s:.1f} s in {report.wall_s:.1f} s, "
        f"{report.times_real_time:.{digits}f} times real time ({report.precision}, {report.backend})",
        file=sys.stderr,
    )
