"""`affectrt transcribe MEDIA… --out FILE_OR_FOLDER`: what is said in media, written down because a person asked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affectrt.bundle.errors import MediaError, UsageError, listed

from .run_telling import logs_on_stderr

if TYPE_CHECKING:
    from affectrt.runtime.words.listening import Listened
    from affectrt.runtime.words.transcriber import Transcriber
    from affectrt.training.punctuation import Punctuation

__all__ = ["transcribe"]

_ENDING = ".words.json"
_Show = Callable[[float, "float | None"], None]


def transcribe(
    media: Annotated[
        list[Path], typer.Argument(metavar="MEDIA...", help="Media files, or folders with media in them.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE|FOLDER", help="NAME.json for one recording; else a folder, for NAME.words.json of each."
        ),
    ],
    words: Annotated[
        str, typer.Option(metavar="WHO", help="Who listens: pocketsphinx, vosk:DIR or sherpa:DIR. See docs/text.md.")
    ] = "pocketsphinx",
    punctuation: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL_DIR",
            help="Put full stops, question marks and commas onto the words: a token classifier in Hugging Face's "
            "layout. Needs PyTorch.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace transcripts that exist already.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no summary, only warnings.")] = False,
) -> None:
    """Write down the words of MEDIA with their times, for --words of other commands. Pictures are not looked at.

    The paths of the transcripts go to standard output. What people say is on your disk then: keep it as you would keep
    the recording. Exit code 1: a recording could not be read, or only in part (what could be read is written), or the
    recogniser failed on it (nothing is); the others are transcribed all the same. 2: wrong use.
    """
    from affectrt.runtime.words.transcript import write_transcript

    from .media import media_from_paths

    files = media_from_paths(media, every_split=True)
    targets = _targets(files, out, overwrite)
    listener = _listener(words)
    marks = _punctuation(punctuation)
    failures: list[MediaError] = []
    in_part = False
    with logs_on_stderr(as_json=False, quiet=quiet):
        for number, (file, target) in enumerate(zip(files, targets, strict=True)):
            # Made anew for each: it was closed with the last recording.
            hearing = listener if number == 0 else _listener(words)
            try:
                with _bar(f"{number + 1}/{len(files)} {file.name}", hidden=quiet) as show:
                    heard = _heard(file, hearing, show)
            except MediaError as error:
                failures.append(error)
                continue
            said = heard.words
            if marks is not None:
                with _bar(f"{number + 1}/{len(files)} punctuation", hidden=quiet) as show:
                    said = marks.onto(said, show)
            target.parent.mkdir(parents=True, exist_ok=True)
            _refuse_existing([target], overwrite)
            write_transcript(target, said)
            typer.echo(target)
            for note in heard.outcome.notes:
                print(f"affectrt: warning: {note.message}", file=sys.stderr)
            in_part = in_part or not heard.outcome.complete
            if not quiet:
                by = hearing.name if marks is None else f"{hearing.name}, punctuation by {marks.name}"
                print(f"{file.name}: {len(said)} words in {heard.heard_s:.1f} s of sound, by {by}", file=sys.stderr)
    if failures and len(files) == 1:
        raise failures[0]
    if failures:
        raise MediaError(
            listed(f"{len(failures)} of {len(files)} recordings have no transcript", [str(e) for e in failures])
        )
    if in_part:
        raise typer.Exit(1)


def _targets(files: Sequence[Path], out: Path, overwrite: bool) -> list[Path]:
    """Where each transcript goes; UsageError before any work is done."""
    suffix = out.suffix.lower()
    if suffix == ".json" and not out.is_dir():
        if len(files) > 1:
            raise UsageError(f"--out {out} for {len(files)} recordings", fix=f"--out {out.stem}, a folder")
        targets = [out]
    elif suffix in {".ctm", ".vtt", ".srt", ".txt"} and not out.is_dir():
        raise UsageError(f"--out {out}: transcripts are written as JSON", fix=f"--out {out.with_suffix(_ENDING)}")
    elif out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file", expected="a folder, or a name that ends in .json")
    else:
        targets = [out / f"{file.stem}{_ENDING}" for file in files]
    takers: dict[Path, Path] = {}
    for file, target in zip(files, targets, strict=True):
        if takers.setdefault(target, file) != file:
            raise UsageError(
                f"{takers[target]} and {file} would both be {target}", fix="transcribe them into two folders"
            )
    if same := {target.resolve() for target in targets} & {file.resolve() for file in files}:
        raise UsageError(f"{min(same)} is both recording and transcript", fix="write to another file")
    _refuse_existing(targets, overwrite)
    return targets


def _refuse_existing(targets: Sequence[Path], overwrite: bool) -> None:
    there = [str(target) for target in targets if target.exists() or target.is_symlink()]
    if there and not overwrite:
        raise UsageError(listed("exist already", there), fix="--overwrite replaces them")
    if folders := [target for target in targets if target.is_dir()]:
        raise UsageError(f"{folders[0]} is a folder", expected="a transcript, or nothing yet")


def _listener(words: str) -> Transcriber:
    from affectrt.runtime.words.choosing import recogniser_named

    found = recogniser_named(words)
    if found is None:
        raise UsageError(f"--words {words} does not listen", expected="pocketsphinx, vosk:DIR or sherpa:DIR")
    return found


def _punctuation(directory: Path | None) -> Punctuation | None:
    if directory is None:
        return None
    from affectrt.training.punctuation import Punctuation

    return Punctuation(directory)


def _heard(file: Path, listener: Transcriber, show: _Show | None) -> Listened:
    from affectrt.runtime.sources.file import FileSource
    from affectrt.runtime.words.listening import listen

    heard = listen(FileSource(file, audio_rate_hz=listener.sample_rate_hz), listener, show)
    if heard.failed:
        raise MediaError(
            f"{file}: {listener.name} failed after {heard.heard_s:.1f} s of sound (see above); nothing is written",
            fix="another recogniser: --words vosk:DIR or sherpa:DIR",
        )
    return heard


@contextmanager
def _bar(what: str, *, hidden: bool) -> Iterator[_Show | None]:
    """On standard error with the time that is left; gone at the end."""
    if hidden or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
