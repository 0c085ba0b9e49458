"""From what a person types to a source."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import UsageError

from .base import Source, VideoWish
from .file import FileSource

__all__ = ["open_source"]

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.\-]*://")


def open_source(uri_or_path: str | os.PathLike[str], contract: Contract) -> Source:
    """A source, not yet entered, that gives what the contract takes. UsageError for what is not accepted.

    Accepted are paths and `file://` URIs of media files.
    """
    video = VideoWish() if contract.video is not None else None
    rate_hz = contract.audio.sample_rate_hz if contract.audio is not None else None
    if video is None and rate_hz is None:
        raise UsageError("this model takes neither video nor audio", expected="a model with one of them")
    return FileSource(_local_path(uri_or_path), video=video, audio_rate_hz=rate_hz)


def _local_path(given: str | os.PathLike[str]) -> Path:
    if not isinstance(given, str):
        return Path(given)
    if not given or "\0" in given:
        raise UsageError(f"{given!r} is not a path", expected="the path of a media file")
    scheme = _SCHEME.match(given)
    if scheme is None or os.path.exists(given):  # noqa: PTH110 - Path.exists raises for names that are too long
        return Path(given)
    parts = urlsplit(given)
    if parts.scheme.lower() != "file" or parts.netloc not in {"", "localhost"}:
        raise UsageError(
            f"{given}: sources of kind {scheme.group(0)} are not supported",
            expected="the path of a media file, or file:///path",
        )
    return Path(unquote(parts.path))
