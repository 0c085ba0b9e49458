"""One build at a time: two that race would time their kernels against each other, and share one timing cache."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from affectrt.bundle.errors import EngineError
from affectrt.bundle.plain_files import os_reason
from affectrt.bundle.strict_json import plain_text

__all__ = ["build_lock"]

LOCK_NAME = "build.lock"
MAX_TOLD_BYTES = 2048


@contextmanager
def build_lock(folder: Path, what: str, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a cache folder, and `say` what is being waited for where another process holds it.

    The lock goes with the process that holds it, however that ends. Raises EngineError where the folder cannot be used.
    """
    path = folder / LOCK_NAME
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise EngineError(
            f"{path} cannot be used: {os_reason(error)}",
            expected="a folder that this user may write to",
            fix="choose another with --cache-dir FOLDER",
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another build: {_holder(descriptor)}; Ctrl-C stops waiting")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        _tell(descriptor, json.dumps({"pid": os.getpid(), "builds": what, "since": now}))
        yield
        _tell(descriptor, "")
    finally:
        os.close(descriptor)


def _tell(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _holder(descriptor: int) -> str:
    """`process 4711 builds video int8 since 2026-…`, as far as the file tells."""
    try:
        told = json.loads(os.pread(descriptor, MAX_TOLD_BYTES, 0))
        text = f"process {told['pid']} builds {told['builds']} since {told['since']}"
    except (ValueError, TypeError, KeyError):
        return "by a process that does not say more"
    return plain_text(text)
