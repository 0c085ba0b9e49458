"""What the ranges were computed from: which files, how much of them, and which emotions were in it.

Kept in the bundle as the attachment `calibration`, `calibration/data.json`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError, model_validator

from affectrt.bundle.errors import BundleError, MediaError, UsageError
from affectrt.bundle.manifest import Sha256
from affectrt.bundle.modalities import Record, StageName
from affectrt.bundle.strict_json import plain_text, problems_from_validation, value_from_json

__all__ = ["CalibrationData", "Coverage", "DataFile", "MediaFile", "check_disjoint", "describe_data"]

CELLS = 8
MAX_BYTES = 4 << 20
CHUNK_BYTES = 1 << 20
SHOWN_FILES = 10
REPEAT = "affectrt calibrate the bundle again"

Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, eq=False)
class MediaFile:
    """A recording and what a corpus says of it. `people`: who is in it, by names that mean one person everywhere.

    `truth` (rows, 2): valence and arousal in [-1, 1], NaN where not annotated; None where nobody annotated.
    Size and hash are read when they are first asked for; MediaError where they cannot be.
    """

    path: Path
    people: tuple[str, ...] = ()
    truth: npt.NDArray[np.floating] | None = None

    @cached_property
    def size_bytes(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise _unreadable(self.path, error) from None

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        try:
            with self.path.open("rb") as file:
                while block := file.read(CHUNK_BYTES):
                    digest.update(block)
        except OSError as error:
            raise _unreadable(self.path, error) from None
        return digest.hexdigest()


class DataFile(Record):
    """A file that was read; `name` is without its folder. `people`, where a corpus names them."""

    name: Annotated[str, Field(min_length=1, max_length=300)]
    sha256: Sha256
    size_bytes: Count
    seconds: Annotated[float, Field(ge=0)]
    people: tuple[str, ...] = ()


class Coverage(Record):
    """How much of the valence-arousal plane the annotation of the files touches.

    `counts[i][j]`: annotated rows with valence in cell i and arousal in cell j of 8 equal ones from -1 to 1. They are
    of whole files: which of their rows were recorded is not known.
    """

    rows: Annotated[int, Field(ge=1)]
    share_touched: Annotated[float, Field(gt=0, le=1)]
    counts: tuple[tuple[Count, ...], ...]

    @model_validator(mode="after")
    def _check(self) -> Coverage:
        if [len(row) for row in self.counts] != [CELLS] * CELLS:
            raise ValueError(f"counts are not {CELLS} rows of {CELLS}")
        if self.rows != sum(map(sum, self.counts)):
            raise ValueError(f"the counts add up to {sum(map(sum, self.counts))}, not to {self.rows} rows")
        if abs(self.share_touched - _share_touched(self.counts)) > 1e-9:
            raise ValueError(f"{_share_touched(self.counts)} of the cells are touched, not {self.share_touched}")
        return self


class CalibrationData(Record):
    """`windows`: stage → recorded inputs. `seconds`: media read, of all files. `coverage`: null without annotation."""

    format_version: Literal[1] = 1
    files: Annotated[tuple[DataFile, ...], Field(min_length=1)]
    seconds: Annotated[float, Field(ge=0)]
    windows: dict[StageName, Annotated[int, Field(ge=1)]]
    coverage: Coverage | None = None

    def as_json(self) -> bytes:
        return self.model_dump_json(indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> CalibrationData:
        """Of a bundle from anyone; raises BundleError that names everything wrong with it."""
        where = "the facts of the calibration data"
        if len(content) > MAX_BYTES:
            raise BundleError(f"{where} have {len(content)} bytes", expected=f"at most {MAX_BYTES}", fix=REPEAT)
        try:
            value_from_json(content)
            return cls.model_validate_json(content, strict=True)
        except ValidationError as error:
            problems = "\n".join(f"  {problem}" for problem in problems_from_validation(error))
            raise BundleError(f"{where} do not follow the format:\n{problems}", fix=REPEAT) from None
        except ValueError as error:
            raise BundleError(f"{where} cannot be read: {error}", fix=REPEAT) from None


def describe_data(
    files: Sequence[MediaFile], seconds: Mapping[Path, float], windows: Mapping[str, int]
) -> CalibrationData:
    """`seconds`: of each file that was read, how much; files that are not in it were not read and are left out.

    `windows`: stage → recorded inputs.
    """
    read = [file for file in files if file.path in seconds]
    return CalibrationData(
        files=tuple(
            DataFile(
                name=plain_text(file.path.name),
                sha256=file.sha256,
                size_bytes=file.size_bytes,
                seconds=round(seconds[file.path], 3),
                people=tuple(plain_text(person) for person in file.people),
            )
            for file in read
        ),
        seconds=round(sum(seconds[file.path] for file in read), 3),
        windows=dict(windows),
        coverage=_coverage([file.truth for file in read if file.truth is not None]),
    )


def check_disjoint(calibration: Sequence[MediaFile], evaluation: Sequence[MediaFile]) -> None:
    """UsageError where both sets hold the same file or show the same person, which it names.

    A candidate whose ranges fit what it is judged on looks better than it is. The same file is one of equal content,
    whatever its name; a recording that was encoded anew is not recognised, unless a corpus says who is in it.
    """
    by_size: dict[int, list[MediaFile]] = defaultdict(list)
    by_person: dict[str, MediaFile] = {}
    for file in evaluation:
        by_size[file.size_bytes].append(file)
        for person in file.people:
            by_person.setdefault(person, file)
    problems = [problem for file in calibration if (problem := _overlap(file, by_size, by_person))]
    if not problems:
        return
    more = len(problems) - SHOWN_FILES
    listed = [f"  {problem}" for problem in problems[:SHOWN_FILES]] + [f"  … and {more} more"] * (more > 0)
    count = f"{len(problems)} of {len(calibration)} calibration file{'s' * (len(calibration) > 1)}"
    raise UsageError(
        "\n".join([f"{count} overlap{'s' * (len(problems) == 1)} with the evaluation set:", *listed]),
        expected="calibration on other files and other people than the candidates are judged on",
        fix="leave these files out of MEDIA, or evaluate on another split or corpus",
    )


def _overlap(
    file: MediaFile, by_size: Mapping[int, Sequence[MediaFile]], by_person: Mapping[str, MediaFile]
) -> str | None:
    # Only files of equal size are hashed: a corpus has tens of gigabytes.
    same = next((other for other in by_size.get(file.size_bytes, ()) if other.sha256 == file.sha256), None)
    name = plain_text(file.path.name)
    if same is not None:
        other = plain_text(same.path.name)
        return f"{name} is in both" if other == name else f"{name} has the content of {other}"
    shared = [person for person in file.people if person in by_person]
    if shared:
        people = ", ".join(plain_text(person) for person in shared)
        return f"{name} shows {people}, as {plain_text(by_person[shared[0]].path.name)} does"
    return None


def _coverage(truths: Sequence[npt.NDArray[np.floating]]) -> Coverage | None:
    known = [truth[~np.isnan(truth).any(axis=1)] for truth in truths]
    rows = np.concatenate(known) if known else np.zeros((0, 2))
    if len(rows) == 0:
        return None
    cells = np.clip(np.floor((rows.astype(np.float64) + 1) / 2 * CELLS), 0, CELLS - 1).astype(np.int64)
    counted = np.bincount(cells[:, 0] * CELLS + cells[:, 1], minlength=CELLS**2).reshape(CELLS, CELLS)
    counts = tuple(tuple(int(count) for count in row) for row in counted)
    return Coverage(rows=len(rows), share_touched=_share_touched(counts), counts=counts)


def _share_touched(counts: Sequence[Sequence[int]]) -> float:
    return sum(count > 0 for row in counts for count in row) / CELLS**2


def _unreadable(path: Path, error: OSError) -> MediaError:
    return MediaError(f"{path} cannot be read: {error.strerror or error}", expected="a media file", fix="name others")
