"""`affectrt evaluate`: how well a bundle or a checkpoint does on a corpus."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affectrt.bundle.errors import UsageError

if TYPE_CHECKING:
    from affectrt.training.evaluation import Windows as Rule

__all__ = ["evaluate"]


class Split(str, Enum):
    train = "train"
    validation = "validation"
    test = "test"


class Precision(str, Enum):
    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"
    int8_fp16 = "int8-fp16"
    auto = "auto"


class Windows(str, Enum):
    stream = "stream"
    offline = "offline"
    published = "published"
    both = "both"


def evaluate(
    model: Annotated[Path, typer.Argument(help="A bundle (folder) or a checkpoint (.safetensors).")],
    corpus: Annotated[Path, typer.Argument(help="A prepared corpus, or one in the layout of Aff-Wild2's release.")],
    split: Annotated[Split, typer.Option(help="Which of its parts.")] = Split.test,
    precision: Annotated[
        Precision, typer.Option(help="Of a bundle's graphs; auto: what calibrate selected.")
    ] = Precision.fp32,
    modalities: Annotated[
        str | None, typer.Option(help="Comma-separated; the others are switched off at the source. Default: each set.")
    ] = None,
    hop: Annotated[int | None, typer.Option(help="Steps between fusions; default: the model's own.")] = None,
    windows: Annotated[
        Windows,
        typer.Option(
            help="stream: a session, as in a run. offline: its windows over a whole recording. published: the authors' "
            "300 rows every 200, overlaps averaged. both: stream and offline, and whether they agree."
        ),
    ] = Windows.stream,
    threads: Annotated[int | None, typer.Option(help="Threads of each engine; default: all cores.")] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Write the scores into the bundle's manifest; its fingerprint changes.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="One HTML page: all figures, and estimates and annotation over time.")
    ] = None,
    submission: Annotated[
        Path | None,
        typer.Option(
            help="ABAW's submission (FILE.txt), or a folder for a file by output and trial; of the first set of "
            "modalities and windows. Nothing needs to be annotated for it."
        ),
    ] = None,
    sample: Annotated[Path | None, typer.Option(help="A sample submission, whose rows --submission then has.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with the score of every video.")] = False,
) -> None:
    """Concordance correlation (CCC), RMSE and Pearson's r with 95 % intervals, through the runtime's own engines.

    A model of several modalities is scored with all of them and with each subset of which the corpus gives estimates,
    unless --modalities names a set.
    """
    from affectrt.bundle import open_bundle, update_bundle
    from affectrt.training.corpus import Corpus
    from affectrt.training.evaluate import examine, modality_sets, open_model
    from affectrt.training.evaluation import agreements
    from affectrt.training.prepared import PreparedCorpus, is_prepared
    from affectrt.training.progress import Progress

    if sample is not None and submission is None:
        raise UsageError("--sample without --submission", expected="both", fix="--submission FILE.txt")
    if submission is not None and sample is not None:
        from affectrt.training.submission import trials_in_sample

        trials_in_sample(sample)
    # Before the work, so that a checkpoint or a damaged bundle is refused at once.
    recorded = open_bundle(model) if record else None
    opened_corpus = PreparedCorpus.open(corpus) if is_prepared(corpus) else Corpus.open(corpus)
    rules: tuple[Rule, ...] = ("stream", "offline") if windows is Windows.both else (windows.value,)
    with open_model(model, precision.value, threads) as opened, Progress() as progress:
        sets = (
            modality_sets(opened.contract) if modalities is None else (_listed(modalities, opened.contract.modalities),)
        )
        with progress.bar("playing", len(rules) * len(sets) * len(opened_corpus.videos(split.value))) as done:
            examinations = examine(
                opened,
                opened_corpus,
                split.value,
                sets=sets,
                windows=rules,
                hop_steps=hop,
                unlabelled=submission is not None,
                as_far_as_possible=modalities is None,
                video_done=lambda score: done(),
            )
        for left in (chosen for chosen in sets if not any(e.evaluation.modalities == chosen for e in examinations)):
            progress.say(f"{'+'.join(left)}: left out, the corpus gives no estimate of it")
        outputs = [output.name for output in opened.contract.outputs]
    evaluations = [examination.evaluation for examination in examinations]
    scored = [evaluation for evaluation in evaluations if evaluation.ccc]
    agreed = agreements(examinations)
    if recorded is not None and scored:
        update_bundle(recorded, accuracy=[evaluation.as_accuracy() for evaluation in scored])
    if report is not None:
        from affectrt.training.evaluation_report import write_report

        write_report(examinations, agreed, model.resolve().name, report)
    if submission is not None:
        from affectrt.training.submission import per_picture, write_submission

        trials = {played.name: per_picture(played) for played in examinations[0].played}
        write_submission(submission, trials, outputs, sample)
    if as_json:
        told: dict[str, Any] = {"evaluations": [_record(e) for e in evaluations]}
        if agreed:
            told["agreements"] = [{**asdict(a), "agree": a.agree} for a in agreed]
        typer.echo(json.dumps(told, indent=1))
        return
    _print(evaluations, agreed)
    for path in (report, submission):
        if path is not None:
            typer.echo(path)


def _print(evaluations: Sequence[Any], agreed: Sequence[Any]) -> None:
    from .scores import print_agreements, print_author_notes, print_measures, print_scores

    scored = [evaluation for evaluation in evaluations if evaluation.ccc]
    for rule in dict.fromkeys(evaluation.windows for evaluation in scored):
        of_rule = [evaluation for evaluation in scored if evaluation.windows == rule]
        print_scores(of_rule)
        print_measures(of_rule)
    if scored:
        print_author_notes()
    if agreed:
        print_agreements(agreed)


def _listed(text: str, known: Any) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in names if name not in known]:
        raise UsageError(
            f"--modalities {text}: the model does not take {', '.join(unknown)}", expected=f"some of {', '.join(known)}"
        )
    return names


def _record(evaluation: Any) -> dict[str, Any]:
    record = asdict(evaluation)
    for metric in ("ccc", "rmse", "pearson"):
        found = getattr(evaluation, metric)
        record[metric] = {name: interval.model_dump() for name, interval in found.items()}
    told: dict[str, Any] = _finite(record)
    return told


def _finite(value: Any) -> Any:
    """JSON has no NaN: what could not be compared is null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
