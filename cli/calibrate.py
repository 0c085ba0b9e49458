"""`affectrt calibrate BUNDLE MEDIA…`: lower precisions from real pictures and sound, judged and timed."""

from __future__ import annotations

import shutil
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import numpy as np
import typer

from affectrt.bundle.errors import UsageError

from .media import media_from_paths
from .scores import print_selections

if TYPE_CHECKING:
    from affectrt.benchmarks.calibration_figures import Answers
    from affectrt.bundle import Asked, Bundle
    from affectrt.calibration import Int8Target, Method, ShareOfPeak
    from affectrt.training.progress import Progress

__all__ = ["calibrate"]


class Precision(str, Enum):
    auto = "auto"
    int8 = "int8"


class Maker(str, Enum):
    affectrt = "affectrt"
    modelopt = "modelopt"


class Target(str, Enum):
    all = "all"
    cpu = "cpu"
    tensorrt = "tensorrt"


def calibrate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle, a NAME.affect directory.")],
    media: Annotated[
        list[Path],
        typer.Argument(metavar="MEDIA...", help="Media files or folders; of a corpus the training split is taken."),
    ],
    precision: Annotated[
        Precision,
        typer.Option(help="auto: judge and time candidates, and select. int8: INT8 graphs, neither judged nor timed."),
    ] = Precision.auto,
    evaluate: Annotated[
        list[Path] | None,
        typer.Option(
            "--evaluate",
            help="A corpus, of which what is not for training is played; or media without truth, on which agreement "
            "with FP32 is measured instead.",
            show_default="MEDIA, if it is a corpus",
        ),
    ] = None,
    max_loss: Annotated[float, typer.Option(help="CCC that a selection may lose in a dimension.")] = 0.01,
    max_upper_loss: Annotated[
        float, typer.Option(help="What the upper end of the loss's 95 % interval may reach.")
    ] = 0.02,
    force: Annotated[
        bool, typer.Option("--force", help="Select INT8 whatever guard and clock say; the bundle says so.")
    ] = False,
    rank: Annotated[
        bool, typer.Option("--rank", help="Measure what each layer costs even where everything passes at once.")
    ] = False,
    quantiser: Annotated[
        Maker, typer.Option(help="Who makes INT8 for TensorRT; modelopt is nvidia-modelopt, an extra.")
    ] = Maker.affectrt,
    target: Annotated[Target, typer.Option(help="Who the graphs are for.")] = Target.all,
    method: Annotated[str, typer.Option(help="How ranges are chosen: minmax, percentile or entropy.")] = "minmax",
    windows: Annotated[int, typer.Option(min=1, help="Recorded inputs per stage.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Which inputs are taken.")] = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the engines.", show_default="all cores")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="An HTML page of what was decided and why.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the new bundle goes.", show_default="over the old one")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is at --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but the result.")] = False,
) -> None:
    """Add graphs of lower precision to a bundle, and select what `--precision auto` runs.

    Ranges come from MEDIA, played as a run plays them. Each candidate answers the evaluation set beside FP32: one that
    loses more than the guard allows gets layers back in higher precision until it passes. On this machine's CPU it
    must also be 5 % faster. A search that was stopped goes on with the same command. The bundle is replaced as a whole
    or not at all.
    """
    from affectrt.calibration import check_wishes
    from affectrt.training.progress import Progress

    from .evidence import evaluation_set, known_media, open_evidence

    check_wishes(method, windows)
    files = media_from_paths(media)
    with Progress(quiet=quiet) as progress:
        if precision is Precision.int8:
            from affectrt.calibration import calibrate_bundle

            made = calibrate_bundle(
                bundle,
                files,
                method=cast("Method", method),
                windows=windows,
                seed=seed,
                out=out,
                overwrite=overwrite,
                progress=progress.say,
                check=_takes_operators,
                opened=open_evidence,
            )
            typer.echo(f"{made.path}   {', '.join(made.precisions())}, fingerprint {made.fingerprint[:12]}")
            return

        from affectrt.benchmarks.machine import machine_in_words
        from affectrt.calibration import Guard, calibrate_guarded

        guard = Guard(max_loss, max_upper_loss)
        judged = evaluation_set(evaluate, media, seed=seed)
        record = _record_folder(bundle if out is None else out)
        made = calibrate_guarded(
            bundle,
            known_media(files),
            judged.files,
            judged.judge_of,
            targets=("cpu", "tensorrt") if target is Target.all else (cast("Int8Target", target.value),),
            guard=guard,
            method=cast("Method", method),
            windows=windows,
            seed=seed,
            threads=threads,
            machine=machine_in_words(),
            share_of_peak=_share_of_peak(bundle, threads, progress),
            record=record,
            force=force,
            rank=rank,
            quantiser=quantiser.value,
            out=out,
            overwrite=overwrite,
            progress=progress,
            check=_takes_operators,
            opened=open_evidence,
        )
        shutil.rmtree(record, ignore_errors=True)
    print_selections(made)
    if report is not None:
        typer.echo(f"wrote {_write_report(made, judged.files[0].path, threads, report)}")


def _takes_operators(stage: str, graph: bytes) -> None:
    import onnx

    from affectrt.export.operator_lint import check_operators

    check_operators(stage, onnx.load_from_string(graph))


def _record_folder(bundle: Path) -> Path:
    """Beside the bundle, hidden, and gone when the bundle has what was measured."""
    folder = bundle.with_name(f".{bundle.name}.calibration")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        reason = f"{folder} cannot be made: {error.strerror}"
        raise UsageError(reason, expected="a place to keep measurements in") from None
    return folder


def _share_of_peak(bundle: Path, threads: int | None, progress: Progress) -> ShareOfPeak:
    """Of a stage's row, multiply-accumulates a second over the machine's peak, which is measured when it is first asked
    for: a refusal does not wait for it."""
    from affectrt.benchmarks.peak import Peak, measure_peak
    from affectrt.benchmarks.stages import Work
    from affectrt.bundle import open_bundle

    opened = open_bundle(bundle)
    macs = {stage: Work.of(opened, stage).macs for stage in opened.contract.stages}

    @cache
    def peak() -> Peak:
        progress.say("measuring the machine's matrix peak")
        return measure_peak(threads=threads)

    return lambda stage, precision, seconds: macs[stage] / seconds / peak().of(precision)


def _write_report(bundle: Bundle, recording: Path, threads: int | None, path: Path) -> Path:
    from affectrt.benchmarks.calibration_page import CalibrationResult, write_calibration_page
    from affectrt.benchmarks.machine import machine_facts

    name, selections = bundle.manifest.name, bundle.manifest.selections
    facts = {"Machine": machine_facts(), "Bundle": {"name": name, "fingerprint": bundle.fingerprint}}
    chosen = bundle.selection("cpu")
    answers = None
    if chosen is not None and chosen.guard is not None:  # otherwise FP32 runs, and there is nothing to compare
        answers = _answers(bundle, recording, threads)
    return write_calibration_page(CalibrationResult(name, selections, facts, answers), path)


def _answers(bundle: Bundle, recording: Path, threads: int | None) -> tuple[list[float], Answers, Answers]:
    """Times of one recording's estimates, FP32's, and those of what was selected for CPUs."""
    from contextlib import ExitStack

    from affectrt.runtime import Scheduler
    from affectrt.runtime.engines.opening import open_engines
    from affectrt.runtime.words.pieces import pieces_of
    from affectrt.training.play import output_names, play

    contract = bundle.contract
    asked: tuple[Asked, ...] = ("fp32", "auto")
    with ExitStack() as stack:
        fp32, chosen = (
            play(
                contract,
                recording,
                Scheduler(contract, open_engines(bundle, each, stack, "onnxruntime", threads)).infer,
                pieces=pieces_of(bundle),
            )
            for each in asked
        )
    columns: list[Answers] = [
        {str(name): np.array([getattr(e, name) for e in estimates], np.float64) for name in output_names(contract)}
        for estimates in (fp32, chosen)
    ]
    return [estimate.t_s for estimate in fp32], columns[0], columns[1]
