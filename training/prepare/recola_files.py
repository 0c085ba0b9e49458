"""RECOLA's small files: gold standards of three kinds, and the image lists of CAV's authors."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import AffectError, UsageError, listed
from affectrt.bundle.plain_files import chunks, open_plain, os_reason

from .raw import GivenCrops

__all__ = ["GOLD_STANDARD", "LISTS", "Images", "image_lists", "read_ratings"]

GOLD_STANDARD = ("ratings_gold_standard", "Ratings_affective_behaviour_CCC_centred")
LISTS = ("train.txt", "dev.txt", "test.txt")
STEM_LETTERS = 5  # of a picture's name before its number
STEM = re.compile(rf"(.{{{STEM_LETTERS}}})(\d{{1,9}})")
MAX_BYTES = 256 << 20
_NEAR_S = 1e-3


def read_ratings(path: Path, hz: float) -> npt.NDArray[np.float64]:
    """(rows,) values in [-1, 1], one every 1 / hz seconds from 0 on. Raises `AffectError` that names the wrong line.

    A CSV with times has a column of them first, perhaps a header, and `,` or `;` between; one without is numbers alone.
    """
    lines = _lines(path)
    timed = path.parent.parent.name == GOLD_STANDARD[1]
    rows, value_at, time_at = list(enumerate(lines, start=1)), 0, None
    if path.suffix.lower() == ".arff":
        at = next((number for number, line in rows if line.strip().lower() == "@data"), None)
        if at is None:
            raise _bad(path, "there is no line @data")
        # ARFF allows comments and empty lines; several programs write one after @data.
        rows = [(number, line) for number, line in rows[at:] if line.strip() and not line.lstrip().startswith("%")]
        value_at, time_at = -1, 1
    elif timed:
        value_at, time_at = 1, 0
        if lines and not _numbers(lines[0]):
            rows = rows[1:]
    values, times = np.zeros(len(rows)), np.zeros(len(rows))
    for index, (number, line) in enumerate(rows):
        row = _cells(line)
        try:
            values[index] = float(row[value_at])
            times[index] = float(row[time_at]) if time_at is not None else 0
        except (ValueError, IndexError):
            what = "numbers" if time_at is None else "time and value"
            raise _bad(path, f"line {number} is {line[:60]!r}, not {what}") from None
    if not len(values):
        raise _bad(path, "there are no rows")
    if time_at is None and len(values) > 2 and np.allclose(np.diff(values), 1 / hz, rtol=0, atol=_NEAR_S):
        raise AffectError(
            f"{path}: column 0 is a time",
            expected="the gold standard in column 0, or name, time and gold standard in an .arff",
            fix=f"put the files below {GOLD_STANDARD[1]}, where time and value are expected",
        )
    if time_at is not None:
        late = np.abs(times - np.arange(len(times)) / hz) > _NEAR_S
        if late.any():
            row_at = int(np.argmax(late))
            raise _bad(path, f"line {rows[row_at][0]} is at {times[row_at]:g} s instead of {row_at / hz:g} s")
    outside = ~(np.abs(values) <= 1)
    if outside.any():
        row_at = int(np.argmax(outside))
        raise _bad(path, f"line {rows[row_at][0]} has {values[row_at]:g}, outside [-1, 1]")
    return values


def _bad(path: Path, found: str) -> AffectError:
    return AffectError(
        f"{path}: {found}",
        expected="one row every 0.04 s from 0 on, each value in [-1, 1]",
        fix="take the file from the release again",
    )


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.replace(";", ",").split(",")]


def _numbers(line: str) -> bool:
    try:
        return bool([float(cell) for cell in _cells(line)])
    except ValueError:
        return False


def _lines(path: Path) -> list[str]:
    try:
        with open_plain(path) as (descriptor, size):
            content = b"".join(chunks(descriptor, min(size, MAX_BYTES + 1)))
    except OSError as error:
        raise AffectError(f"{path} {os_reason(error)}") from None
    if len(content) > MAX_BYTES:
        raise AffectError(f"{path} has more than {MAX_BYTES >> 20} MiB")
    try:
        return content.decode("utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError:
        raise AffectError(f"{path}: this is not text") from None


@dataclass(frozen=True)
class Images:
    """One subject's pictures in a list: `pictures` up to the highest number; those without a file show no face."""

    path: Path
    crops: GivenCrops
    pictures: int
    notes: tuple[str, ...] = ()


@dataclass
class _Listed:
    numbers: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    shells: set[tuple[str, str]] = field(default_factory=set)  # what stands before and after the number
    last_line: int = 0


def image_lists(root: Path) -> dict[str, Images]:
    """Subject → its pictures, {} without lists. Raises `UsageError` with all that is wrong with the lists."""
    images: dict[str, Images] = {}
    problems: list[str] = []
    for name in LISTS:
        if not (root / name).is_file():
            continue
        subjects: defaultdict[str, _Listed] = defaultdict(_Listed)
        for number, line in enumerate(_lines(root / name), start=1):
            if problem := _take(line, number, subjects):
                problems.append(f"{name}: line {number}: {problem}")
        for subject, of_subject in subjects.items():
            if subject in images:
                problems.append(f"{name}: {subject} is in another list, too")
            elif not (wrong := _problems(root, of_subject)):
                images[subject] = _images(root, name, of_subject)
            else:
                problems += [f"{name}: {subject}: {problem}" for problem in wrong]
    if problems:
        raise UsageError(
            listed(f"the image lists of {root} cannot be used", problems),
            expected="`path/of/<subject>/<5 letters><number>.jpg label`, one line a picture, subject after subject",
            fix="correct these lines, or remove the lists and give --faces found",
        )
    return images


def _take(line: str, number: int, subjects: dict[str, _Listed]) -> str | None:
    """What is wrong with a line, else None."""
    words = line.split()
    path = PurePosixPath(words[0]) if words else PurePosixPath()
    if len(words) not in {1, 2} or len(path.parts) < 2:
        return f"{line[:60]!r} is not a path and a label"
    if path.is_absolute() or ".." in path.parts:
        return f"{words[0][:60]!r} leads out of the corpus"
    matched = STEM.fullmatch(path.stem)
    if matched is None or "{" in path.name or "}" in path.name:
        return f"{path.name[:60]!r} is not {STEM_LETTERS} letters and a number"
    of_subject = subjects[path.parent.name]
    if of_subject.numbers and of_subject.last_line != number - 1:
        return f"{path.parent.name} comes back after another subject"
    of_subject.last_line = number
    of_subject.numbers.append(int(matched[2]))
    of_subject.texts.append(matched[2])
    of_subject.folders.add(path.parent.as_posix())
    of_subject.shells.add((matched[1], path.suffix))
    return None


def _problems(root: Path, of_subject: _Listed) -> list[str]:
    if len(of_subject.folders) > 1 or len(of_subject.shells) > 1:
        return ["its pictures lie in several folders, or are named in several ways"]
    if len(set(of_subject.numbers)) < len(of_subject.numbers):
        return ["a picture is listed twice"]
    if _width(of_subject.texts) is None:
        return ["some numbers are filled with zeros to one length, others to another"]
    (folder,), ((prefix, suffix),) = of_subject.folders, of_subject.shells
    try:
        there = {path.name for path in (root / folder).iterdir()}
    except OSError as error:
        return [f"{folder} {os_reason(error)}"]
    lacking = [text for text in of_subject.texts if f"{prefix}{text}{suffix}" not in there]
    if lacking:
        return [f"{len(lacking)} of its pictures are not there, the first is {folder}/{prefix}{lacking[0]}{suffix}"]
    return []


def _width(texts: list[str]) -> int | None:
    """Digits of a number filled with zeros, 0 where they are not filled; None of a mixture."""
    if all(text == str(int(text)) for text in texts):
        return 0
    return len(texts[0]) if len({len(text) for text in texts}) == 1 else None


def _images(root: Path, name: str, of_subject: _Listed) -> Images:
    (folder,), ((prefix, suffix),) = of_subject.folders, of_subject.shells
    width = _width(of_subject.texts)
    number = f"{{:0{width}d}}" if width else "{}"
    first = 0 if 0 in of_subject.numbers else 1
    crops = GivenCrops(root / folder, f"{prefix}{number}{suffix}", first)
    beyond = crops.numbers() - {n + 1 - first for n in of_subject.numbers}
    notes = (f"{len(beyond)} pictures that are not in {name} are used as well",) if beyond else ()
    return Images(root / name, crops, max(of_subject.numbers) + 1 - first, notes)
