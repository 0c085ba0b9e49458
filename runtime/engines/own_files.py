"""Files that this user alone could have written, for what becomes executable code when it is loaded.

An engine or a timing cache is not parsed but believed by TensorRT. A hash beside it keeps damage away, not a person who
may write both; so the file must belong to the user who runs this (or to root, who could replace the program itself) and
nobody else may be able to write it.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from affectrt.bundle.plain_files import chunks, open_plain

__all__ = ["read_own", "write_own"]


def read_own(path: Path, limit: int) -> bytes:
    """The content of a plain file of at most `limit` bytes; raises OSError that ends a sentence about the file."""
    if path.parent.is_symlink():
        raise OSError(f"lies in {path.parent.name}, which is a symbolic link")
    with open_plain(path) as (descriptor, size):
        status = os.fstat(descriptor)
        if status.st_uid not in (os.geteuid(), 0):
            raise OSError(f"belongs to user {status.st_uid}, not to user {os.geteuid()}, who runs this")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise OSError(f"may be written by others: its mode is {stat.S_IMODE(status.st_mode):03o}")
        if size > limit:
            raise OSError(f"has {size} bytes, more than {limit}")
        content = b"".join(chunks(descriptor, limit))
    if len(content) != size:
        raise OSError(f"changed while it was read: {len(content)} bytes, not {size}")
    return content


def write_own(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, readable by its owner alone; makes its folder. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".new-{path.name}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise
