"""What `affectrt run --words` asks for: a transcriber for each source, and sources that carry its words."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from affectrt.bundle.contract import Contract
    from affectrt.runtime.sources import Source
    from affectrt.runtime.words.transcriber import Transcriber

__all__ = ["carrying", "transcribers", "words_by"]


def transcribers(asked: str, contract: Contract, sources: Sequence[str]) -> list[Transcriber | None]:
    """One a source; one line on standard error for each source that gets none although it could.

    UsageError where one transcript is to be that of several sources.
    """
    from affectrt.bundle import UsageError
    from affectrt.runtime.words.choosing import choose_transcriber, takes_words
    from affectrt.runtime.words.transcript import SUFFIXES

    if len(sources) > 1 and Path(asked).suffix.lower() in SUFFIXES and ":" not in asked:
        raise UsageError(f"--words {asked} for several sources", fix="put a transcript beside each: clip.mp4, clip.vtt")
    found = [choose_transcriber(asked, contract, source) for source in sources]
    if asked == "auto" and takes_words(contract):
        for source, one in zip(sources, found, strict=True):
            if one is None:
                _tell_none(source)
    return found


def carrying(source: str, contract: Contract, transcriber: Transcriber | None, **how: Any) -> Source:
    """The source, not yet entered, with the transcriber's words if there is one; `how` as for `open_source`."""
    from affectrt.runtime.sources import open_source
    from affectrt.runtime.words.spoken import with_words

    if transcriber is None:
        return open_source(source, contract, **how)
    return with_words(open_source(source, contract, words_rate_hz=transcriber.sample_rate_hz, **how), transcriber)


def words_by(source: Source) -> str | None:
    """The name of the transcriber whose words a source, once entered, has."""
    from affectrt.runtime.words.spoken import transcriber_of

    return transcriber_of([source]) if "text" in source.modalities else None


def _tell_none(source: str) -> None:
    from affectrt.runtime.sources.uri import parse_source

    name = "+".join(part.public for part in parse_source(source))
    print(
        f"affectrt: warning: no words of {name}: no transcript is beside it and no recogniser is installed; text is "
        "missing (pip install 'affectrt[text]', or --words none)",
        file=sys.stderr,
    )
