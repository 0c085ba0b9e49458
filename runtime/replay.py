"""A whole source through a session, with whoever computes: training, calibration and evaluation see what a run sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from affectrt.bundle.contract import Contract

from .engines.base import Array
from .estimate import Estimate
from .faces import Face, FaceFinder, Frame, WholeFrame
from .finders import choose_finder
from .session import Request, Session
from .sources import AudioChunk, Event, Gap, Source, VideoChunk, WordsChunk
from .words.pieces import Pieces

__all__ = ["Infer", "Show", "feed", "finds_faces", "replay", "replay_into", "session_for"]

Infer = Callable[[Sequence[Request]], Sequence[Array]]
"""Results for requests, in order."""

_GATHER_BYTES = 16 << 20


Show = Callable[[Frame, float, Sequence[Face]], None]
"""Told each frame, its media time and the faces in it."""


def finds_faces(finder: FaceFinder | None) -> bool:
    """Whether a finder looks for faces, and may find none, or takes the whole frame for one."""
    return finder is not None and not isinstance(finder, WholeFrame)


def feed(session: Session, event: Event, finder: FaceFinder | None = None, show: Show | None = None) -> None:
    """Hand one event of a source to a session; without a finder the whole frame is the face."""
    if isinstance(event, VideoChunk):
        finder = finder or WholeFrame()
        faces = [finder.find(frame, pts_s) for frame, pts_s in zip(event.frames, event.pts_s, strict=True)]
        if show is not None:
            for frame, pts_s, found in zip(event.frames, event.pts_s, faces, strict=True):
                show(frame, float(pts_s), found)
        session.push_video(event.frames, event.pts_s, faces)
    elif isinstance(event, AudioChunk):
        session.push_audio(event.samples, event.pts_s)
    elif isinstance(event, WordsChunk):
        session.push_words(event)
    elif isinstance(event, Gap):
        session.mark_gap(event.reason)
        if finder is not None:
            finder.reset()
    else:
        session.end(event.modality)


def replay(
    contract: Contract,
    source: Source,
    infer: Infer,
    *,
    pieces: Pieces | None = None,
    hop_steps: int | None = None,
    gather: int = 32,
) -> list[Estimate]:
    """Every estimate of an entered source, in order.

    Of pictures it sees what the contract names: the whole frame, or the face that its detector finds, of several the
    largest; MissingDependency where the detector is not there. Words of the source count where `pieces` say how they
    are encoded, and their final transcript is waited for. Requests are computed once `gather` of them wait, or 16 MiB
    of inputs; how many wait changes the speed, never an estimate.
    """
    session, finder = session_for(contract, source, pieces=pieces, hop_steps=hop_steps)
    return replay_into(session, source, infer, finder, gather=gather)


def session_for(
    contract: Contract, source: Source, *, pieces: Pieces | None = None, hop_steps: int | None = None
) -> tuple[Session, FaceFinder | None]:
    """What `replay` plays an entered source into, and who looks for faces."""
    finder = choose_finder(contract, max_faces=1) if "video" in source.modalities else None
    session = Session(
        contract,
        modalities=source.modalities,
        hop_steps=hop_steps,
        source=source.name,
        found_faces=finds_faces(finder),
        pieces=pieces,
        await_words=True,
    )
    return session, finder


def replay_into(
    session: Session, source: Source, infer: Infer, finder: FaceFinder | None = None, *, gather: int = 32
) -> list[Estimate]:
    """As `replay`, with a session of one's own, which is over afterwards."""
    estimates: list[Estimate] = []
    for event in source:
        feed(session, event, finder)
        waiting = session.pending()
        if len(waiting) >= gather or sum(request.nbytes for request in waiting) >= _GATHER_BYTES:
            estimates += _compute(session, infer)
    session.flush()
    return estimates + _compute(session, infer)


def _compute(session: Session, infer: Infer) -> list[Estimate]:
    while requests := session.pending():
        session.resolve(requests, infer(requests))
    return session.poll()
