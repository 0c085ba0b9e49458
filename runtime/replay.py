"""A whole source through a session, with whoever computes: training, calibration and evaluation see what a run sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from affectrt.bundle.contract import Contract

from .engines.base import Array
from .estimate import Estimate
from .faces import FaceFinder
from .session import Request, Session
from .sources import AudioChunk, Event, Gap, Source, VideoChunk

__all__ = ["Infer", "feed", "replay"]

Infer = Callable[[Sequence[Request]], Sequence[Array]]
"""Results for requests, in order."""

_GATHER_BYTES = 16 << 20


def feed(session: Session, event: Event, finder: FaceFinder | None = None) -> None:
    """Hand one event of a source to a session; without a finder the whole frame is the face."""
    if isinstance(event, VideoChunk):
        faces = None
        if finder is not None:
            faces = [finder.find(frame, pts_s) for frame, pts_s in zip(event.frames, event.pts_s, strict=True)]
        session.push_video(event.frames, event.pts_s, faces)
    elif isinstance(event, AudioChunk):
        session.push_audio(event.samples, event.pts_s)
    elif isinstance(event, Gap):
        session.mark_gap(event.reason)
    else:
        session.end(event.modality)


def replay(
    contract: Contract, source: Source, infer: Infer, *, hop_steps: int | None = None, gather: int = 32
) -> list[Estimate]:
    """Every estimate of an entered source, in order.

    Requests are computed once `gather` of them wait, or 16 MiB of inputs; how many wait changes the speed, never an
    estimate.
    """
    session = Session(contract, modalities=source.modalities, hop_steps=hop_steps, source=source.name)
    estimates: list[Estimate] = []
    for event in source:
        feed(session, event)
        waiting = session.pending()
        if len(waiting) >= gather or sum(request.nbytes for request in waiting) >= _GATHER_BYTES:
            estimates += _compute(session, infer)
    session.flush()
    return estimates + _compute(session, infer)


def _compute(session: Session, infer: Infer) -> list[Estimate]:
    while requests := session.pending():
        session.resolve(requests, infer(requests))
    return session.poll()
