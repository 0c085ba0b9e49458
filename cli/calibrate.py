"""`affectrt calibrate BUNDLE MEDIA…`: INT8 graphs with ranges from real pictures and sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from .media import media_from_paths

if TYPE_CHECKING:
    from affectrt.calibration import Method

__all__ = ["calibrate"]


def calibrate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle, a NAME.affect directory.")],
    media: Annotated[
        list[Path],
        typer.Argument(metavar="MEDIA...", help="Media files or folders; of a corpus the training split is taken."),
    ],
    method: Annotated[str, typer.Option(help="How ranges are chosen: minmax, percentile or entropy.")] = "minmax",
    windows: Annotated[int, typer.Option(min=1, help="Recorded inputs per stage.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Which inputs are taken.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Where the new bundle goes.", show_default="over the old one")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is at --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but the result.")] = False,
) -> None:
    """Add INT8 graphs to a bundle.

    The encoders become INT8, for CPUs and for TensorRT from the same ranges; the fusion stays FP32. The bundle is
    replaced as a whole or not at all.
    """
    from affectrt.calibration import calibrate_bundle

    files = media_from_paths(media)
    made = calibrate_bundle(
        bundle,
        files,
        method=cast("Method", method),
        windows=windows,
        seed=seed,
        out=out,
        overwrite=overwrite,
        progress=None if quiet else lambda line: typer.echo(line, err=True),
    )
    typer.echo(f"{made.path}   {', '.join(made.precisions())}, fingerprint {made.fingerprint[:12]}")
