"""Recordings of a corpus: the modalities that a model reads of them, and when their pictures are shown."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import Contract
from affectrt.runtime.sources.base import VideoChunk, VideoWish
from affectrt.runtime.sources.file import FileSource

__all__ = ["open_media", "picture_times"]


def open_media(contract: Contract, path: Path, modalities: Collection[str] | None = None) -> FileSource:
    """A file, of which those modalities are read that the contract has and, where given, `modalities` names."""
    wanted = frozenset(contract.modalities if modalities is None else modalities)
    audio = contract.audio if "audio" in wanted else None
    return FileSource(
        path,
        video=VideoWish() if contract.video is not None and "video" in wanted else None,
        audio_rate_hz=audio.sample_rate_hz if audio is not None else None,
    )


def picture_times(path: Path) -> npt.NDArray[np.float64]:
    """Media time of every picture of a file in seconds: row i of an annotation belongs to picture i."""
    with FileSource(path, video=VideoWish(max_side_px=16)) as source:
        chunks = [event.pts_s for event in source if isinstance(event, VideoChunk)]
    return np.concatenate(chunks) if chunks else np.zeros(0)
