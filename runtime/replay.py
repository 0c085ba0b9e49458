"""A whole source through a session, with whoever computes: training, calibration and evaluation see what a run sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from affectrt.bundle.contract import Contract

from .engines.base import Array
from .estimate import Estimate
from .session import Request, Session
from .sources import AudioChunk, Source, StreamEnd, VideoChunk

__all__ = ["Infer", "replay"]

Infer = Callable[[Sequence[Request]], Sequence[Array]]
"""Results for requests, in order."""


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
