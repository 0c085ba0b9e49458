"""`affectrt import FILE... --out CKPT`: published weights become a checkpoint, and each file is accounted for."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affectrt.bundle.errors import UsageError

if TYPE_CHECKING:
    from affectrt.models.importing import Imported, SourceReport

__all__ = ["import_"]

WIDTH = 110


class Output(str, Enum):
    valence = "valence"
    arousal = "arousal"


def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="One published file, or all parts of one network.")
    ],
    out: Annotated[Path, typer.Option(help="The checkpoint to write (.safetensors).", show_default=False)],
    form: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME",
            help="What the file must be, such as rcma-v1.",
            show_default="found out by its names",
        ),
    ] = None,
    output: Annotated[
        Output | None,
        typer.Option(
            help="What the network was trained for; the files do not tell.", show_default=Output.valence.value
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Of the weights; the files do not tell.", show_default="not stated"),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A BERT in Hugging Face's layout, to encode the words of a network that takes them.",
            show_default="words' vectors come from outside",
        ),
    ] = None,
    text_mean: Annotated[float, typer.Option(help="Of the words' vectors that the network was trained on.")] = 0.0,
    text_std: Annotated[float, typer.Option(help="Their standard deviation.")] = 1.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists already.")] = False,
) -> None:
    """Turn weights that others published into a checkpoint.

    Nothing in a file is executed. A file is recognised by the names of its tensors, whatever it is called; if anything
    in it is missing, unexpected or of another shape, all of that is told and nothing is written. Weights of a backbone
    alone become a part of a checkpoint, which training can start from.
    """
    if out.suffix != ".safetensors":
        raise UsageError(
            f"--out {out}", expected="a name that ends in .safetensors", fix=f"--out {out.with_suffix('.safetensors')}"
        )
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists already", expected="a new name", fix="--overwrite")
    if not out.parent.is_dir():
        raise UsageError(f"no folder {out.parent}", expected="an existing folder", fix=f"mkdir -p {out.parent}")

    if text is None and (text_mean, text_std) != (0.0, 1.0):
        raise UsageError("--text-mean or --text-std without --text", expected="--text DIR, whose vectors they are of")

    from affectrt.models.importing import FORMS, import_files, import_text

    if form is not None and form not in FORMS:
        raise UsageError(f"--from {form}", expected=f"one of {', '.join(FORMS)}")
    if form is not None and len(files) > 1:
        raise UsageError(f"--from {form} with {len(files)} files", expected="one file, or none of --from")
    imported = import_files(files, form=form, output=None if output is None else output.value, licence=licence or None)
    if text is not None:
        imported = import_text(imported, text, mean=text_mean, std=text_std, licence=licence or None)
    imported.save(out)
    for line in _report(imported):
        typer.echo(line)
    typer.echo(str(out))


def _report(imported: Imported) -> Iterator[str]:
    from affectrt.models.parts import PARTS

    for source in imported.sources:
        yield from _source(source)
    count = sum(parameter.numel() for parameter in imported.module.parameters())
    kind = f"the part {imported.part}" if imported.part else "a whole network"
    yield f"{kind} of {imported.system}, {count:,} parameters"
    for name, value in sorted(imported.read.items()):
        yield f"  {name} {value}"
    if imported.part:
        yield from _wrapped("a whole network has besides", PARTS[imported.part].needs)
    for label in ("training_corpus", "licence", "limits"):
        yield from _wrapped(label.replace("_", " "), str(imported.provenance[label]))


def _source(source: SourceReport) -> Iterator[str]:
    yield f"{source.file}: {source.form}, {source.holds}"
    yield f"  sha256 {source.sha256}"
    if source.unwrapped:
        yield f"  taken off: {', '.join(source.unwrapped)}"
    for name, value in source.beside.items():
        yield f"  beside the weights: {name} {value}"
    for group in source.dropped:
        yield from _wrapped("dropped", f"{group.label} ({_tensors(len(group.names))}): {group.reason}")
    if source.filled:
        yield from _wrapped(
            "filled with 0", f"{_tensors(len(source.filled))} that count batches and that the file lacks"
        )
    for note in source.notes:
        yield from _wrapped("note", note)


def _tensors(count: int) -> str:
    return f"{count} tensor" + "s" * (count != 1)


def _wrapped(label: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(f"{label}: {text}", WIDTH, initial_indent="  ", subsequent_indent="    ")
