"""Where a training writes to, tried before anything is computed and not after days of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from affectrt.bundle.errors import UsageError

__all__ = ["check_file", "check_folder"]


def check_folder(folder: Path, option: str) -> None:
    """Make a folder. UsageError, which names the option, where it cannot hold a file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"{option}: {folder} cannot be written: {error.strerror or error}",
            expected="a folder, or a place for one",
            fix=f"{option} ANOTHER",
        ) from None


def check_file(path: Path, option: str) -> None:
    """Make the folder of a file. UsageError, which names the option, where the file could not lie in it."""
    if path.is_dir():
        raise UsageError(f"{option}: {path} is a folder", expected="a name for a file", fix=f"{option} ANOTHER")
    check_folder(path.parent, option)
