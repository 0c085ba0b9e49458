"""`affectrt train`: from a recipe, or an experiment on a prepared corpus, to a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from affectrt.bundle.errors import UsageError

__all__ = ["train"]


def train(
    config: Annotated[
        Path,
        typer.Argument(
            help="A recipe, such as training/recipes/rcma-demo.toml, or an experiment, such as "
            "training/configs/rjcma-fold1.toml."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The checkpoint to write (.safetensors).")],
    work: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps what is drawn, the training state and TensorBoard's logs."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the state in --work.")] = False,
    corpus: Annotated[Path | None, typer.Option(help="Experiments: the prepared corpus.")] = None,
    init: Annotated[
        list[Path] | None, typer.Option(help="Experiments: weights to begin with, a part or a whole; repeatable.")
    ] = None,
    output: Annotated[str | None, typer.Option(help="Experiments: valence, arousal or both.")] = None,
    fold: Annotated[int | None, typer.Option(help="Experiments: 0 (the official split) to 5.")] = None,
    seed: Annotated[int | None, typer.Option(help="Experiments: another seed.")] = None,
    devices: Annotated[int | None, typer.Option(help="Experiments: processes on this machine, a GPU each.")] = None,
    nodes: Annotated[int | None, typer.Option(help="Experiments: machines.")] = None,
    precision: Annotated[str | None, typer.Option(help="Experiments: 32-true, 16-mixed or bf16-mixed.")] = None,
    accelerator: Annotated[str, typer.Option(help="Experiments: auto, cpu or gpu.")] = "auto",
    features: Annotated[
        str | None,
        typer.Option(help="Experiments: cached: encoders that never learn run once; computed: in every epoch."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Experiments: where cached features lie, for others to share.")
    ] = None,
    encoders: Annotated[
        Path | None, typer.Option(help="Experiments: the bundle of an --init whose engines compute cached features.")
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(help="Experiments: a BERT's folder, for a network that takes words' vectors from outside."),
    ] = None,
) -> None:
    """Train a model: on its recipe's corpus, which is drawn first, or an experiment on a prepared corpus.

    A recipe is measured on the held-out identities at the end; an experiment on its validation videos every epoch.
    Progress goes to stderr, the scores to stdout.
    """
    from affectrt.training.experiments.config import is_experiment

    if out.suffix != ".safetensors":
        raise UsageError(
            f"--out {out}", expected="a name that ends in .safetensors", fix=f"--out {out.with_suffix('.safetensors')}"
        )
    if resume and work is None:
        raise UsageError("--resume without --work", expected="the folder of the earlier run", fix="--work DIR")
    changes = {
        "corpus": corpus,
        "init": init or None,
        "output": output,
        "fold": fold,
        "seed": seed,
        "devices": devices,
        "nodes": nodes,
        "precision": precision,
        "features": features,
        "cache": cache,
        "encoders": {"bundle": encoders} if encoders is not None else None,
        "text": text,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    if is_experiment(config):
        _experiment(config, out, work, resume, given, accelerator)
        return
    if given or accelerator != "auto":
        names = ", ".join(f"--{name}" for name in given) or "--accelerator"
        raise UsageError(
            f"{names} with {config}, which is not an experiment",
            expected="a file with `system`, such as those of training/configs",
            fix=f"affectrt train {config} --out {out}",
        )
    _recipe(config, out, work, resume)


def _recipe(config: Path, out: Path, work: Path | None, resume: bool) -> None:
    from affectrt.training.progress import Progress
    from affectrt.training.recipe import read_recipe
    from affectrt.training.train import train as run

    recipe, text = read_recipe(config)
    progress = Progress()
    progress.say(text.rstrip())
    trained = run(recipe, text, out, work=work, resume=resume, progress=progress)

    from .scores import print_scores

    print_scores(trained.evaluations)
    typer.echo(str(trained.checkpoint))


def _experiment(
    config: Path, out: Path, work: Path | None, resume: bool, changes: dict[str, Any], accelerator: str
) -> None:
    from affectrt.training.experiments.config import read_config
    from affectrt.training.progress import Progress

    files = changes.pop("init", None)
    experiment, text = read_config(config, changes)
    if files:
        experiment = experiment.model_copy(update={"init": experiment.init.model_copy(update={"files": tuple(files)})})
    if experiment.corpus is None:
        raise UsageError(
            f"{config} names no corpus", expected="a folder that affectrt prepare wrote", fix="--corpus DIR"
        )
    from affectrt.training.experiments.run import train_experiment

    trained = train_experiment(
        experiment,
        text,
        experiment.corpus,
        out,
        work=work,
        resume=resume,
        accelerator=accelerator,
        progress=Progress(),
    )
    if trained is None:
        return
    for name, value in trained.ccc.items():
        typer.echo(f"validation {name} CCC {value:.4f}")
    typer.echo(str(trained.checkpoint))
