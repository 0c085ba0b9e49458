"""`affectrt prepare`: from the files of a corpus, as its users get them, to one that can be trained on."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from affectrt.bundle.errors import UsageError

if TYPE_CHECKING:
    from affectrt.bundle.contract import Contract
    from affectrt.training.corpus import Split
    from affectrt.training.prepare import RawCorpus

__all__ = ["prepare"]

SHOWN = 5


class Layout(str, Enum):
    affwild2 = "affwild2"
    recola = "recola"
    folder = "folder"


class Faces(str, Enum):
    auto = "auto"
    given = "given"
    found = "found"
    whole = "whole"


class Clock(str, Enum):
    steps = "steps"
    pictures = "pictures"


# The networks that can be named instead of a file, and their configuration in `models.sizes`.
NETWORKS = {
    "rcma": "paper_config",
    "cav": "cav_paper_config",
    "rcma-demo": "demo_config",
    "cav-demo": "cav_demo_config",
}


def prepare(
    layout: Annotated[Layout, typer.Argument(help="How RAW is laid out: a corpus's name, or folder for your own.")],
    raw: Annotated[Path, typer.Argument(metavar="RAW", help="The folder with the raw files.")],
    out: Annotated[Path, typer.Option(help="The corpus to make, a folder.")],
    network: Annotated[
        str,
        typer.Option(
            "--for", help="rcma, cav, rcma-demo, cav-demo, a configuration (.toml) or a bundle: whose crops and sound."
        ),
    ] = "rcma",
    faces: Annotated[
        Faces,
        typer.Option(
            help="given: crops of the corpus; found: by the detector; whole: the frame; auto: given, or found."
        ),
    ] = Faces.auto,
    clock: Annotated[
        Clock, typer.Option(help="steps: the model's own clock, as in a run; pictures: a step a picture, as published.")
    ] = Clock.steps,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.", show_default="all cores")] = None,
    words: Annotated[
        Path | None, typer.Option(help="A folder of transcripts: <video>.words.json with words, start and end.")
    ] = None,
    test_trials: Annotated[
        Path | None, typer.Option("--test-trials", help="affwild2: a list of trials without labels, one a line.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="folder: shares of people, where no column split says it.")
    ] = "train=0.7,validation=0.15,test=0.15",
    seed: Annotated[int, typer.Option(min=0, help="folder: who is drawn into which split.")] = 0,
    allow_failures: Annotated[
        bool, typer.Option("--allow-failures", help="Leave out what cannot be read, instead of an error at the end.")
    ] = False,
    report: Annotated[Path | None, typer.Option(help="An HTML page of what is in it, and what was dropped.")] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="A picture of crops with their annotation. It shows faces.")
    ] = None,
    per_video: Annotated[int, typer.Option("--per-video", min=1, max=64, help="Crops a video on the sheet.")] = 8,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but the result.")] = False,
) -> None:
    """Make a corpus for training out of raw videos and their annotation, as a run would see and hear them.

    Crops of faces, sound and words go through the product's own source, finder and session, into a few
    memory-mappable files a video. A run that was stopped goes on with the same command, to the same bytes. What cannot
    be read is told, and fails the command at the end: mend it and go on, or --allow-failures.
    """
    from affectrt.training.prepare import Options
    from affectrt.training.prepare import prepare as run
    from affectrt.training.progress import Progress

    for flag, path in (("--report", report), ("--sheet", sheet)):
        if path is not None and path.is_dir():
            raise UsageError(f"{flag} {path} is a folder", expected="a file", fix=f"{flag} {path / 'page'}")
    corpus = _raw(layout, raw, words, test_trials, split, seed)
    if words is not None:
        _tell_silent(corpus, words)
    options = Options(_contract(network), faces.value, clock.value, workers or _cores(), allow_failures=allow_failures)
    with Progress(quiet=quiet) as progress:
        try:
            made = run(corpus, out, options, progress)
        except KeyboardInterrupt:
            progress.say("stopped; the same command goes on")
            raise
    if report is not None:
        from affectrt.training.prepare.report import write_report

        typer.echo(f"wrote {write_report(made.corpus, report)}")
    if sheet is not None:
        from affectrt.training.prepare.sheet import write_sheet

        typer.echo(f"wrote {write_sheet(made.corpus, sheet, per_video=per_video)}")
    _tell(made.corpus.record.videos, len(made.corpus.record.left_out))
    typer.echo(f"{out}   fingerprint {made.corpus.fingerprint[:12]}")


def _tell_silent(corpus: RawCorpus, words: Path) -> None:
    """Says whose words are not in the folder of transcripts; UsageError where nobody's are."""
    without = [video.name for video in corpus.videos if video.words is None]
    if len(without) == len(corpus.videos):
        raise UsageError(
            f"--words {words} has a transcript of none of the {len(without)} videos",
            expected=f"{without[0]}.words.json and its like",
            fix=f"affectrt transcribe {corpus.root} --out {words}, or leave --words out",
        )
    if without:
        shown = ", ".join(without[:SHOWN]) + (", …" if len(without) > SHOWN else "")
        typer.echo(f"no transcript of {len(without)} of {len(corpus.videos)} videos: {shown}", err=True)


def _tell(videos: object, left_out: int) -> None:
    from affectrt.training.prepared_record import VideoRecord

    assert isinstance(videos, tuple)
    for split in ("train", "validation", "test"):
        chosen = [v for v in videos if isinstance(v, VideoRecord) and v.split == split]
        if chosen:
            steps = sum(v.steps for v in chosen)
            counts = (sum(getattr(v, of) for v in chosen) for of in ("annotated", "seen", "heard"))
            annotated, seen, heard = (f"{100 * count / steps:.1f} %" for count in counts)
            typer.echo(
                f"{split:<11} {len(chosen)} videos, {steps} steps, {annotated} annotated, "
                f"{seen} with a face, {heard} with sound"
            )
    if left_out:
        typer.echo(f"left out    {left_out}; corpus.json and --report say why")


def _raw(layout: Layout, root: Path, words: Path | None, test_trials: Path | None, split: str, seed: int) -> RawCorpus:
    if not root.is_dir():
        raise UsageError(f"{root} is no folder", expected="the folder with the raw files")
    if words is not None and not words.is_dir():
        raise UsageError(f"--words {words} is no folder", expected="a folder of <video>.words.json transcripts")
    if layout is Layout.folder:
        from affectrt.training.prepare import folder

        return folder.raw_videos(root, words=words, shares=_shares(split), seed=seed)
    if layout is Layout.recola:
        from affectrt.training.prepare import recola

        return recola.raw_videos(root, words=words)
    from affectrt.training.prepare import affwild2

    return affwild2.raw_videos(root, words=words, test_trials=_listed(test_trials))


def _listed(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--test-trials {path} cannot be read: {error}", expected="one trial a line") from None
    return tuple(line.strip() for line in lines if line.strip())


def _shares(text: str) -> dict[Split, float]:
    expected = "train=0.7,validation=0.15,test=0.15"
    wrong = UsageError(f"--split {text}", expected=f"shares such as {expected}", fix=f"--split {expected}")
    shares: dict[Split, float] = {"train": 0.0, "validation": 0.0, "test": 0.0}
    for part in text.split(","):
        name, _, number = part.partition("=")
        known = next((split for split in shares if split == name.strip()), None)
        try:
            value = float(number)
        except ValueError:
            raise wrong from None
        if known is None or not 0 <= value < 1e6:
            raise wrong
        shares[known] = value
    if sum(shares.values()) <= 0:
        raise wrong
    return shares


def _contract(text: str) -> Contract:
    """Of a network by name, of a configuration, or of a bundle; no network of full size is made."""
    from affectrt.bundle import open_bundle
    from affectrt.bundle.contract import Contract

    path = Path(text)
    if path.is_dir():
        return open_bundle(path).contract
    if path.suffix != ".toml" and text not in NETWORKS:
        raise UsageError(
            f"--for {text}",
            expected=f"{', '.join(NETWORKS)}, a configuration such as training/configs/rcma-v1.toml, or a bundle",
            fix="--for rcma",
        )
    import torch

    from affectrt.models import sizes
    from affectrt.models.systems import SYSTEMS
    from affectrt.training.experiments.config import network_of, read_config

    with torch.device("meta"):
        if path.suffix == ".toml":
            return Contract.model_validate(network_of(read_config(path)[0]).contract())
        config: Any = getattr(sizes, NETWORKS[text])()
        _, network = SYSTEMS[text.partition("-")[0]]
        return Contract.model_validate(network(config).contract())


def _cores() -> int:
    return len(os.sched_getaffinity(0))
