"""CSV for spreadsheets and data frames: one row of column names, then one row an estimate.

The file holds nothing but the table; the header of the run lies beside it in NAME.csv.json. Unknown values are empty
fields, booleans are true and false, modalities are joined by "+". A run with text has the column words_until_s.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..estimate import Estimate
from .base import Header, rounded_record
from .lines import Lines, check_place

__all__ = ["COLUMNS", "CsvSink"]

COLUMNS = (
    "t_s",
    "valence",
    "arousal",
    "track",
    "modalities",
    "face_px",
    "face_score",
    "audio",
    "frames_dropped",
    "warming_up",
    "age_ms",
    "source",
)
_TEXT_COLUMNS = ("words_until_s",)


class CsvSink:
    """Writes the table to `path` and the run's header to `path` + ".json"."""

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path = path
        self.header_path = path.with_name(path.name + ".json")
        for place in (path, self.header_path):
            check_place(place, overwrite=overwrite)
        self.name = str(path)
        self._overwrite = overwrite
        self._lines: Lines | None = None
        self._header: Header | None = None
        self._columns: tuple[str, ...] = COLUMNS

    def open(self, header: Header) -> None:
        self._lines = Lines.to_file(self.path, overwrite=self._overwrite)
        self._header = header
        self._columns = COLUMNS + (_TEXT_COLUMNS if "text" in header.modalities else ())
        self._lines.append([_row(self._columns)])
        with Lines.to_file(self.header_path, overwrite=self._overwrite) as beside:
            beside.append([json.dumps(header.as_record(), allow_nan=False, ensure_ascii=False, indent=2)])

    def write(self, estimates: Sequence[Estimate]) -> None:
        header = self._header
        if self._lines is None or header is None:
            raise ValueError(f"{self.name} is not open")
        table = [_flat(estimate, header) for estimate in estimates]
        self._lines.append([_row([_field(flat[c]) for c in self._columns]) for flat in table])

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    def __enter__(self) -> CsvSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _flat(estimate: Estimate, header: Header) -> dict[str, Any]:
    record = rounded_record(estimate, header)
    return {**record, **record["quality"], "modalities": "+".join(record["modalities"])}


def _field(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _row(fields: Sequence[str]) -> str:
    # A line break within a source's name would tear a row in two for readers that go line by line.
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([" ".join(field.splitlines()) for field in fields])
    return text.getvalue()
