"""The features of every step of a recording, through a model's own engines: what offline windows are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import EngineError, UsageError
from affectrt.runtime import Request
from affectrt.runtime.engines.base import Array
from affectrt.runtime.replay import Infer, replay_into, session_for
from affectrt.runtime.sources.base import Source
from affectrt.runtime.words import Word
from affectrt.runtime.words.pieces import Pieces

from .media import open_media
from .offline import StepFeatures, Stretch, stretches_of
from .recordings import Spans

__all__ = ["features_of_media", "features_of_source", "features_of_spans", "with_words"]

_ROWS_AT_ONCE = 32

Features = npt.NDArray[np.float32]
Found = tuple[int, tuple[Stretch, ...], dict[str, Features]]
"""Steps, the stretches between gaps, and features (steps, dim) by modality."""


def features_of_media(contract: Contract, media: Path, infer: Infer, grid: int) -> Found:
    """Features of picture and sound at every `grid` step of every stretch. UsageError for a model of words alone."""
    if contract.video is None and contract.audio is None:
        raise UsageError(
            "offline windows of a model of words alone", expected="a model that sees or hears", fix="--windows stream"
        )
    with open_media(contract.model_copy(update={"text": None}), media) as source:
        return features_of_source(contract, source, infer, grid)


def features_of_source(contract: Contract, source: Source, infer: Infer, grid: int) -> Found:
    """Of an entered source, read as a run reads it, with a fusion of one step that is never computed. No crop is kept.

    With all modalities: where only some of them have a gap, nothing is cut.
    """
    alone = {"window_steps": 1, "stride_steps": 1, "default_hop_steps": grid}
    single = contract.model_copy(update={"text": None, "fusion": contract.fusion.model_copy(update=alone)})
    zeros = {s.stage: np.zeros(single.stage_output(s.stage).shape, np.float32) for s in single.fusion.stages}
    kept: dict[str, dict[int, Array]] = {stage: {} for stage in single.encoder_stages}

    def keep(requests: Sequence[Request]) -> list[Array]:
        encoded = [request for request in requests if request.stage in kept]
        answers = dict(zip(map(id, encoded), infer(encoded), strict=True))
        for request in encoded:
            kept[request.stage][request.step] = answers[id(request)]
        return [answers[id(request)] if request.stage in kept else zeros[request.stage] for request in requests]

    session, finder = session_for(single, source, hop_steps=grid)
    estimates = replay_into(session, source, keep, finder)
    told = {round(estimate.t_s * contract.step_hz): estimate.modalities for estimate in estimates}
    steps = max(told, default=-1) + 1
    features = {}
    for stage, modality in single.encoder_stages.items():
        rows = np.zeros((steps, modality.feature_dim), np.float32)
        shown = contract.video is not None and stage == contract.video.stage
        latest: Array | None = None
        for step in range(steps):
            latest = kept[stage].get(step, latest)  # a held picture has the features of the step before
            there = ("video" if shown else "audio") in told.get(step, ())
            if there and latest is not None:
                rows[step] = _finite(latest, step)
        features["video" if shown else "audio"] = rows
    estimated = np.isin(np.arange(steps), list(told))
    return steps, stretches_of(estimated, session.gap_steps), features


def features_of_spans(contract: Contract, spans: Spans, gaps: Sequence[range], infer: Infer, grid: int) -> Found:
    """As `features_of_media`; a picture that several steps show is encoded once."""
    steps = spans.steps
    features = {}
    seen = spans.present("video") if contract.video is not None else np.ones(steps, np.bool_)
    stretches = stretches_of(seen, gaps)
    needed = np.array([step for stretch in stretches for step in stretch.grid(grid)], np.int64)
    if (video := contract.video) is not None:
        at = needed[seen[needed]]
        frames = spans.crops_of_step[at][:, -video.span_frames :]
        wanted, place = np.unique(frames, axis=0, return_inverse=True)
        rows = np.zeros((steps, video.feature_dim), np.float32)
        edge = (spans.crops.shape[1] - video.crop_px) // 2 if len(spans.crops) else 0
        encoded = np.zeros((len(wanted), video.feature_dim), np.float32)
        for first in range(0, len(wanted), _ROWS_AT_ONCE):
            requests = []
            for index, which in enumerate(wanted[first : first + _ROWS_AT_ONCE], first):
                crops = spans.crops[which][:, edge : edge + video.crop_px, edge : edge + video.crop_px]
                span = np.array(crops if len(video.input.shape) > 3 else crops[0], order="C")
                requests.append(Request(video.stage, 0, index, {video.input.name: span}))
            for request, result in zip(requests, infer(requests), strict=True):
                encoded[request.step] = _finite(result, int(at[np.argmax(place.reshape(-1) == request.step)]))
        rows[at] = encoded[place.reshape(-1)]
        features["video"] = rows
    if (audio := contract.audio) is not None:
        at = needed[spans.present("audio")[needed]]
        rows = np.zeros((steps, audio.feature_dim), np.float32)
        for first in range(0, len(at), _ROWS_AT_ONCE):
            requests = [
                Request(audio.stage, -1, int(k), {audio.input.name: np.array(spans.audio_span(int(k)), np.float32)})
                for k in at[first : first + _ROWS_AT_ONCE]
            ]
            for request, result in zip(requests, infer(requests), strict=True):
                rows[request.step] = _finite(result, request.step)
        features["audio"] = rows
    return steps, stretches, features


def with_words(
    contract: Contract,
    found: Found,
    infer: Infer,
    *,
    words: Sequence[Word],
    pieces: Pieces | None,
    step_hz: float,
    annotated: npt.NDArray[np.bool_],
) -> StepFeatures:
    """With the vectors of the words on their steps, for a model that reads; `annotated` (any length) by step."""
    steps, stretches, features = found
    text = contract.text
    if text is not None and text.stage is not None and pieces is not None and words:
        from .text import on_steps, parts_of, words_of_steps

        parts = parts_of(words, pieces, text)
        vectors = np.zeros((sum(part.count for part in parts), text.feature_dim), np.float32)
        for first in range(0, len(parts), _ROWS_AT_ONCE):
            some = parts[first : first + _ROWS_AT_ONCE]
            results = infer([Request(text.stage, -1, first + at, part.feeds) for at, part in enumerate(some)])
            for part, result in zip(some, results, strict=True):
                vectors[part.first : part.first + part.count] = _finite(result, 0)[: part.count]
        features = {**features, "text": on_steps(vectors, words_of_steps(words, steps, step_hz), text)}
    known = np.flatnonzero(annotated[:steps])
    return StepFeatures(steps, stretches, features, known if len(known) else np.arange(steps))


def _finite(result: Array, step: int) -> Features:
    features: Features = np.asarray(result, np.float32)
    if not np.isfinite(features).all():
        raise EngineError(
            f"an encoder gave a feature that is not a number at step {step}",
            expected="finite features",
            fix="affectrt verify the bundle, or evaluate it with --precision fp32",
        )
    return features
