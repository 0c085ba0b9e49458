"""Plain files, read without trust: never through a symbolic link, never blocking, never more than asked for."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

__all__ = ["chunks", "open_plain", "os_reason"]

CHUNK_BYTES = 1 << 20


class open_plain:  # noqa: N801 - reads as a verb in a `with` line
    """Open a regular file, never through a symbolic link and never blocking on a pipe: (descriptor, size)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> tuple[int, int]:
        self.descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        status = os.fstat(self.descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(self.descriptor)
            raise OSError("is not a plain file")
        return self.descriptor, status.st_size

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def chunks(descriptor: int, limit: int) -> Iterator[bytes]:
    """The content up to `limit` bytes: a file that grows while it is read does not fill memory."""
    left = limit
    while left > 0 and (chunk := os.read(descriptor, min(CHUNK_BYTES, left))):
        left -= len(chunk)
        yield chunk


def os_reason(error: OSError) -> str:
    """Why a file could not be read, as the end of a sentence that begins with its name."""
    if error.errno == errno.ELOOP:
        return "is a symbolic link"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "is missing"
    return error.strerror or str(error)
