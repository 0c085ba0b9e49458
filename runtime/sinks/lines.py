"""A file or a stream to which whole lines are appended, so that it is valid at any moment."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import TracebackType

from affectrt.bundle.errors import AffectError, UsageError

from .base import ReaderGone

__all__ = ["Lines", "check_place"]


def check_place(path: Path, *, overwrite: bool) -> None:
    """UsageError when `path` cannot become an output file; nothing is created yet."""
    if path.is_dir():
        raise UsageError(f"{path} is a directory", expected="the path of a file to write")
    if not path.parent.is_dir():
        raise UsageError(f"the folder {path.parent} does not exist", fix=f"mkdir -p {path.parent}")
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{path} exists already", fix="choose another name, or add --overwrite")


class Lines:
    """Appends lines, without a buffer of our own: each `append` is one write of whole lines.

    A process killed between two calls leaves whole lines. When the disk is full the file is cut back to the last
    whole line and AffectError is raised. On a pipe whose reader has gone, ReaderGone is raised.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor: int | None = descriptor
        self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)

    @classmethod
    def to_file(cls, path: Path, *, overwrite: bool) -> Lines:
        """A new file; with `overwrite` an existing one is emptied. Never a file that appeared meanwhile."""
        check_place(path, overwrite=overwrite)
        how = os.O_TRUNC if overwrite else os.O_EXCL
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o666)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}", fix="choose another name") from None
        return cls(descriptor, str(path))

    @classmethod
    def to_stdout(cls) -> Lines:
        return cls(os.dup(1), "standard output")

    def append(self, lines: list[str]) -> None:
        """Write `lines`, none of which holds a line break."""
        if self._descriptor is None:
            raise ValueError(f"{self.name} is closed")
        if not lines:
            return
        content = memoryview("".join(f"{line}\n" for line in lines).encode())
        whole = os.lseek(self._descriptor, 0, os.SEEK_CUR) if self._is_file else 0
        try:
            while content:
                content = content[os.write(self._descriptor, content) :]
        except BrokenPipeError:
            raise ReaderGone(self.name) from None
        except OSError as error:
            if self._is_file:
                os.ftruncate(self._descriptor, whole)
                os.lseek(self._descriptor, whole, os.SEEK_SET)
            raise AffectError(
                f"{self.name} cannot be written: {error.strerror}",
                expected="room on the disk",
                fix="what was written before is whole and stays",
            ) from None

    def close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
