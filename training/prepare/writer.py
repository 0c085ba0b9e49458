"""Arrays on disk while they grow, and the folder of a video that is there as a whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from affectrt.runtime.words.word import Word

from ..prepared_record import NPY_HEADER_BYTES, FileRecord

__all__ = ["GrowingArray", "VideoFolder", "recorded", "write_text"]

_BLOCK = 1 << 20


class GrowingArray:
    """An .npy file that rows are appended to; its header, of a fixed length, is written when it is closed."""

    def __init__(self, path: Path, dtype: npt.DTypeLike, row_shape: tuple[int, ...] = ()) -> None:
        self._dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self._file = path.open("wb")
        self._file.write(b" " * NPY_HEADER_BYTES)
        self.rows = 0

    def append(self, rows: npt.ArrayLike) -> None:
        """(n, *row_shape); ValueError for rows of another shape."""
        block = np.ascontiguousarray(rows, self._dtype)
        if block.shape[1:] != self._row_shape:
            raise ValueError(f"rows of {block.shape[1:]}, not {self._row_shape}")
        self._file.write(block.data if block.size else b"")
        self.rows += len(block)

    def close(self) -> None:
        header = io.BytesIO()
        facts = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.rows, *self._row_shape),
        }
        np.lib.format.write_array_header_1_0(header, facts)
        content = header.getvalue()
        if len(content) != NPY_HEADER_BYTES:
            raise ValueError(f"a header of {len(content)} bytes")
        self._file.seek(0)
        self._file.write(content)
        self._file.close()

    def abandon(self) -> None:
        self._file.close()


class VideoFolder:
    """Use in a `with` block: files go to a folder beside `target`, which `finish` puts in its place, else it goes."""

    def __init__(self, target: Path, mark: str) -> None:
        self._target = target
        self.path = target.with_name(f".{target.name}.{mark}.part")
        self._growing: list[GrowingArray] = []

    def __enter__(self) -> VideoFolder:
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for array in self._growing:
            array.abandon()
        shutil.rmtree(self.path, ignore_errors=True)

    def growing(self, name: str, dtype: npt.DTypeLike, row_shape: tuple[int, ...] = ()) -> GrowingArray:
        array = GrowingArray(self.path / f"{name}.npy", dtype, row_shape)
        self._growing.append(array)
        return array

    def array(self, name: str, values: npt.NDArray[Any]) -> None:
        array = self.growing(name, values.dtype, values.shape[1:])
        array.append(values)
        array.close()

    def words(self, words: Sequence[Word]) -> None:
        told = [{"word": word.text, "start": word.start_s, "end": word.end_s} for word in words]
        (self.path / "words.json").write_text(json.dumps({"words": told}, ensure_ascii=False, indent=1) + "\n", "utf-8")

    def files(self) -> dict[str, FileRecord]:
        """Bytes and SHA-256 of everything that was written."""
        return {path.name: recorded(path) for path in sorted(self.path.iterdir())}

    def finish(self) -> None:
        shutil.rmtree(self._target, ignore_errors=True)
        self.path.replace(self._target)


def recorded(path: Path) -> FileRecord:
    """Bytes and SHA-256 of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return FileRecord(bytes=size, sha256=digest.hexdigest())


def write_text(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(path)
