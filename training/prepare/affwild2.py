"""Aff-Wild2 as it is given to its users, and every corpus laid out like it.

    <root>/raw_videos/**/<video>.{mp4,avi,...}
    <root>/6th_ABAW_Annotations/VA/{train,validate,test}/<trial>.txt   `valence,arousal`, then one row per picture
    <root>/cropped_aligned/<trial>/<00001>.jpg                         optional: faces, by the picture's number

Rows with -5 in either column are not annotated; they stay in their place, so that the rows after them belong to their
own pictures (the authors' preparation takes pictures 1 … N for the N rows that are kept, and keeps rows with one -5). A
trial `<video>_left` or `<video>_right` is one of two people in `<video>`: it has the video's sound, and a trial of the
bare name beside it is the other person.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from affectrt.bundle.errors import AffectError, UsageError

from ..corpus import MEDIA, MEDIA_SUFFIXES, Split, read_annotation, read_record
from ..prepared_record import Kind, LeftOut
from .one_video import told
from .raw import GivenCrops, RawCorpus, RawVideo, Side, transcript_in

__all__ = ["raw_videos"]

CROPS = "cropped_aligned"
ANNOTATIONS = ("*Annotations/VA", "*Annotations/VA_*")
SPLIT_FOLDERS: Mapping[str, Split] = {
    "train": "train",
    "validate": "validation",
    "test": "test",
    "Train_Set": "train",
    "Validation_Set": "validation",
    "Test_Set": "test",
}
SIDES: Mapping[str, Side] = {"_left": "left", "_right": "right"}
LICENCE = "Aff-Wild2: its licence agreement binds you; neither the corpus nor what is made from it may be passed on."
DRAWN = "Drawn people and synthetic voices, CC0-1.0. No person was recorded."


def raw_videos(root: Path, *, words: Path | None = None, test_trials: Collection[str] = ()) -> RawCorpus:
    """Trials in the order train, validation, test, each by name.

    `words` is a folder with `<video>.json` transcripts. `test_trials` are trials without labels that become the test
    split, as those whose labels the organisers keep. Raises `UsageError` if `root` does not have the layout.
    """
    folders = [path for pattern in ANNOTATIONS for path in sorted(root.glob(pattern)) if path.is_dir()]
    splits = [(folder / name, split) for folder in folders[:1] for name, split in SPLIT_FOLDERS.items()]
    splits = [(folder, split) for folder, split in splits if folder.is_dir()]
    if not splits or not (root / MEDIA).is_dir():
        missing = root / MEDIA if splits else root / "6th_ABAW_Annotations/VA/train"
        raise UsageError(
            f"{root} is not laid out like Aff-Wild2: {missing} is missing",
            expected=f"{MEDIA}/<video>.mp4 and 6th_ABAW_Annotations/VA/{{train,validate}}/<trial>.txt",
            fix=f"give the folder that contains {MEDIA}",
        )
    people, _, seed = read_record(root)
    kind: Kind = "affwild2" if seed is None else "synthetic"
    media = _media(root / MEDIA)
    annotations = [(path, split) for folder, split in splits for path in _texts(folder)]
    trials = [path.stem for path, _ in annotations]
    asked = [name for name in sorted(test_trials) if name not in trials]
    videos: list[RawVideo] = []
    left_out: list[LeftOut] = []
    for annotation, split in annotations:
        try:
            videos.append(_video(root, annotation.stem, split, annotation, media, [*trials, *asked], words, people))
        except AffectError as error:
            reason = told(error.found, root)
            left_out.append(LeftOut(name=annotation.stem, split=split, reason=reason, failed=True))
    for name in asked:
        try:
            videos.append(_video(root, name, "test", None, media, [*trials, *asked], words, people))
        except AffectError as error:
            left_out.append(LeftOut(name=name, split="test", reason=told(error.found, root), failed=True))
    twice = {name for name in trials if trials.count(name) > 1}
    if twice:
        raise UsageError(
            f"{root} has annotations of {', '.join(sorted(twice)[:5])} in two splits",
            fix="remove one of each",
        )
    unused = sorted(set(media) - {video.media.stem for video in videos} - {Path(one.name).stem for one in left_out})
    left_out += [LeftOut(name=name, reason="nobody annotated valence and arousal") for name in unused]
    return RawCorpus(root, kind, LICENCE if kind == "affwild2" else DRAWN, tuple(videos), tuple(left_out))


def _texts(folder: Path) -> Sequence[Path]:
    return [path for path in sorted(folder.glob("*.txt")) if not path.name.startswith(".")]


def _media(folder: Path) -> dict[str, Path]:
    """By name; where there are several of a name, the first path."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in MEDIA_SUFFIXES and not path.name.startswith("."):
            found.setdefault(path.stem, path)
    return found


def _video(
    root: Path,
    name: str,
    split: Split,
    annotation: Path | None,
    media: Mapping[str, Path],
    trials: Collection[str],
    words: Path | None,
    people: Mapping[str, str],
) -> RawVideo:
    base, side = name, None
    for suffix, meant in SIDES.items():
        if name.endswith(suffix) and name not in media:
            base, side = name.removesuffix(suffix), meant
    if side is None:
        others = [meant for suffix, meant in SIDES.items() if f"{name}{suffix}" in trials]
        # The other of two people; beside both a left and a right one, nobody in particular.
        side = {"left": "right", "right": "left"}.get(others[0]) if len(others) == 1 else None  # type: ignore[assignment]
    if base not in media:
        raise AffectError(f"there is no video {MEDIA}/{base}.mp4 (or {', '.join(MEDIA_SUFFIXES[1:])})")
    labels = read_annotation(annotation) if annotation is not None else np.zeros((0, 2), np.float32)
    folder = root / CROPS / name
    return RawVideo(
        name,
        split,
        media[base],
        labels,
        subject=people.get(name),
        crops=GivenCrops(folder) if folder.is_dir() else None,
        side=side,
        words=transcript_in(words, base),
    )
