"""Which media files a person means: files as they are, folders by what is in them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from affectrt.bundle.errors import UsageError

__all__ = ["media_from_paths"]

MEDIA_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wav", ".ts", ".flac", ".ogg"})
# In a corpus in Aff-Wild2's layout, what was trained on may be looked at; what is tested on may not.
ANNOTATIONS = "*Annotations/VA*/*/*.txt"
TRAINING_FOLDERS = {"train", "Train_Set"}
# Of two people in a video each has a trial of their own.
SIDES = ("_left", "_right")
# Own recordings: who is in which split, as `affectrt prepare folder` reads it.
INDEX = "videos.csv"


def media_from_paths(paths: Sequence[Path], *, every_split: bool = False) -> list[Path]:
    """The media files named by `paths`, in order, none twice; a folder gives those below it, sorted by name.

    Of a folder that says which split a video is in, by annotations in Aff-Wild2's layout or the column `split` of its
    videos.csv, only videos of the training split are taken, unless `every_split`: for work of which nothing is learnt.
    Raises UsageError when a path does not exist or there is no media file at all.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found.update(dict.fromkeys(_media_below(path, every_split)))
        elif path.exists():
            found[path] = None
        else:
            raise UsageError(f"{path} does not exist", expected="media files or folders with media files in them")
    prepared = [path for path in paths if (path / "corpus.json").is_file() and (path / "videos").is_dir()]
    if not found and prepared:
        raise UsageError(
            f"{prepared[0]} is a prepared corpus, which holds crops and sound but no media",
            expected="media files or folders with media files in them",
            fix="give the folder that it was prepared from",
        )
    if not found:
        raise UsageError(
            f"no media files in {', '.join(str(path) for path in paths) or 'nothing'}",
            expected=f"files named {' '.join(sorted(MEDIA_SUFFIXES))}",
        )
    return list(found)


def _media_below(folder: Path, every_split: bool) -> list[Path]:
    media = sorted(p for p in folder.rglob("*") if p.suffix.lower() in MEDIA_SUFFIXES and p.is_file())
    if every_split:
        return media
    wanted = _training_names(folder)
    return [path for path in media if path.stem in wanted or path.name in wanted] if wanted else media


def _training_names(folder: Path) -> set[str]:
    """Names of the videos that are in the training split alone; none where the folder says nothing of splits."""
    trials: dict[bool, set[str]] = {True: set(), False: set()}
    for file in folder.glob(ANNOTATIONS):
        side = next((side for side in SIDES if file.stem.endswith(side)), "")
        trials[file.parent.name in TRAINING_FOLDERS].add(file.stem.removesuffix(side))
    return (trials[True] - trials[False]) | _named_for_training(folder / INDEX)


def _named_for_training(index: Path) -> set[str]:
    try:
        with index.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
            rows = [{key: value.strip() for key, value in row.items() if key and value} for row in reader]
    except FileNotFoundError:
        return set()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{index} cannot be read: {error}", expected="CSV with the columns video, split") from None
    return {row["video"] for row in rows if row.get("split") == "train" and "video" in row}
