"""A whole recording is listened to: what was said in it, once a recogniser has heard it all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..sources.base import AudioChunk, Outcome, Source, WordsChunk
from .heard import Heard
from .spoken import SpokenFile
from .transcriber import Transcriber
from .word import Word

__all__ = ["Listened", "listen"]


@dataclass(frozen=True, slots=True)
class Listened:
    """The final words in order of their beginnings, the sound's length in seconds, and how reading ended.

    `failed`: the recogniser gave up on the way, and of what came later there are no words.
    """

    words: tuple[Word, ...]
    heard_s: float
    outcome: Outcome
    failed: bool


def listen(
    source: Source, transcriber: Transcriber, progress: Callable[[float, float | None], None] | None = None
) -> Listened:
    """Hear a source, not yet entered, to its end; nothing is skipped, however slow the recogniser is.

    Words are put right as a session does (`bundle/SPEC.md`, section 4). `progress` is told the seconds of sound that
    were heard and the duration, None where it is unknown. Both source and transcriber are closed at the end. Raises
    what entering the source raises; a recogniser's fault is in the result.
    """
    heard, heard_s = Heard(), 0.0
    spoken = SpokenFile(source, transcriber)
    with spoken:
        for event in spoken:
            if isinstance(event, WordsChunk):
                heard.push(event)
            elif isinstance(event, AudioChunk) and transcriber.sample_rate_hz is not None:
                heard_s = event.pts_s + len(event.samples) / transcriber.sample_rate_hz
                if progress is not None:
                    progress(heard_s, spoken.duration_s)
    return Listened(tuple(heard.words), heard_s, spoken.outcome, spoken.failed)
