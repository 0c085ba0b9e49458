"""What a search has measured so far, on disk, so that one that was killed goes on where it stopped.

JSON lines. The first names the format and a key, the hash of everything that decides a measurement; each further one is
a finished measurement of a candidate, which is named by the hash of its graphs. Lines are appended and synced one by
one: what was killed in mid-line is torn, is no measurement, and is cut off. Nothing else is believed before it is
checked either, and a file that is no record is left alone.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from affectrt.bundle.errors import UsageError
from affectrt.bundle.manifest import Sha256
from affectrt.bundle.modalities import Record
from affectrt.bundle.strict_json import problems_from_validation, value_from_json

from .judging import Comparison

__all__ = ["SearchRecord"]

FORMAT = b'{"format": "affectrt-search"'
MAX_BYTES = 16 << 20  # a measurement takes about 600 bytes


class _Header(Record):
    format: Literal["affectrt-search"]
    version: Literal[1]
    key: Sha256


class _Error(Record):
    """Relative error of a stage's output."""

    of: Sha256
    error: Annotated[float, Field(ge=0)]


class _Score(Record):
    """What was compared, or how many estimates were `lost`, so that nothing was."""

    of: Sha256
    lost: Annotated[int, Field(ge=0)]
    ccc: dict[str, Comparison]


class SearchRecord:
    """Use in a `with` block; `path` None remembers in memory alone. `taken_over` says what was found on disk.

    `itself` is FP32 compared with itself: every score must have been measured against the same. Raises UsageError when
    `path` is no plain file, is another kind of file, or is in use.
    """

    def __init__(self, path: Path | None, key: str, itself: Mapping[str, Comparison]) -> None:
        self.taken_over = ""
        self._path, self._key, self._itself = path, key, itself
        self._errors: dict[str, float] = {}
        self._scores: dict[str, tuple[int, dict[str, Comparison]]] = {}
        self._file: int | None = None

    def error(self, of: str) -> float | None:
        return self._errors.get(of)

    def score(self, of: str) -> tuple[int, Mapping[str, Comparison]] | None:
        return self._scores.get(of)

    def put_error(self, of: str, error: float) -> None:
        self._errors[of] = error
        if math.isfinite(error):  # JSON has no other; a graph that gives none is soon measured again
            self._append(_Error(of=of, error=error))

    def put_score(self, of: str, lost: int, ccc: Mapping[str, Comparison]) -> None:
        self._scores[of] = (lost, dict(ccc))
        self._append(_Score(of=of, lost=lost, ccc=dict(ccc)))

    def __enter__(self) -> SearchRecord:
        if self._path is not None:
            self._file = _open_alone(self._path)
            try:
                self._take_over(self._path)
            except BaseException:
                self.__exit__(None, None, None)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, line: Record) -> None:
        if self._file is not None:
            os.write(self._file, json.dumps(line.model_dump(mode="json"), allow_nan=False).encode() + b"\n")
            os.fsync(self._file)

    def _take_over(self, path: Path) -> None:
        """Read what is there, and cut off what cannot be used."""
        assert self._file is not None
        with open(self._file, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES or content[: len(FORMAT)] != FORMAT[: len(content)]:
            raise UsageError(
                f"{path} is not the record of a search",
                expected="no such file, or one that a search left when it was stopped",
                fix="name another file, or move this one away",
            )
        head, *lines = content.split(b"\n")
        good, problem = 0, self._wrong_header(head) if lines else ""
        if lines and not problem:
            good = len(head) + 1
            for number, line in enumerate(lines[:-1], 2):
                try:
                    self._believe(line)
                except ValueError as error:
                    why = problems_from_validation(error)[0] if isinstance(error, ValidationError) else str(error)
                    problem = f"line {number} and what follows is left out: {why}"
                    break
                good += len(line) + 1
        os.ftruncate(self._file, good)
        if good == 0:
            self._append(_Header(format="affectrt-search", version=1, key=self._key))
        found = len(self._errors) + len(self._scores)
        parts = [f"{found} finished measurements of {path} are taken over" if found else "", problem]
        self.taken_over = "; ".join(part for part in parts if part)

    def _wrong_header(self, line: bytes) -> str:
        try:
            value_from_json(line)
            header = _Header.model_validate_json(line, strict=True)
        except ValueError:
            return f"{self._path} begins with no header of this version, so it is begun anew"
        return "" if header.key == self._key else f"{self._path} is of another search, so it is begun anew"

    def _believe(self, line: bytes) -> None:
        """Keep a measurement that may be true; ValueError says why another may not."""
        value = value_from_json(line)
        kind = _Error if isinstance(value, dict) and "error" in value else _Score
        entry: _Error | _Score = kind.model_validate_json(line, strict=True)
        if isinstance(entry, _Error):
            self._errors[entry.of] = entry.error
            return
        if entry.ccc.keys() != (set() if entry.lost else self._itself.keys()):
            raise ValueError(f"it compares {', '.join(entry.ccc) or 'nothing'} and lost {entry.lost} estimates")
        for name, found in entry.ccc.items():
            if not _fits(found, self._itself[name]):
                raise ValueError(f"its figures of {name} contradict each other or FP32's")
        self._scores[entry.of] = (entry.lost, entry.ccc)


def _fits(found: Comparison, itself: Comparison) -> bool:
    """Whether the figures can be true of one another and of FP32, whose own are known."""
    close = 1e-9
    loss = found.loss
    return (
        abs(found.reference.value - itself.reference.value) <= close
        and abs(found.candidate.value) <= 1 + close
        and abs(found.reference.value - found.candidate.value - loss.value) <= close
        and (loss.low is None) == (loss.high is None) == (itself.loss.high is None)
        and (loss.low is None or loss.high is None or loss.low <= loss.high)
    )


def _open_alone(path: Path) -> int:
    """The file of a record, made if need be, and locked: two searches would mix their lines."""
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UsageError(
            f"the record {path} cannot be opened: {error.strerror}", expected="a plain file", fix="name another file"
        ) from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise UsageError(f"{path} is not a plain file", expected="the record of a search", fix="name another file")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise UsageError(f"another search is writing {path}", fix="wait until it has ended") from None
    except BaseException:
        os.close(file)
        raise
    return file
