"""Reading a corpus in the layout of Aff-Wild2's ABAW releases.

    <root>/raw_videos/**/<video>.{mp4,avi,...}                         the release has them in "batches"
    <root>/6th_ABAW_Annotations/VA/{train,validate,test}/<trial>.txt   `valence,arousal`, then one row per picture
    <root>/transcripts/<video>.words.json                              where there is one: words with their times

A trial `<video>_left` or `<video>_right` is one of two people in `<video>`. A row with -5 is not annotated. The real
release has no `test` labels. `corpus.json`, where present, names the person of each clip.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import AffectError, MediaError, UsageError

__all__ = [
    "Corpus",
    "CorpusVideo",
    "Split",
    "Truth",
    "corpus_around",
    "read_annotation",
    "read_record",
    "transcript_of",
]

Split = Literal["train", "validation", "test"]
Truth = npt.NDArray[np.float32]

RECORD, MEDIA, ANNOTATIONS = "corpus.json", "raw_videos", "6th_ABAW_Annotations/VA"
TRANSCRIPTS, TRANSCRIPT_SUFFIXES = "transcripts", (".words.json", ".ctm", ".vtt", ".srt")
SPLIT_FOLDERS: Mapping[Split, str] = {"train": "train", "validation": "validate", "test": "test"}
MEDIA_SUFFIXES = (".mp4", ".avi", ".mkv", ".webm", ".mov")
HEADER = "valence,arousal"
NOT_ANNOTATED = -5.0
MAX_ANNOTATION_BYTES = 64 << 20  # an hour at 60 pictures a second is 5 MB
SHOWN_PROBLEMS = 10
SYNTHETIC = "affectrt-synthetic-corpus/"


@dataclass(frozen=True, eq=False)
class CorpusVideo:
    """`truth`: (N, 2) valence and arousal in [-1, 1], row i for picture i; NaN, NaN where not annotated.

    `words_path`: its transcript, None where there is none.
    """

    name: str
    media_path: Path
    truth: Truth
    identity: str | None = None
    recorded_hz: float | None = None
    words_path: Path | None = None

    @property
    def label_hz(self) -> float:
        """Rows a second: as recorded with the corpus, otherwise the video file's frame rate, for a row is a picture."""
        if self.recorded_hz is not None:
            return self.recorded_hz
        import cv2

        capture = cv2.VideoCapture(str(self.media_path))
        rate = float(capture.get(cv2.CAP_PROP_FPS)) if capture.isOpened() else 0.0
        capture.release()
        if not 1 <= rate <= 240:
            raise MediaError(
                f"{self.media_path} does not tell its frame rate, so the times of its annotation are unknown",
                expected="a video file that can be opened",
                fix="take the file from the release again, or remove its annotation",
            )
        return rate


def corpus_around(media: Path) -> Path | None:
    """The folder whose `raw_videos`, or a folder below that, holds a media file; None where there is none."""
    return next((folder.parent for folder in media.parents if folder.name == MEDIA), None)


def transcript_of(media: Path) -> Path | None:
    """The transcript of a media file: beside it, or in the `transcripts` of the corpus that holds it."""
    folders = [media.parent]
    if (corpus := corpus_around(media)) is not None:
        folders.append(corpus / TRANSCRIPTS)
    named = (folder / f"{media.stem}{suffix}" for folder in folders for suffix in TRANSCRIPT_SUFFIXES)
    return next((path for path in named if path.is_file()), None)


def _not_a_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return True
    return False


def _first_bad_row(rows: list[str]) -> str:
    for number, row in enumerate(rows, start=2):  # line 1 is the header
        values = row.split(",")
        if len(values) != 2 or any(_not_a_number(value) for value in values):
            return f"line {number} is {row[:60]!r}, not two numbers"
    return "a line is not two numbers"


def _bad(path: Path, found: str) -> AffectError:
    return AffectError(
        f"{path}: {found}",
        expected=f"first line `{HEADER}`, then one row per picture, each value in [-1, 1] or {NOT_ANNOTATED:.0f} "
        "for not annotated",
        fix="take the file from the release again, or remove it to leave its video out",
    )


def read_annotation(path: Path) -> Truth:
    """(N, 2) float32; a row with -5 in either column becomes NaN, NaN. Raises `AffectError` naming the wrong line."""
    if path.stat().st_size > MAX_ANNOTATION_BYTES:
        raise _bad(path, f"{path.stat().st_size >> 20} MiB of text")
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError:
        raise _bad(path, "this is not text") from None
    if not lines:
        raise _bad(path, "the file is empty")
    if lines[0].replace(" ", "") != HEADER:
        raise _bad(path, f"the first line is {lines[0][:60]!r}")
    rows = lines[1:]
    if not rows:
        raise _bad(path, "there are no rows below the header")
    try:
        if not all(rows):  # loadtxt would skip empty lines and shift all that follow
            raise ValueError
        values = np.loadtxt(rows, delimiter=",", comments=None, ndmin=2)
        if values.shape != (len(rows), 2):
            raise ValueError
    except ValueError:
        raise _bad(path, _first_bad_row(rows)) from None
    missing = (values == NOT_ANNOTATED).any(axis=1)
    outside = ~(np.abs(values) <= 1).all(axis=1) & ~missing
    outside |= ~np.isfinite(values).all(axis=1)
    if outside.any():
        line = int(np.argmax(outside))
        raise _bad(path, f"line {line + 2} is {rows[line][:60]!r}, outside [-1, 1] ({int(outside.sum())} such rows)")
    values[missing] = np.nan
    return values.astype(np.float32)


def read_record(root: Path) -> tuple[dict[str, str], float | None, int | None]:
    """Who is in each clip, rows a second, and the seed of drawn people, from `corpus.json` if there is one."""
    path = root / RECORD
    if not path.is_file():
        return {}, None, None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        people = {str(clip["name"]): str(clip["identity"]) for clip in record["clips"]}
        drawn = str(record.get("format")).startswith(SYNTHETIC)
        return people, float(record["label_hz"]), int(record["parameters"]["seed"]) if drawn else None
    except (ValueError, KeyError, TypeError) as error:
        raise AffectError(
            f"{path} cannot be read: {error!r}",
            expected="the record that was written with the corpus",
            fix=f"make the corpus in {root} again",
        ) from error


@dataclass(frozen=True, eq=False)
class Corpus:
    root: Path
    splits: tuple[Split, ...]
    identities: Mapping[str, str]
    recorded_hz: float | None
    drawn_from: int | None = None
    """The seed of drawn people: two corpora of one seed draw the same ones, those of two name others alike."""

    @classmethod
    def open(cls, root: Path) -> Corpus:
        """Raises `UsageError` if `root` does not have the layout; reads no annotation yet."""
        annotations = root / ANNOTATIONS
        splits = tuple(split for split in get_args(Split) if (annotations / SPLIT_FOLDERS[split]).is_dir())
        if not splits or not (root / MEDIA).is_dir():
            missing = annotations if not splits else root / MEDIA
            raise UsageError(
                f"{root} is not a corpus: {missing} is missing",
                expected=f"{MEDIA}/<video>.mp4 and {ANNOTATIONS}/{{train,validate}}/<trial>.txt, as in Aff-Wild2",
                fix="give the folder that contains raw_videos",
            )
        return cls(root, splits, *read_record(root))

    @property
    def name(self) -> str:
        return self.root.resolve().name

    @property
    def label_hz(self) -> float:
        """Rows a second of every annotation, where the corpus records one rate for all; see `CorpusVideo.label_hz`."""
        if self.recorded_hz is None:
            raise UsageError(f"{self.root} records no common label rate; every video has the rate of its pictures")
        return self.recorded_hz

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the record, which holds every file's hash; without one, of the annotations and media sizes."""
        if (self.root / RECORD).is_file():
            return hashlib.sha256((self.root / RECORD).read_bytes()).hexdigest()
        digest = hashlib.sha256()
        media = (path for path in (self.root / MEDIA).rglob("*") if path.is_file())
        files = [*(self.root / ANNOTATIONS).glob("*/*.txt"), *media]
        for path in sorted([*files, *(self.root / TRANSCRIPTS).glob("*.*")]):
            small = path.suffix == ".txt" or path.parent.name == TRANSCRIPTS
            told = hashlib.sha256(path.read_bytes()).hexdigest() if small else path.stat().st_size
            digest.update(f"{path.relative_to(self.root).as_posix()} {told}\n".encode())
        return digest.hexdigest()

    def videos(self, split: str) -> list[CorpusVideo]:
        """The split's annotated videos by name. All that is wrong with them is said in one `AffectError`."""
        folder = next((SPLIT_FOLDERS[known] for known in self.splits if known == split), None)
        if folder is None:
            raise UsageError(
                f"{self.root} has no labels for the split {split!r}",
                expected=" or ".join(repr(s) for s in self.splits),
                fix="choose one of these",
            )
        media: dict[str, Path] = {}
        for path in sorted((self.root / MEDIA).rglob("*")):
            if path.suffix.lower() in MEDIA_SUFFIXES and not path.name.startswith("."):
                media.setdefault(path.stem, path)
        videos: list[CorpusVideo] = []
        problems: list[AffectError] = []
        for path in sorted((self.root / ANNOTATIONS / folder).glob("*.txt")):
            if path.name.startswith("."):
                continue
            try:
                videos.append(self._video(path, media))
            except AffectError as problem:
                problems.append(problem)
        if len(problems) == 1:
            raise problems[0]
        if problems:
            more = len(problems) - SHOWN_PROBLEMS
            shown = [problem.found for problem in problems[:SHOWN_PROBLEMS]]
            raise AffectError(
                "\n".join([f"{len(problems)} problems in {self.root}:", *shown, *([f"... {more} more"] * (more > 0))]),
                expected=problems[0].expected,
                fix=problems[0].fix,
            )
        if not videos:
            raise AffectError(
                f"{self.root / ANNOTATIONS / folder} holds no annotations",
                expected="one <trial>.txt per video",
                fix="copy the release's annotations there, or choose another split",
            )
        return videos

    def _video(self, annotation: Path, media: Mapping[str, Path]) -> CorpusVideo:
        name = annotation.stem
        path = media.get(name) or media.get(name.removesuffix("_left").removesuffix("_right"))
        if path is None:
            raise AffectError(
                f"{annotation}: there is no video of this name",
                expected=f"{self.root / MEDIA / name}.mp4 (or {', '.join(MEDIA_SUFFIXES[1:])})",
                fix="put the video there, or remove the annotation",
            )
        return CorpusVideo(
            name,
            path,
            read_annotation(annotation),
            self.identities.get(name),
            self.recorded_hz,
            transcript_of(path),
        )
