"""`affectrt train`: from a recipe to a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from affectrt.bundle.errors import UsageError

__all__ = ["train"]


def train(
    config: Annotated[Path, typer.Argument(help="A recipe, such as training/recipes/rcma-demo.toml.")],
    out: Annotated[Path, typer.Option(help="The checkpoint to write (.safetensors).")],
    work: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps the drawn corpus, its spans and the training state; temporary if none."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the state in --work.")] = False,
) -> None:
    """Train a model on its recipe's corpus, which is drawn first, and measure it on the held-out identities.

    Progress goes to stderr, the scores to stdout.
    """
    from affectrt.training.progress import Progress
    from affectrt.training.recipe import read_recipe
    from affectrt.training.train import train as run

    if out.suffix != ".safetensors":
        raise UsageError(
            f"--out {out}", expected="a name that ends in .safetensors", fix=f"--out {out.with_suffix('.safetensors')}"
        )
    if resume and work is None:
        raise UsageError("--resume without --work", expected="the folder of the earlier run", fix="--work DIR")
    recipe, text = read_recipe(config)
    progress = Progress()
    progress.say(text.rstrip())
    trained = run(recipe, text, out, work=work, resume=resume, progress=progress)

    from .scores import print_scores

    print_scores(trained.evaluations)
    typer.echo(str(trained.checkpoint))
