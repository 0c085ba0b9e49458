"""Where this user's cache lies, for everything that can be made or fetched again."""

from __future__ import annotations

import os
from pathlib import Path

from affectrt.bundle.errors import EngineError

__all__ = ["CACHE_VARIABLE", "cache_folder"]

CACHE_VARIABLE = "AFFECTRT_CACHE_DIR"


def cache_folder(kind: str) -> Path:
    """$AFFECTRT_CACHE_DIR/KIND, else affectrt/KIND in the user's cache; EngineError where this user has no home."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given) / kind
    cache = os.environ.get("XDG_CACHE_HOME")
    if cache and Path(cache).is_absolute():
        return Path(cache) / "affectrt" / kind
    try:
        return Path.home() / ".cache" / "affectrt" / kind
    except RuntimeError:
        raise EngineError(
            f"there is no home directory to keep {kind} in", fix=f"export {CACHE_VARIABLE}=FOLDER"
        ) from None
