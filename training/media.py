"""Recordings of a corpus: the modalities that a model reads of them, and when their pictures are shown."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import Contract
from affectrt.runtime.sources.base import Source, VideoChunk, VideoWish
from affectrt.runtime.sources.file import FileSource
from affectrt.runtime.sources.wrapping import WrappingSource

from .corpus import transcript_of

__all__ = ["open_media", "picture_times"]

CLOCK_RATE_HZ = 16_000


def open_media(
    contract: Contract, path: Path, modalities: Collection[str] | None = None, *, words: Path | None = None
) -> Source:
    """A file, of which those modalities are read that the contract has and, where given, `modalities` names.

    Its words are those of the transcript `words` (default: `transcript_of` the file), never recognised ones; a file
    without a transcript has no text.
    """
    wanted = frozenset(contract.modalities if modalities is None else modalities) & contract.modalities.keys()
    audio = contract.audio if "audio" in wanted else None
    seen = contract.video is not None and "video" in wanted
    rate = audio.sample_rate_hz if audio is not None else None
    words = words or transcript_of(path)
    text = contract.text is not None and contract.text.stage is not None and "text" in wanted and words is not None
    if not text:
        return FileSource(path, video=VideoWish() if seen else None, audio_rate_hz=rate)

    from affectrt.runtime.words.spoken import with_words
    from affectrt.runtime.words.transcript import TranscriptFile

    assert words is not None
    transcript = TranscriptFile(words)
    if seen or rate is not None:
        source: Source = FileSource(path, video=VideoWish() if seen else None, audio_rate_hz=rate)
        return with_words(source, transcript)
    # Words alone: the stream is as long as the sound, which moves the clock and is not listened to.
    return _Only(with_words(FileSource(path, audio_rate_hz=CLOCK_RATE_HZ), transcript), "text")


def picture_times(path: Path) -> npt.NDArray[np.float64]:
    """Media time of every picture of a file in seconds: row i of an annotation belongs to picture i."""
    with FileSource(path, video=VideoWish(max_side_px=16)) as source:
        chunks = [event.pts_s for event in source if isinstance(event, VideoChunk)]
    return np.concatenate(chunks) if chunks else np.zeros(0)


class _Only(WrappingSource[Source]):
    """A source of which one modality is used; what it gives of the others moves the clock alone."""

    def __init__(self, source: Source, modality: str) -> None:
        super().__init__(source)
        self._modality = modality

    @property
    def modalities(self) -> frozenset[str]:
        return super().modalities & {self._modality}
