"""The raw spans of a recording: exactly what the runtime's session asks an encoder to compute, kept instead."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import Contract
from affectrt.runtime import Request
from affectrt.runtime.engines.base import Array
from affectrt.runtime.replay import replay
from affectrt.runtime.sampling import RowSample, rows_within
from affectrt.runtime.sources.base import Source
from affectrt.runtime.words import Word
from affectrt.runtime.words.pieces import padded
from affectrt.runtime.words.transcript import read_transcript

from .corpus import transcript_of
from .media import open_media

if TYPE_CHECKING:
    from affectrt.models.network import Network

__all__ = ["Spans", "of_every_step", "record_source", "record_spans", "record_video"]


@dataclass(frozen=True, eq=False)
class Spans:
    """All spans of one recording of `steps` steps.

    `crops` uint8 (rows, px, px, 3); `crops_of_step` (steps, span_frames) are the rows that make the span of a step,
    oldest first, -1 where it shows nothing (a held frame has the row of the step that showed it first). `waveform`
    float32 is on the contract's grid and padded as the contract says, so that `waveform[start:start + span]` is the
    span of a step; `start_of_step` (steps,) is that start, -1 where the step has no audio. `words` are those of the
    transcript, whole: which of them a step has follows from their times alone.
    """

    crops: npt.NDArray[np.uint8]
    crops_of_step: npt.NDArray[np.int32]
    waveform: npt.NDArray[np.float32]
    start_of_step: npt.NDArray[np.int64]
    span_samples: int
    words: tuple[Word, ...] = ()

    @property
    def steps(self) -> int:
        return len(self.crops_of_step)

    def present(self, modality: Literal["video", "audio"]) -> npt.NDArray[np.bool_]:
        """(steps,): which have a span of this modality."""
        known: npt.NDArray[np.bool_] = (self.crops_of_step[:, -1] if modality == "video" else self.start_of_step) >= 0
        return known

    def video_span(self, step: int) -> npt.NDArray[np.uint8]:
        """(span_frames, px, px, 3), for one frame (px, px, 3); IndexError where the step shows nothing."""
        rows = self.crops_of_step[step]
        if rows[-1] < 0:
            raise IndexError(f"step {step} shows nothing")
        span: npt.NDArray[np.uint8] = self.crops[rows if len(rows) > 1 else rows[0]]
        return span

    def audio_span(self, step: int) -> npt.NDArray[np.float32]:
        """A view on the waveform; IndexError where the step has no audio."""
        start = int(self.start_of_step[step])
        if start < 0:
            raise IndexError(f"step {step} has no audio")
        return self.waveform[start : start + self.span_samples]


def record_source(contract: Contract, source: Source, *, margin: bool = False) -> Spans:
    """All spans of an entered source. With `margin`, crops are `resize_px` wide, so that training can shift them.

    The session is asked for one crop and one audio span of every step, whichever of them a hop would leave out; the
    spans of several frames are then put together from these crops. Words are not among them: `record_video` adds those.
    """
    frames = contract.video.span_frames if contract.video is not None else 1
    contract = of_every_step(contract, margin=margin)
    kept: list[Request] = []
    encoders = contract.encoder_stages

    def keep(requests: Sequence[Request]) -> list[Array]:
        kept.extend(r for r in requests if r.stage in encoders)
        return [np.zeros(contract.stage_output(r.stage).shape, np.float32) for r in requests]

    estimates = replay(contract, source, keep)
    kept.sort(key=lambda request: request.step)
    shown = {round(e.t_s * contract.step_hz): "video" in e.modalities for e in estimates}
    steps = max(shown, default=-1) + 1
    crops, crops_of_step = _crops(contract, kept, [shown.get(step) for step in range(steps)], frames)
    waveform, start_of_step = _waveform(contract, kept, steps)
    span = contract.audio.span_samples if contract.audio is not None else 0
    return Spans(crops, crops_of_step, waveform, start_of_step, span)


def record_video(contract: Contract, media: Path, *, margin: bool = False, cache: Path | None = None) -> Spans:
    """All spans of a file, read through GStreamer, and for a contract with text the words of its transcript.

    Crops and waveform are written to the folder `cache`, and read from there the next time, only where one is named:
    crops show whoever is in the recording.
    """
    transcript = transcript_of(media) if contract.text is not None else None
    words = read_transcript(transcript) if transcript is not None else ()
    kept = None if cache is None else cache / f"{_key(contract, media, margin)}.npz"
    if kept is not None and kept.exists():
        with np.load(kept) as arrays:
            return Spans(
                **{name: arrays[name] for name in _KEPT if name != "span_samples"},
                span_samples=int(arrays["span_samples"]),
                words=words,
            )
    with open_media(contract, media, ("video", "audio")) as source:
        spans = record_source(contract, source, margin=margin)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_name(f".{kept.name}.part")
        with unfinished.open("wb") as file:
            arrays = {name: np.asarray(getattr(spans, name)) for name in _KEPT}
            np.savez(file, allow_pickle=False, **arrays)
        unfinished.replace(kept)
    return replace(spans, words=words)


# What a cache holds of spans.
_KEPT = tuple(f.name for f in fields(Spans) if f.name != "words")


def record_spans(
    model: Network, media: Sequence[Path], *, per_stage: int, seed: int
) -> Mapping[str, Mapping[str, Array]]:
    """Stage → input → array (at most `per_stage` and 128 MiB, *shape): real inputs of every stage, drawn from `media`.

    The fusion's inputs are windows of the features that the model itself computes; sentences are padded to the
    contract's longest.
    """
    from affectrt.runtime import Scheduler

    from .text import pieces_of_network
    from .torch_engine import torch_engines

    contract = Contract.model_validate(model.contract())
    scheduler = Scheduler(contract, torch_engines(model))
    rng = np.random.default_rng(seed)
    samples = {stage: RowSample(rows_within(contract, stage, per_stage), rng) for stage in contract.stages}

    def keep(requests: Sequence[Request]) -> list[Array]:
        for request in requests:
            samples[request.stage].offer(request)
        return scheduler.infer(requests)

    for path in media:
        with open_media(contract, path) as source:
            replay(contract, source, keep, pieces=pieces_of_network(model))
    drawn: dict[str, dict[str, Array]] = {}
    for stage, sample in samples.items():
        longest = max(contract.lengths(stage), default=None)
        rows = [feeds if longest is None else padded(feeds, longest) for feeds in sample.rows()]
        if rows:
            drawn[stage] = {i.name: np.stack([feeds[i.name] for feeds in rows]) for i in contract.stage_inputs(stage)}
    return drawn


def of_every_step(contract: Contract, *, margin: bool) -> Contract:
    """The contract with single frames, `resize_px` wide with a `margin`, and a run of the fusion at every step."""
    video, fusion = contract.video, contract.fusion
    if video is not None:
        side = video.resize_px if margin else video.crop_px
        one = video.input.model_copy(update={"shape": (side, side, 3)})
        video = video.model_copy(update={"span_frames": 1, "crop_px": side, "input": one})
    alone = {"window_steps": 1, "stride_steps": 1, "default_hop_steps": 1}
    return contract.model_copy(update={"video": video, "fusion": fusion.model_copy(update=alone)})


def _crops(
    contract: Contract, kept: Sequence[Request], shown: Sequence[bool | None], frames: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """`shown`: whether a step shows a face; None outside the stream, where no span reaches over."""
    video = contract.video
    rows_of_step = np.full((len(shown), frames), -1, np.int32)
    if video is None:
        return np.zeros((0, 0, 0, 3), np.uint8), rows_of_step
    asked = [r for r in kept if r.stage == video.stage]
    rows = {r.step: row for row, r in enumerate(asked)}
    row = -1
    latest: list[int] = []
    for step, visible in enumerate(shown):
        row = rows.get(step, row)
        if visible is None:
            latest = []
        if visible:
            latest = [*(latest or [row] * frames)[1:], row]
            rows_of_step[step] = latest
    if not asked:
        return np.zeros((0, *video.input.shape), np.uint8), rows_of_step
    return np.stack([np.asarray(r.feeds[video.input.name], np.uint8) for r in asked]), rows_of_step


def _waveform(
    contract: Contract, kept: Sequence[Request], steps: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The waveform put together again from its overlapping spans, which are the session's and padded by it."""
    audio = contract.audio
    start_of_step = np.full(steps, -1, np.int64)
    asked = [r for r in kept if audio is not None and r.stage == audio.stage]
    if audio is None or not asked:
        return np.zeros(0, np.float32), start_of_step
    first = audio.span_start(asked[0].step, contract.step_hz)
    last = audio.span_end(asked[-1].step, contract.step_hz)
    waveform = np.zeros(last - first, np.float32)
    for request in asked:
        start = audio.span_start(request.step, contract.step_hz) - first
        start_of_step[request.step] = start
        waveform[start : start + audio.span_samples] = request.feeds[audio.input.name]
    return waveform, start_of_step


def _key(contract: Contract, media: Path, margin: bool) -> str:
    """What decides the spans: the media's bytes and the contract's clock, video and audio."""
    told = contract.model_dump(mode="json", include={"step_hz", "video", "audio"})
    digest = hashlib.sha256(json.dumps([told, margin, list(_KEPT)], sort_keys=True).encode())
    with media.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"{media.stem}-{digest.hexdigest()[:16]}"
