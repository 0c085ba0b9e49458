"""`affectrt export CKPT --out NAME.affect`: ONNX graphs and contract of a checkpoint, proved equal to PyTorch."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .media import media_from_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from affectrt.models.network import Network
    from affectrt.runtime.engines.base import Array

__all__ = ["export"]

SYNTHETIC_SECONDS = 4.0
ROWS_PER_STAGE = 24
SEED = 0


def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CKPT", help="A checkpoint, NAME.safetensors.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="The bundle to write, NAME.affect.", show_default=False)],
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="A media file or a folder of them; graphs are compared with PyTorch on what is in there.",
            show_default="a clip that is drawn for the purpose",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What the bundle calls itself.", show_default="its model's name")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that exists already.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but the result.")] = False,
) -> None:
    """Turn a checkpoint into a bundle of ONNX graphs.

    Every graph is compared with PyTorch on recorded inputs and checked for operators that TensorRT refuses. If
    anything is wrong, nothing is written.
    """
    from affectrt.bundle.writer import check_place
    from affectrt.export import export_bundle
    from affectrt.models.checkpoint import load_checkpoint

    def tell(line: str) -> None:
        if not quiet:
            typer.echo(line, err=True)

    check_place(out, overwrite=overwrite)
    loaded = load_checkpoint(checkpoint)
    if corpus is not None:
        recordings = _record(loaded.model, media_from_paths([corpus]), tell)
    else:
        with tempfile.TemporaryDirectory(prefix="affectrt-export-") as folder:
            recordings = _record(loaded.model, [_drawn_clip(Path(folder))], tell)
    bundle = export_bundle(loaded, out, recordings=recordings, name=name, overwrite=overwrite, progress=tell)
    typer.echo(f"{bundle.path}   {len(bundle.manifest.graphs)} graphs, fingerprint {bundle.fingerprint[:12]}")


def _record(model: Network, media: Sequence[Path], tell: Callable[[str], None]) -> Mapping[str, Mapping[str, Array]]:
    from affectrt.training.recordings import record_spans

    # Recording computes every step of a file; two are as much as the few rows compared can show.
    media = [media[0], media[-1]] if len(media) > 2 else media
    tell(f"recording inputs from {len(media)} file{'s' if len(media) > 1 else ''}")
    return record_spans(model, media, per_stage=ROWS_PER_STAGE, seed=SEED)


def _drawn_clip(folder: Path) -> Path:
    from affectrt.training.synthetic import make_clip, make_identity, write_clip

    clip = make_clip(make_identity(SEED, 0), SEED, seconds=SYNTHETIC_SECONDS)
    path = folder / "clip.mp4"
    write_clip(path, clip.frames(), samples=clip.samples)
    return path
