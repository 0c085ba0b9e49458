"""Which media files a person means: files as they are, folders by what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from affectrt.bundle.errors import UsageError

__all__ = ["media_from_paths"]

MEDIA_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wav", ".ts", ".flac", ".ogg"})
# In a corpus in Aff-Wild2's layout, what was trained on may be looked at; what is tested on may not.
TRAINING_FOLDERS = ("*Annotations/VA/train", "*Annotations/VA*/Train_Set")


def media_from_paths(paths: Sequence[Path], *, every_split: bool = False) -> list[Path]:
    """The media files named by `paths`, in order, none twice; a folder gives those below it, sorted by name.

    Of a folder with annotations in Aff-Wild2's layout only the videos of the training split are taken, unless
    `every_split`: for work of which nothing is learnt.
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
    training = {file.stem for pattern in TRAINING_FOLDERS for file in folder.glob(f"{pattern}/*.txt")}
    return [path for path in media if path.stem in training] if training else media
