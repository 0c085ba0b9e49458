"""A whole corpus of made-up clips, laid out as Aff-Wild2's ABAW release is.

    <root>/raw_videos/<clip>.mp4
    <root>/6th_ABAW_Annotations/VA/{train,validate,test}/<clip>.txt   header, then one `valence,arousal` row per picture
    <root>/transcripts/<clip>.words.json                              of a spoken corpus: every word with its times
    <root>/corpus.json                                                what it is, how it was made, every file's SHA-256

The real release keeps the test labels to itself; a made-up corpus can give them away, in `VA/test`.
One clip per person; no person is in two splits.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import UsageError
from affectrt.runtime.words.transcript import write_transcript

from .affect_path import BIAS, FACE_ERROR, RATE_HZ, REGULATION, VOICE_ERROR, WORDS_ERROR, AffectPath, ideal_ccc
from .clip import clip_path, make_clip
from .encode import write_clip
from .identity import make_identity

__all__ = ["GENERATOR_VERSION", "make_corpus"]

GENERATOR_VERSION = 1  # raise it with every change that makes other pictures, sound or truth from the same seed
FORMAT = "affectrt-synthetic-corpus/1"
MANIFEST, UNFINISHED = "corpus.json", ".corpus-unfinished.json"
MEDIA, ANNOTATIONS, TRANSCRIPTS = "raw_videos", "6th_ABAW_Annotations/VA", "transcripts"
SPLIT_FOLDERS = {"train": "train", "validation": "validate", "test": "test"}


@dataclass(frozen=True)
class _Parameters:
    generator_version: int
    seed: int
    train: int
    validation: int
    test: int
    seconds: float
    size_px: int
    spoken: bool = False

    def told(self) -> dict[str, Any]:
        """As the corpus's record has them: a corpus that does not speak says nothing of it."""
        return {name: value for name, value in asdict(self).items() if name != "spoken" or value}

    def clips(self) -> Iterator[tuple[int, str, str]]:
        """(index of the person, split, name of the clip)."""
        counts = (("train", self.train), ("validation", self.validation), ("test", self.test))
        splits = [split for split, count in counts for _ in range(count)]
        for index, split in enumerate(splits):
            yield index, split, f"clip-{index:04d}"


def _check(parameters: _Parameters) -> None:
    problems = []
    if min(parameters.train, parameters.validation, parameters.test) < 0:
        problems.append("a number of people is negative")
    if parameters.train + parameters.validation + parameters.test < 1:
        problems.append("there is nobody in the corpus")
    if not 1 <= parameters.seconds <= 3600:
        problems.append(f"seconds is {parameters.seconds}; a clip lasts 1 to 3600 s")
    if parameters.size_px % 2 or not 32 <= parameters.size_px <= 1080:
        problems.append(f"size_px is {parameters.size_px}; pictures are even-sized, 32 to 1080 pixels")
    if parameters.seed < 0:
        problems.append(f"seed is {parameters.seed}; it must not be negative")
    if problems:
        raise UsageError("; ".join(problems))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _read_record(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}", fix=f"remove {path.parent} and make the corpus again"
        ) from error
    if not isinstance(record, dict) or not isinstance(record.get("clips"), list):
        raise UsageError(f"{path} is not a corpus's record", fix=f"remove {path.parent} and make the corpus again")
    return record


def _annotation(truth: npt.NDArray[np.float32]) -> str:
    return "valence,arousal\n" + "".join(f"{valence:.6f},{arousal:.6f}\n" for valence, arousal in truth)


def _intact(root: Path, clip: Any) -> bool:
    try:
        files = clip["sha256"].items()
        return all((root / path).is_file() and _sha256(root / path) == digest for path, digest in files)
    except (AttributeError, KeyError, TypeError):
        return False


def _make_clip_files(root: Path, parameters: _Parameters, index: int, split: str, name: str) -> dict[str, Any]:
    identity = make_identity(parameters.seed, index)
    clip_seed = _clip_seed(parameters, index)
    clip = make_clip(
        identity, clip_seed, seconds=parameters.seconds, size_px=parameters.size_px, spoken=parameters.spoken
    )
    media = Path(MEDIA) / f"{name}.mp4"
    annotation = Path(ANNOTATIONS) / SPLIT_FOLDERS[split] / f"{name}.txt"
    write_clip(root / media, clip.frames(), fps=clip.fps, samples=clip.samples, sample_rate_hz=clip.sample_rate_hz)
    _write_text(root / annotation, _annotation(clip.truth))
    files, told = [media, annotation], {}
    if parameters.spoken:
        transcript = Path(TRANSCRIPTS) / f"{name}.words.json"
        (root / TRANSCRIPTS).mkdir(parents=True, exist_ok=True)
        write_transcript(root / transcript, clip.words)
        files.append(transcript)
        told = {"words": len(clip.words), "espeak_ng": clip.espeak}
    return {
        "name": name,
        "split": split,
        "identity": identity.name,
        "clip_seed": clip_seed,
        "frames": clip.path.steps,
        **told,
        "sha256": {p.as_posix(): _sha256(root / p) for p in files},
    }


def _clip_seed(parameters: _Parameters, index: int) -> int:
    return parameters.seed * 1_000_003 + index


def _about(parameters: _Parameters) -> dict[str, Any]:
    """What a reader of `corpus.json` should know besides the list of clips."""
    paths: dict[str, list[AffectPath]] = {split: [] for split in SPLIT_FOLDERS}
    for index, split, _ in parameters.clips():
        paths[split].append(clip_path(_clip_seed(parameters, index), parameters.seconds, spoken=parameters.spoken))
    about: dict[str, Any] = {
        "description": "Drawn faces and synthetic voices. No person was recorded. It shows that a pipeline works, "
        "never how well a model reads people.",
        "licence": "CC0-1.0",
        "label_hz": RATE_HZ,
        "labels": "VA/test holds the test labels too, unlike the real release of Aff-Wild2.",
        "errors": {
            "order": ["valence", "arousal"],
            "face_std": FACE_ERROR,
            "voice_std": VOICE_ERROR,
            "identity_bias_std": BIAS,
            "face_voice_correlation": REGULATION,
        },
    }
    shown = "face and voice"
    if parameters.spoken:
        about["errors"]["words_std"] = WORDS_ERROR
        shown = "face, voice and words"
    if paths["train"] and paths["test"]:
        about["ideal_ccc"] = {
            "meaning": f"best linear reading of what {shown} show, 5 instants within 0.8 s of the one asked for, "
            "least squares on train, scored on test; order valence, arousal",
            **ideal_ccc(paths["train"], paths["test"], context_s=1.0),
        }
    return about


@contextmanager
def _bar(total: int, shown: bool) -> Iterator[Callable[[], None]]:
    """Yields what to call after each clip."""
    if not shown:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("making clips"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("clips", total=total)
        yield lambda: progress.advance(task)


def make_corpus(
    root: Path,
    *,
    seed: int = 2024,
    train: int = 44,
    validation: int = 10,
    test: int = 14,
    seconds: float = 24.0,
    size_px: int = 128,
    spoken: bool = False,
    progress: bool = True,
) -> Path:
    """Makes the corpus under `root`, or what is missing of it, and returns the path of its `corpus.json`.

    `train`, `validation`, `test` count people, one clip each. A corpus with the same parameters whose files have their
    recorded hashes is left as it is; an interrupted one is continued; another one in the same place is a `UsageError`.
    `spoken`: they say words, and the corpus has transcripts; MissingDependency without espeak-ng.
    `progress` draws a bar on standard error.
    """
    parameters = _Parameters(GENERATOR_VERSION, seed, train, validation, test, float(seconds), size_px, spoken)
    _check(parameters)
    found = _read_record(root / MANIFEST) or _read_record(root / UNFINISHED) or {}
    if not found and root.is_dir() and any(root.iterdir()):
        raise UsageError(
            f"{root} holds something that is not a made-up corpus",
            expected="a new or empty folder",
            fix="choose another folder",
        )
    if found and found.get("parameters") != parameters.told():
        raise UsageError(
            f"{root} already holds another corpus: {found.get('parameters')}",
            expected=f"an empty folder, or a corpus made with {parameters.told()}",
            fix="choose another folder, or remove this one",
        )
    done = {clip["name"]: clip for clip in found.get("clips", []) if _intact(root, clip)}
    planned = list(parameters.clips())
    if (root / MANIFEST).is_file() and len(done) == len(planned):
        return root / MANIFEST

    for stale in (root / MEDIA).glob(".*.mp4"):  # what a killed run left
        stale.unlink()
    record: dict[str, Any] = {"format": FORMAT, "parameters": parameters.told()}
    _write_text(root / UNFINISHED, json.dumps({**record, "clips": list(done.values())}))
    with _bar(len(planned), progress) as advance:
        for index, split, name in planned:
            if name not in done:
                done[name] = _make_clip_files(root, parameters, index, split, name)
                _write_text(root / UNFINISHED, json.dumps({**record, "clips": list(done.values())}))
            advance()
    _write_text(
        root / MANIFEST,
        json.dumps({**record, **_about(parameters), "clips": [done[name] for _, _, name in planned]}, indent=1) + "\n",
    )
    (root / UNFINISHED).unlink(missing_ok=True)
    return root / MANIFEST
