"""A person's own recordings: videos, and their annotation as CSV.

    <root>/**/<video>.{mp4,...}
    <root>/**/<video>.csv      beside each video: time,valence,arousal
    <root>/labels.csv          or for all of them: video,time,valence,arousal, and perhaps person, split
    <root>/videos.csv          optional: video, and perhaps person, split

Times are seconds of media time. An empty value, or -5, is not annotated. `split` is train, validation or test. Without
it, people are drawn into splits by shares and a seed, all videos of one person into the same; a video whose person is
not told counts as a person of its own.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from affectrt.bundle.errors import UsageError, listed

from ..corpus import MEDIA_SUFFIXES, NOT_ANNOTATED, Split
from ..prepared_record import LeftOut
from .one_video import told
from .raw import RawCorpus, RawVideo, transcript_in

__all__ = ["SHARES", "raw_videos"]

LABELS, INDEX = "labels.csv", "videos.csv"
COLUMNS = ("time", "valence", "arousal")
SHARES: Mapping[Split, float] = {"train": 0.7, "validation": 0.15, "test": 0.15}
MAX_CSV_BYTES = 1 << 30
LICENCE = "Own recordings: what the people in them agreed to binds you."

Rows = list[tuple[float, float, float]]


def raw_videos(
    root: Path, *, words: Path | None = None, shares: Mapping[Split, float] = SHARES, seed: int = 0
) -> RawCorpus:
    """Videos by path, named after their files. Raises `UsageError` with all that is wrong with the folder."""
    media = [p for p in sorted(root.rglob("*")) if p.suffix.lower() in MEDIA_SUFFIXES and not p.name.startswith(".")]
    if not root.is_dir() or not media:
        raise UsageError(f"{root} holds no videos", expected=f"files named {' '.join(MEDIA_SUFFIXES)}, and CSVs")
    names = [path.stem for path in media]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(listed(f"{root} has several videos of one name", twice), fix="rename them")
    annotated, facts, problems = _all_rows(root, media)
    splits, wrong = _splits(names, facts, shares, seed)
    if problems := [*problems, *wrong]:
        raise UsageError(
            listed(f"the annotation in {root} cannot be read", [told(p, root) for p in problems]),
            expected="columns time,valence,arousal (in one file for all: video too); values in [-1, 1], empty or -5",
            fix="correct these lines",
        )
    videos, left_out = [], []
    for path in media:
        rows = annotated.get(path.stem, [])
        split = splits[path.stem]
        if not rows and split != "test":
            left_out.append(LeftOut(name=path.stem, split=split, reason="it has no annotation"))
            continue
        table = np.array(sorted(rows), np.float64).reshape(-1, 3)
        videos.append(
            RawVideo(
                path.stem,
                split,
                path,
                table[:, 1:].astype(np.float32),
                subject=facts.get(path.stem, {}).get("person"),
                label_times_s=table[:, 0],
                words=transcript_in(words, path.stem),
            )
        )
    return RawCorpus(root, "folder", LICENCE, tuple(videos), tuple(left_out))


def _all_rows(root: Path, media: Sequence[Path]) -> tuple[dict[str, Rows], dict[str, dict[str, str]], list[str]]:
    """Annotation rows by video, what else is told of the videos, and what is wrong."""
    rows: defaultdict[str, Rows] = defaultdict(list)
    facts: defaultdict[str, dict[str, str]] = defaultdict(dict)
    problems: list[str] = []
    known = {path.stem: path for path in media} | {path.name: path for path in media}
    for shared in (root / LABELS, root / INDEX):
        needed = ("video", *COLUMNS) if shared.name == LABELS else ("video",)
        for line, row in _lines(shared, needed, problems):
            path = known.get(row["video"])
            if path is None:
                problems.append(f"{shared}: line {line} names {row['video']!r}, which is no video there")
                continue
            facts[path.stem] |= {key: row[key] for key in ("person", "split") if row.get(key)}
            if shared.name == LABELS:
                _add(rows[path.stem], shared, line, row, problems)
    for path in media:
        own = path.with_suffix(".csv")
        if own not in {root / LABELS, root / INDEX}:
            for line, row in _lines(own, COLUMNS, problems):
                _add(rows[path.stem], own, line, row, problems)
    for name, told_rows in rows.items():
        if len({time for time, _, _ in told_rows}) != len(told_rows):
            problems.append(f"{name} is annotated twice at the same time")
    return rows, facts, problems


def _lines(path: Path, needed: Sequence[str], problems: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, column → text) of a CSV file; nothing where there is no such file."""
    if not path.is_file():
        return
    if path.stat().st_size > MAX_CSV_BYTES:
        problems.append(f"{path} has more than {MAX_CSV_BYTES >> 20} MiB")
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [name.strip().lower() for name in reader.fieldnames or ()]
            if lacking := [name for name in needed if name not in columns]:
                problems.append(f"{path} has no column {', '.join(lacking)}")
                return
            reader.fieldnames = columns
            for row in reader:
                yield (
                    reader.line_num,
                    {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)},
                )
    except (UnicodeDecodeError, csv.Error) as error:
        problems.append(f"{path} is not CSV: {error}")


def _add(rows: Rows, path: Path, line: int, row: Mapping[str, str], problems: list[str]) -> None:
    try:
        time, valence, arousal = (float(row[name]) if row[name] else NOT_ANNOTATED for name in COLUMNS)
    except ValueError:
        problems.append(f"{path}: line {line} holds something that is not a number")
        return
    if NOT_ANNOTATED in (valence, arousal):
        valence = arousal = np.nan
    elif not (abs(valence) <= 1 and abs(arousal) <= 1):
        problems.append(f"{path}: line {line} has {valence:g}, {arousal:g}, outside [-1, 1]")
        return
    if not 0 <= time < float("inf"):
        problems.append(f"{path}: line {line} has no time in seconds")
        return
    rows.append((time, valence, arousal))


def _splits(
    names: Sequence[str], facts: Mapping[str, Mapping[str, str]], shares: Mapping[Split, float], seed: int
) -> tuple[dict[str, Split], list[str]]:
    given = {name: facts[name]["split"] for name in names if facts.get(name, {}).get("split")}
    if given:
        known = get_args(Split)
        problems = [f"{name} is in the split {split!r}" for name, split in given.items() if split not in known]
        problems += [f"{name} has no split, and others have" for name in names if name not in given]
        by_name: dict[str, Split] = {n: s for n in names for s in get_args(Split) if given.get(n) == s}
        return by_name, problems
    person = {name: facts.get(name, {}).get("person") or f"video {name}" for name in names}
    people = sorted(set(person.values()))
    order = [people[at] for at in np.random.default_rng(seed).permutation(len(people))]
    ends = np.floor(np.cumsum([shares[split] for split in SHARES]) / sum(shares.values()) * len(people) + 0.5)
    of_person = {
        who: next(split for split, end in zip(SHARES, ends, strict=True) if at < end) for at, who in enumerate(order)
    }
    return {name: of_person[person[name]] for name in names}, []
