"""JSON Lines: the first line is the header, every further line one estimate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..estimate import Estimate
from .base import Header, rounded_record
from .lines import Lines, check_place

__all__ = ["JsonLinesSink"]


class JsonLinesSink:
    """Writes to `path`, or to standard output when it is None. Every line is on its way when `write` returns."""

    def __init__(self, path: Path | None, *, overwrite: bool = False) -> None:
        if path is not None:
            check_place(path, overwrite=overwrite)
        self.path = path
        self.name = "-" if path is None else str(path)
        self._overwrite = overwrite
        self._lines: Lines | None = None
        self._header: Header | None = None

    def open(self, header: Header) -> None:
        if self.path is None:
            self._lines = Lines.to_stdout()
        else:
            self._lines = Lines.to_file(self.path, overwrite=self._overwrite)
        self._header = header
        self._lines.append([_line(header.as_record())])

    def write(self, estimates: Sequence[Estimate]) -> None:
        header = self._header
        if self._lines is None or header is None:
            raise ValueError(f"{self.name} is not open")
        self._lines.append([_line(rounded_record(estimate, header)) for estimate in estimates])

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    def __enter__(self) -> JsonLinesSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
