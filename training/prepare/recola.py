"""RECOLA: as AVEC 2016 gave it, as its own site gives it, and as CAV's authors cut it up (papers' code, C1).

Below the root, of each kind the first that is there:

    gold standard  ratings_gold_standard/{valence,arousal}/<subject>.csv       C1: no header, column 0
                   ratings_gold_standard/{valence,arousal}/<subject>.arff      AVEC 2016: name, time, gold standard
                   Ratings_affective_behaviour_CCC_centred/{valence,arousal}/<subject>.csv   RECOLA: time, value
    recording      recordings_video/<subject>.mp4, Video_recordings_MP4/<subject>.mp4 (.avi, ...)
    crops          train.txt, dev.txt (test.txt): `path/of/<subject>/<5 letters><number>.jpg label`, paths from the root
    sound          recordings_audio/<subject>.wav, Audio_recordings_WAV/<subject>.wav
                   *shift_1_window_128/{train,dev}/<subject>/<k>.wav           C1: windows of 128 pictures

A subject is `train_1` … `dev_9` (`test_1` …), whose split is its name's, or `P<id>` with AVEC 2016's partitions. Which
id is which `train_k` is not published: names are never translated. A subject needs a recording or crops. `papers.md`
§1.1 has C1's files, AVEC's ids and no folder names; `ratings_gold_standard`, `*shift_1_window_128`, `recordings_audio`
and RECOLA's own three are what published code of several groups reads, `recordings_video` and the lists' names are
unconfirmed.

Labels: median filter of 3 (scipy's `medfilt`), then 58 rows of valence and 68 of arousal at 25 Hz (2.32 s, 2.72 s) are
cut off the beginning, for people annotate late: row i then belongs to i / 25 s, and the last rows have no label. C1
counts pictures from 1 and rows from 0, so that its pictures lag one behind; here picture 1 has row 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import AffectError, UsageError

from ..corpus import MEDIA_SUFFIXES, Split, Truth
from ..prepared_record import LeftOut
from .one_video import told
from .raw import RawCorpus, RawVideo, transcript_in
from .recola_files import GOLD_STANDARD, LISTS, Images, image_lists, read_ratings
from .stills import Stills

__all__ = ["ANNOTATION_HZ", "DELAYS", "PARTITIONS", "gold_standard", "raw_videos"]

ANNOTATION_HZ = 25.0
DELAYS: Mapping[str, int] = {"valence": 58, "arousal": 68}
PARTITIONS: Mapping[Split, tuple[int, ...]] = {
    "train": (16, 21, 23, 25, 37, 39, 41, 46, 56),
    "validation": (19, 26, 28, 30, 34, 42, 45, 64, 65),
    "test": (13, 20, 32, 38, 47, 49, 53, 59, 63),
}
SPLITS: Mapping[str, Split] = {"train": "train", "dev": "validation", "test": "test"}
RECORDINGS = ("recordings_video", "Video_recordings_MP4")
SOUND = ("recordings_audio", "Audio_recordings_WAV")
WINDOWS = "*shift_1_window_128"
SUBJECT = re.compile(r"(?:(train|dev|test)_[1-9]\d?|P(\d{1,3}))")
LICENCE = "RECOLA: its licence agreement binds you; neither the corpus nor what is made from it may be passed on."
_EXPECTED = (
    "ratings_gold_standard/{valence,arousal}/train_1.csv (or .arff) and recordings_video/train_1.mp4, or RECOLA's own "
    "Ratings_affective_behaviour_CCC_centred and Video_recordings_MP4 with P16, or C1's train.txt and dev.txt"
)


def raw_videos(root: Path, *, words: Path | None = None) -> RawCorpus:
    """Subjects in the order train, validation, test, each by number; `words` is a folder with `<subject>.json`.

    Raises `UsageError` if `root` does not have a layout, or an image list is wrong, with all that is. A subject whose
    gold standard or sound cannot be used is told as left out, failed.
    """
    images = image_lists(root)
    ratings = {name: dict(_subjects(root, folder, (".csv", ".arff"))) for name, folder in _rating_folders(root)}
    recordings = _first(root, RECORDINGS, MEDIA_SUFFIXES)
    if not ratings or not (images or recordings):
        lacking = "there are no pictures" if ratings else "there is no gold standard"
        raise UsageError(
            f"{root} is not laid out like RECOLA: {lacking}",
            expected=_EXPECTED,
            fix="give the folder that holds these, or rename yours",
        )
    sound = _first(root, SOUND, (".wav",))
    for folder in sorted(root.glob(f"{WINDOWS}/*")):
        sound = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir()} | sound
    known = set(images) | set(recordings)
    told_of = known.union(*ratings.values())
    videos: list[RawVideo] = []
    left_out: list[LeftOut] = []
    for subject, split in sorted(((s, _split(s)) for s in told_of), key=lambda each: _order(*each)):
        if split is None:
            left_out.append(LeftOut(name=subject, reason="it is in none of AVEC 2016's partitions"))
            continue
        try:
            if subject not in known:
                raise AffectError(f"it has a gold standard, but no recording and no line in {' or '.join(LISTS)}")
            labels = _labels(subject, split, ratings)
            videos.append(_video(subject, split, labels, images, recordings, sound, words))
        except AffectError as error:
            left_out.append(LeftOut(name=subject, split=split, reason=told(error.found, root), failed=True))
    return RawCorpus(root, "recola", LICENCE, tuple(videos), tuple(left_out))


def gold_standard(ratings: npt.NDArray[np.float64], dimension: str) -> npt.NDArray[np.float32]:
    """(rows,) as given → (rows,) with the label of every row's picture, NaN at the end, where there is none.

    C1 audiovisualdataset_new.py:65-78. At both ends the filter sees a 0 beside the row, as scipy's does.
    """
    padded = np.pad(ratings, 1).astype(np.float32)
    filtered = cv2.medianBlur(padded[None, :], 3)[0, 1:-1]
    labels = np.full(len(ratings), np.nan, np.float32)
    delay = DELAYS[dimension]
    labels[: max(0, len(ratings) - delay)] = filtered[delay:]
    return labels


def _rating_folders(root: Path) -> list[tuple[str, Path]]:
    """(dimension, its folder); C1 has the folder twice, one in the other."""
    for name in GOLD_STANDARD:
        for folder in (root / name / name, root / name):
            if any((folder / dimension).is_dir() for dimension in DELAYS):
                if lacking := [dimension for dimension in DELAYS if not (folder / dimension).is_dir()]:
                    raise UsageError(
                        f"{folder / lacking[0]} is missing",
                        expected="a folder of each dimension's gold standard",
                        fix="bring it from the release, even if one dimension is trained",
                    )
                return [(dimension, folder / dimension) for dimension in DELAYS]
    return []


def _subjects(root: Path, folder: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Files named after a subject; UsageError where one subject has two."""
    seen: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in suffixes and SUBJECT.fullmatch(path.stem):
            if (other := seen.get(path.stem)) is not None:
                raise UsageError(
                    f"{told(str(other), root)} and {path.name} are both of {path.stem}", fix="remove one of them"
                )
            seen[path.stem] = path
            yield path.stem, path


def _first(root: Path, folders: tuple[str, ...], suffixes: tuple[str, ...]) -> dict[str, Path]:
    found = [dict(_subjects(root, root / name, suffixes)) for name in folders]
    return next((files for files in found if files), {})


def _split(subject: str) -> Split | None:
    matched = SUBJECT.fullmatch(subject)
    if matched is None:
        return None
    if matched[1]:
        return SPLITS[matched[1]]
    return next((split for split, ids in PARTITIONS.items() if int(matched[2]) in ids), None)


def _order(subject: str, split: Split | None) -> tuple[int, int, str]:
    number = re.search(r"\d+$", subject)
    return list(SPLITS.values()).index(split) if split else 3, int(number[0]) if number else 0, subject


def _labels(subject: str, split: Split, ratings: Mapping[str, Mapping[str, Path]]) -> Truth:
    lacking = [dimension for dimension in DELAYS if subject not in ratings[dimension]]
    if len(lacking) == len(DELAYS) and split == "test":
        return np.zeros((0, 2), np.float32)  # AVEC kept them
    if lacking:
        raise AffectError(f"it has no gold standard of {' and '.join(lacking)}")
    columns = {dimension: read_ratings(ratings[dimension][subject], ANNOTATION_HZ) for dimension in DELAYS}
    rows = {dimension: len(values) for dimension, values in columns.items()}
    if len(set(rows.values())) != 1:
        raise AffectError(f"its valence has {rows['valence']} rows, its arousal {rows['arousal']}")
    if rows["valence"] <= max(DELAYS.values()):
        raise AffectError(f"its gold standard has {rows['valence']} rows, no more than people annotate late")
    return np.stack([gold_standard(columns[dimension], dimension) for dimension in DELAYS], axis=1)


def _video(
    subject: str,
    split: Split,
    labels: Truth,
    images: Mapping[str, Images],
    recordings: Mapping[str, Path],
    sound: Mapping[str, Path],
    words: Path | None,
) -> RawVideo:
    listed_images, recording = images.get(subject), recordings.get(subject)
    stills = None
    if recording is None:
        assert listed_images is not None
        stills = Stills(max(len(labels), listed_images.pictures), ANNOTATION_HZ)
        recording = listed_images.path
    return RawVideo(
        subject,
        split,
        recording,
        labels,
        subject=subject,
        label_times_s=np.arange(len(labels)) / ANNOTATION_HZ,
        audio=sound.get(subject),
        crops=listed_images.crops if listed_images is not None else None,
        words=transcript_in(words, subject),
        stills=stills,
        notes=listed_images.notes if listed_images is not None else (),
    )
