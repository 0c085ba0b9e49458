"""One video through source, finder and session into its folder: crops and sound go to disk as they come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import Contract
from affectrt.runtime.estimate import Estimate
from affectrt.runtime.replay import feed
from affectrt.runtime.segment import TRACK_PATIENCE_S
from affectrt.runtime.session import Request, Session
from affectrt.runtime.sources.base import VideoChunk

from ..recordings import of_every_step
from .reading import RawSource, View
from .writer import VideoFolder

__all__ = ["Recorded", "record_into"]

_SELECTOR_EPSILON_S = 1e-6


class Recorded:
    """What went to disk of one video, and which step shows what."""

    def __init__(self, crop_of_step: npt.NDArray[np.int32], start_of_step: npt.NDArray[np.int64]) -> None:
        self.crop_of_step = crop_of_step
        self.start_of_step = start_of_step
        self.restarts: tuple[int, ...] = ()
        self.crops = 0
        self.samples = 0
        self.faceless = 0
        self.times_s: npt.NDArray[np.float64] = np.zeros(0)
        self.gaps: tuple[tuple[int, int], ...] = ()
        self.notes: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        return len(self.crop_of_step)


class _Steps:
    """Numbers by step that grow as the stream does."""

    def __init__(self, dtype: npt.DTypeLike, missing: int) -> None:
        self._values = np.full(1024, missing, dtype)
        self._missing = missing
        self.count = 0

    def __setitem__(self, step: int, value: int) -> None:
        while step >= len(self._values):
            self._values = np.concatenate([self._values, np.full_like(self._values, self._missing)])
        self._values[step] = value
        self.count = max(self.count, step + 1)

    def until(self, steps: int) -> npt.NDArray[np.int64]:
        values = np.full(steps, self._missing, np.int64)
        values[: len(self._values)] = self._values[:steps]
        return values


class _Keeper:
    """Takes the session's requests in the place of engines and writes what they hold."""

    def __init__(self, contract: Contract, folder: VideoFolder) -> None:
        self._contract = contract
        self._answers = {stage: np.zeros(contract.stage_output(stage).shape, np.float32) for stage in contract.stages}
        px = contract.video.resize_px if contract.video is not None else 0
        self.crops = folder.growing("crops", np.uint8, (px, px, 3))
        self.waveform = folder.growing("waveform", np.float32)
        self._first_sample: int | None = None
        self.asked = _Steps(np.int64, -1)
        self.starts = _Steps(np.int64, -1)
        self.visible = _Steps(np.int8, -1)  # 1: a face is shown, 0: none is, -1: the session does not speak of it

    def advance(self, session: Session) -> None:
        while requests := session.pending():
            session.resolve(requests, [self._answers[request.stage] for request in self._kept(requests)])
        for estimate in session.poll():
            self._see(estimate)

    def _kept(self, requests: Sequence[Request]) -> Sequence[Request]:
        video, audio = self._contract.video, self._contract.audio
        for request in sorted(requests, key=lambda request: request.step):
            if video is not None and request.stage == video.stage:
                self.asked[request.step] = self.crops.rows
                self.crops.append(np.asarray(request.feeds[video.input.name], np.uint8)[None])
            elif audio is not None and request.stage == audio.stage:
                self._hear(request.step, np.asarray(request.feeds[audio.input.name], np.float32))
        return requests

    def _hear(self, step: int, span: npt.NDArray[np.float32]) -> None:
        """Spans overlap: of each only what is new is written; between those that do not there is silence."""
        assert self._contract.audio is not None
        start = self._contract.audio.span_start(step, self._contract.step_hz)
        if self._first_sample is None:
            self._first_sample = start
        at = start - self._first_sample
        self.starts[step] = at
        if at > self.waveform.rows:
            self.waveform.append(np.zeros(at - self.waveform.rows, np.float32))
        self.waveform.append(span[self.waveform.rows - at :])

    def _see(self, estimate: Estimate) -> None:
        self.visible[round(estimate.t_s * self._contract.step_hz)] = int("video" in estimate.modalities)


def record_into(
    folder: VideoFolder,
    source: RawSource,
    contract: Contract,
    view: View,
    *,
    picture_hz: float | None,
    faces_come_and_go: bool,
) -> Recorded:
    """Crops (with margin) and waveform of an entered source go to `folder`; the rest is returned.

    With `picture_hz`, picture i is shown at i / picture_hz whatever its own time, and is step i; the contract's
    `step_hz` is then that of the video. `faces_come_and_go`: as in a run with a detector, a face that was out of sight
    for 2 s begins its spans anew.
    """
    contract = of_every_step(contract, margin=True).model_copy(update={"text": None})
    session = Session(contract, modalities=source.modalities, source=None)
    keeper = _Keeper(contract, folder)
    faceless = 0
    index, shown_at_s = 0, 0.0
    for event in source:
        if not isinstance(event, VideoChunk):
            feed(session, event)
            keeper.advance(session)
            continue
        for frame, at in zip(event.frames, event.pts_s, strict=True):
            shown_at_s = float(at) if picture_hz is None else index / picture_hz
            seen, faces = view(index, frame)
            faceless += not faces
            index += 1
            session.push_video([seen], [shown_at_s], [faces])
            keeper.advance(session)
    session.flush()
    keeper.advance(session)
    keeper.crops.close()
    keeper.waveform.close()
    pictures_end = int((shown_at_s + _SELECTOR_EPSILON_S) * contract.step_hz + 0.5) + 1 if index else 0
    steps = max(pictures_end, keeper.visible.count, keeper.starts.count)
    recorded = _recorded(keeper, index if picture_hz is not None else steps)
    patience = max(1, round(TRACK_PATIENCE_S * contract.step_hz)) if faces_come_and_go else None
    recorded.restarts = _restarts(keeper.visible.until(recorded.steps), recorded.crop_of_step, patience)
    recorded.faceless = faceless
    recorded.times_s = np.array(source.times_s)
    recorded.gaps = tuple((min(gap.start, steps), min(gap.stop, steps)) for gap in session.gap_steps)
    recorded.notes = tuple(session.gaps)
    return recorded


def _recorded(keeper: _Keeper, steps: int) -> Recorded:
    asked, visible = keeper.asked.until(steps), keeper.visible.until(steps)
    latest = np.maximum.accumulate(asked) if steps else asked  # a held picture has the row of the step before
    recorded = Recorded(
        np.where(visible == 1, latest, -1).astype(np.int32), keeper.starts.until(steps).astype(np.int64)
    )
    recorded.crops, recorded.samples = keeper.crops.rows, keeper.waveform.rows
    return recorded


def _restarts(
    visible: npt.NDArray[np.int64], crop_of_step: npt.NDArray[np.int32], patience: int | None
) -> tuple[int, ...]:
    """Steps that begin a stretch: after a gap, and where the face was out of sight for longer than `patience` steps."""
    begins = set((np.flatnonzero((visible[1:] >= 0) & (visible[:-1] < 0)) + 1).tolist())
    if patience is not None:
        seen = np.flatnonzero(crop_of_step >= 0)
        begins |= set(seen[1:][np.diff(seen) > patience].tolist())
    return tuple(sorted(begins))
