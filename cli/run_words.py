"""Which of the words after a bundle are sources and which are sinks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from affectrt.bundle import UsageError

__all__ = ["told_apart"]

# Suffixes that a source as well as a sink may have.
_MEDIA = {".mp4", ".mkv"}


def told_apart(words: Sequence[str], *, overwrite: bool = False) -> tuple[list[str], list[str]]:
    """Sources and sinks, in order; the first word is always a source.

    A sink is `-` or has the suffix of one. A video that exists is read, never written over: UsageError where
    `overwrite` makes it doubtful what is meant. What is neither is refused as a sink that is not known.
    """
    from affectrt.runtime.sinks.opening import SUFFIXES, open_sink

    sources, sinks = list(words[:1]), []
    for word in words[1:]:
        suffix = Path(word).suffix.lower()
        exists = _exists(word)
        if word != "-" and ("://" in word or (exists and suffix not in SUFFIXES)):
            sources.append(word)
        elif suffix in _MEDIA and exists:
            if overwrite:
                raise UsageError(
                    f"{word} exists already, and may be meant as a source or as an overlay to replace",
                    fix=f"remove it for a new overlay, or write file://{Path(word).absolute()} to read it",
                )
            sources.append(word)
        elif word == "-" or suffix in SUFFIXES:
            sinks.append(word)
        else:
            open_sink(word)  # says which sinks are known
    same = {Path(source).resolve() for source in sources} & {Path(sink).resolve() for sink in sinks if sink != "-"}
    if same:
        raise UsageError(f"{sorted(map(str, same))[0]} is both source and sink", fix="write to another file")
    return sources, sinks


def _exists(word: str) -> bool:
    try:
        return os.path.exists(word)  # noqa: PTH110 - Path.exists raises for names that are too long
    except ValueError:
        return False
