"""From what a person types to a sink."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from affectrt.bundle.errors import UsageError

from .base import Sink
from .csv import CsvSink
from .jsonl import JsonLinesSink
from .overlay import OverlaySink

__all__ = ["SUFFIXES", "open_sink", "open_sinks"]

SUFFIXES: dict[str, Callable[..., Sink]] = {
    ".jsonl": JsonLinesSink,
    ".csv": CsvSink,
    ".mp4": OverlaySink,
    ".mkv": OverlaySink,
}


def open_sink(uri_or_path: str | os.PathLike[str], *, overwrite: bool = False) -> Sink:
    """A sink chosen by the file's suffix, `-` for JSON Lines on standard output; no file is touched yet.

    UsageError for an unknown suffix, a folder that does not exist, or a file that does without `overwrite`.
    """
    given = os.fspath(uri_or_path)
    if given == "-":
        return JsonLinesSink(None)
    path = Path(given)
    make = SUFFIXES.get(path.suffix.lower())
    if make is None or "\0" in given or "://" in given:
        raise UsageError(
            f"{given!r} is not a sink that is known",
            expected=f"a file name ending in {', '.join(SUFFIXES)}, or - for standard output",
        )
    return make(path, overwrite=overwrite)


def open_sinks(uris: Sequence[str | os.PathLike[str]], *, overwrite: bool = False) -> list[Sink]:
    """All sinks of a run. UsageError also when two of them are one file."""
    places = [given if (given := os.fspath(uri)) == "-" else str(Path(given).resolve()) for uri in uris]
    twice = sorted({place for place in places if places.count(place) > 1})
    if twice:
        raise UsageError(f"{', '.join(twice)} is named as a sink more than once", fix="name each sink once")
    return [open_sink(uri, overwrite=overwrite) for uri in uris]
