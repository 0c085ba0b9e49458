"""From what a person asks for (`--words`) to a transcriber."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import UsageError

from ..sources.uri import parse_source
from .pocketsphinx import PocketSphinx
from .sherpa import Sherpa
from .transcriber import Transcriber
from .transcript import SUFFIXES, TranscriptFile
from .vosk import Vosk

__all__ = ["choose_transcriber", "recogniser_named", "takes_words", "transcript_beside"]

_BESIDE = (".words.json", ".ctm", ".vtt", ".srt")
_FORMS = "auto, none, FILE.json, FILE.ctm, FILE.vtt, FILE.srt, pocketsphinx, vosk:DIR or sherpa:DIR"


def takes_words(contract: Contract) -> bool:
    """Whether the model encodes words."""
    return contract.text is not None and contract.text.stage is not None


def choose_transcriber(text: str, contract: Contract, media: str | None) -> Transcriber | None:
    """The transcriber for one source, whose URI or path is `media`; None where there are to be no words.

    `auto`: the transcript beside a media file, else PocketSphinx if it is installed, else none. UsageError for what is
    not understood, for a model that takes no words, and for what a transcriber cannot use; MissingDependency for one
    that is not installed.
    """
    if text == "none" or (text == "auto" and not takes_words(contract)):
        return None
    if not takes_words(contract):
        raise UsageError(f"--words {text}: this model takes no words", fix="leave --words out")
    if text == "auto":
        beside = transcript_beside(media)
        if beside is not None:
            return TranscriptFile(beside)
        return PocketSphinx() if find_spec("pocketsphinx") is not None else None
    listener = recogniser_named(text)
    if listener is not None:
        return listener
    if Path(text).suffix.lower() in SUFFIXES:
        return TranscriptFile(text)
    raise UsageError(f"--words {text} is not understood", expected=_FORMS)


def recogniser_named(text: str) -> Transcriber | None:
    """The one called `pocketsphinx`, `vosk:DIR` or `sherpa:DIR`; None for what is no recogniser.

    UsageError where the directory is missing or no model; MissingDependency where the package is not installed.
    """
    kind, _, place = text.partition(":")
    if text == "pocketsphinx":
        return PocketSphinx()
    if kind not in {"vosk", "sherpa"}:
        return None
    if not place:
        raise UsageError(f"--words {text} names no model", expected=f"{kind}:DIR", fix="see docs/text.md for models")
    return Vosk(place) if kind == "vosk" else Sherpa(place)


def transcript_beside(media: str | None) -> Path | None:
    """clip.words.json, clip.ctm, clip.vtt or clip.srt beside a file clip.*; the first of them that is there."""
    return next((path for path in _candidates(media) if path.is_file()), None)


def _candidates(media: str | None) -> Iterator[Path]:
    if media is None:
        return
    sources = parse_source(media)
    if len(sources) == 1 and sources[0].kind == "file":
        path = Path(sources[0].location)
        for ending in _BESIDE:
            yield path.with_name(path.stem + ending)
