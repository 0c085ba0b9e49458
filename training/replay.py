"""Play a recording through the runtime's own session, as fast as it computes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import Contract
from affectrt.runtime import Estimate, Request, Session
from affectrt.runtime.engines.base import Array
from affectrt.runtime.sources.base import AudioChunk, Source, StreamEnd, VideoChunk, VideoWish
from affectrt.runtime.sources.file import FileSource

__all__ = ["Infer", "open_media", "picture_times", "replay"]

# Requests in, one result each out, in order: what a scheduler does.
Infer = Callable[[Sequence[Request]], Sequence[Array]]


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


def replay(
    contract: Contract, source: Source, infer: Infer, *, hop_steps: int | None = None, gather: int = 32
) -> list[Estimate]:
    """Every estimate of an entered source, in order.

    Requests are computed once `gather` of them wait; how many wait changes the speed, never an estimate.
    """
    session = Session(contract, modalities=source.modalities, hop_steps=hop_steps, source=source.name)
    estimates: list[Estimate] = []
    for event in source:
        if isinstance(event, VideoChunk):
            session.push_video(event.frames, event.pts_s)
        elif isinstance(event, AudioChunk):
            session.push_audio(event.samples, event.pts_s)
        elif isinstance(event, StreamEnd):
            session.end(event.modality)
        if len(session.pending()) >= gather:
            estimates += _compute(session, infer)
    session.flush()
    return estimates + _compute(session, infer)


def _compute(session: Session, infer: Infer) -> list[Estimate]:
    while requests := session.pending():
        session.resolve(requests, infer(requests))
    return session.poll()
