"""`affectrt evaluate`: how well a bundle or a checkpoint does on a corpus."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from affectrt.bundle.errors import UsageError

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


def evaluate(
    model: Annotated[Path, typer.Argument(help="A bundle (folder) or a checkpoint (.safetensors).")],
    corpus: Annotated[Path, typer.Argument(help="A corpus in the layout of Aff-Wild2's ABAW release.")],
    split: Annotated[Split, typer.Option(help="Which of its parts.")] = Split.test,
    precision: Annotated[
        Precision, typer.Option(help="Of a bundle's graphs; auto: what calibrate selected.")
    ] = Precision.fp32,
    modalities: Annotated[
        str | None, typer.Option(help="Comma-separated; the others are switched off at the source. Default: each set.")
    ] = None,
    hop: Annotated[int | None, typer.Option(help="Steps between fusions; default: the model's own.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of each engine; default: all cores.")] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Write the scores into the bundle's manifest; its fingerprint changes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with the score of every video.")] = False,
) -> None:
    """Concordance correlation (CCC) with 95 % intervals, through the runtime's own source, session and engines.

    A model of several modalities is scored with all of them and with each alone, unless --modalities names a set.
    """
    from affectrt.bundle import open_bundle, update_bundle
    from affectrt.training.corpus import Corpus
    from affectrt.training.evaluate import evaluate as run
    from affectrt.training.evaluate import modality_sets, open_model
    from affectrt.training.progress import Progress

    from .scores import print_scores

    # Before the work, so that a checkpoint or a damaged bundle is refused at once.
    recorded = open_bundle(model) if record else None
    opened_corpus = Corpus.open(corpus)
    with open_model(model, precision.value, threads) as opened, Progress() as progress:
        sets = (
            modality_sets(opened.contract) if modalities is None else (_listed(modalities, opened.contract.modalities),)
        )
        evaluations = []
        with progress.bar("playing", len(sets) * len(opened_corpus.videos(split.value))) as done:
            for chosen in sets:
                evaluations.append(
                    run(
                        opened,
                        opened_corpus,
                        split.value,
                        modalities=chosen,
                        hop_steps=hop,
                        video_done=lambda score: done(),
                    )
                )
    if recorded is not None:
        update_bundle(recorded, accuracy=[evaluation.as_accuracy() for evaluation in evaluations])
    if as_json:
        typer.echo(json.dumps({"evaluations": [_record(e) for e in evaluations]}, indent=1))
    else:
        print_scores(evaluations)


def _listed(text: str, known: Any) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in names if name not in known]:
        raise UsageError(
            f"--modalities {text}: the model does not take {', '.join(unknown)}", expected=f"some of {', '.join(known)}"
        )
    return names


def _record(evaluation: Any) -> dict[str, Any]:
    record = asdict(evaluation)
    record["ccc"] = {name: interval.model_dump() for name, interval in evaluation.ccc.items()}
    return record
