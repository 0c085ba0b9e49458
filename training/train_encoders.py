"""Phase 1: each encoder learns on its own modality, with a linear head that is thrown away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from affectrt.bundle.contract import AudioModality, Contract, VideoModality

from .annotation import means_up_to
from .losses import CccLoss
from .metrics import ccc
from .recipe import AudioRecipe, VideoRecipe
from .recordings import Spans

__all__ = [
    "EncodedModality",
    "EncoderTask",
    "Example",
    "described_by_span",
    "encode",
    "set_norm_momentum",
    "start_from_pictures",
]

EncodedModality = Literal["video", "audio"]
Truth = npt.NDArray[np.float32]
# Validation looks at every fifth step, neighbours are nearly equal; or as far apart as what two spans describe.
_SCORE_EVERY = 5
_ENCODE_BATCH = 64


@dataclass(frozen=True, eq=False)
class Example:
    """One recording and its annotation: `truth` (steps, outputs), NaN where a step has none."""

    spans: Spans
    truth: Truth


def described_by_span(contract: Contract, modality: EncodedModality) -> int:
    """Steps whose mean annotation one span shall be read as: those it is made of, where estimates are window means.

    Else 1, its own step.
    """
    media = contract.modalities[modality]
    if contract.fusion.describes == "step":
        return 1
    if isinstance(media, VideoModality):
        return media.span_frames
    assert isinstance(media, AudioModality)
    return max(1, math.floor(media.span_samples * contract.step_hz / media.sample_rate_hz + 0.5))


class EncoderTask:
    """An encoder and its throw-away head, on random steps of all training recordings.

    Which modality it is follows from the recipe. The target is the mean annotation of the `described_steps` up to the
    span's own.
    """

    def __init__(
        self,
        encoder: nn.Module,
        feature_dim: int,
        train: Sequence[Example],
        validation: Sequence[Example],
        recipe: VideoRecipe | AudioRecipe,
        crop_px: int = 0,
        *,
        described_steps: int = 1,
        stills: bool = False,
        head: nn.Module | None = None,
    ) -> None:
        self._modality: EncodedModality = "video" if isinstance(recipe, VideoRecipe) else "audio"
        self.name = "video stills" if stills else f"{self._modality} encoder"
        self._encoder, self.head = encoder, head or nn.Linear(feature_dim, train[0].truth.shape[1])
        self.module: nn.Module = nn.ModuleDict({"encoder": self._encoder, "head": self.head})
        self._stills = stills
        self._recipe = recipe
        self._crop_px = crop_px
        self._train = [Example(e.spans, means_up_to(e.truth, described_steps)) for e in train]
        self._validation = [Example(e.spans, means_up_to(e.truth, described_steps)) for e in validation]
        self._score_every = max(_SCORE_EVERY, described_steps)
        self._steps = _annotated_steps(self._modality, self._train)
        self._ccc = CccLoss()

    def loss(self, rng: np.random.Generator) -> Tensor:
        picked = self._steps[rng.integers(0, len(self._steps), self._recipe.batch)]
        truth = torch.from_numpy(np.stack([self._train[v].truth[step] for v, step in picked]))
        if isinstance(self._recipe, VideoRecipe):
            spans = np.stack([_video_span(self._train[v].spans, step, still=self._stills) for v, step in picked])
            inputs = torch.from_numpy(_seen_otherwise(spans, self._crop_px, self._recipe, rng))
        else:
            waves = np.stack([self._train[v].spans.audio_span(step) for v, step in picked])
            inputs = torch.from_numpy(_louder_and_noisier(waves, self._recipe, rng))
        estimates = self.head(self._encoder(inputs))
        # one batch is one window for the CCC
        loss: Tensor = self._ccc(estimates.unsqueeze(0), truth.unsqueeze(0))
        return loss + self._recipe.mse * nn.functional.mse_loss(estimates, truth)

    def score(self) -> tuple[float, ...]:
        estimated, true = [], []
        for example in self._validation:
            steps = np.arange(0, example.spans.steps, self._score_every)
            features, known = encode(
                self._modality, self._encoder, example.spans, self._crop_px, steps=steps, stills=self._stills
            )
            with torch.inference_mode():
                read = self.head(torch.from_numpy(features)).numpy()
            estimated.append(read[known])
            true.append(example.truth[steps][known])
        x, y = np.concatenate(estimated), np.concatenate(true)
        return tuple(ccc(x[:, d], y[:, d]) for d in range(y.shape[1]))


def encode(
    modality: EncodedModality,
    encoder: nn.Module,
    spans: Spans,
    crop_px: int = 0,
    *,
    steps: npt.NDArray[np.integer] | None = None,
    mirrored: bool = False,
    stills: bool = False,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Features of the steps (default: all), shape (steps, dim), and which steps have them; zeros elsewhere.

    With `stills`, those of the newest picture of each span alone.
    """
    if steps is None:
        steps = np.arange(spans.steps)
    known = spans.present(modality)[steps]
    batches = []
    encoder.eval()
    with torch.inference_mode():
        for at in range(0, int(known.sum()), _ENCODE_BATCH):
            batch = steps[known][at : at + _ENCODE_BATCH]
            if modality == "video":
                inputs = _centred(np.stack([_video_span(spans, int(s), still=stills) for s in batch]), crop_px)
                inputs = inputs[..., ::-1, :] if mirrored else inputs
            else:
                inputs = np.stack([spans.audio_span(int(s)) for s in batch])
            batches.append(encoder(torch.from_numpy(np.ascontiguousarray(inputs))).numpy())
    found = np.concatenate(batches) if batches else np.zeros((0, 1), np.float32)
    features = np.zeros((len(steps), found.shape[1]), np.float32)
    features[known] = found
    return features, known


def start_from_pictures(encoder: nn.Module) -> None:
    """Leave every 3-D convolution the middle tap over time alone, louder, so that its output keeps its size.

    The network then sees each picture by itself and averages; its other taps start from zero.
    """
    for module in encoder.modules():
        if isinstance(module, nn.Conv3d) and module.kernel_size[0] > 1:
            middle = module.kernel_size[0] // 2
            with torch.no_grad():
                tap = module.weight[:, :, middle] * math.sqrt(module.kernel_size[0])
                module.weight.zero_()
                module.weight[:, :, middle] = tap


def set_norm_momentum(encoder: nn.Module, momentum: float) -> None:
    """Of every batch norm: the weight of the newest batch in its running statistics."""
    for module in encoder.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            module.momentum = momentum


def _video_span(spans: Spans, step: int, *, still: bool) -> npt.NDArray[np.uint8]:
    span = spans.video_span(step)
    return span[-1:] if still else span


def _annotated_steps(modality: EncodedModality, examples: Sequence[Example]) -> npt.NDArray[np.int64]:
    """(recording, step) of every step that has both this modality and an annotation."""
    rows = []
    for index, example in enumerate(examples):
        steps = np.flatnonzero(example.spans.present(modality) & ~np.isnan(example.truth).any(axis=1))
        rows.append(np.stack([np.full_like(steps, index), steps], axis=1))
    return np.concatenate(rows)


def _centred(crops: npt.NDArray[np.uint8], px: int) -> npt.NDArray[np.uint8]:
    """The middle `px` square of (…, side, side, 3)."""
    edge = (crops.shape[-2] - px) // 2
    return crops[..., edge : edge + px, edge : edge + px, :]


def _seen_otherwise(
    spans: npt.NDArray[np.uint8], px: int, recipe: VideoRecipe, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """A `px` square of each crop at a random place in its margin, turned, zoomed, mirrored, in another light.

    `spans` (B, side, side, 3), or (B, frames, side, side, 3), of which all frames of one span are changed alike.
    """
    side = spans.shape[-2]
    room = (side - px) / 2
    out = np.empty((*spans.shape[:-3], px, px, 3), np.uint8)
    for row, span in enumerate(spans):
        angle = rng.uniform(-recipe.turn_deg, recipe.turn_deg)
        zoom = float(np.exp(rng.uniform(-recipe.zoom, recipe.zoom)))
        centre = (side - 1) / 2
        warp = cv2.getRotationMatrix2D((centre, centre), angle, zoom)
        warp[:, 2] -= room + rng.uniform(-room, room, 2)
        mirrored = rng.random() < recipe.mirror
        # brightness of all channels together, and a smaller cast of each
        light = np.exp(recipe.light * (rng.standard_normal() + 0.5 * rng.standard_normal(3)))
        crops = span.reshape(-1, side, side, 3)
        seen = np.stack(
            [cv2.warpAffine(c, warp, (px, px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for c in crops]
        )
        seen = seen[:, :, ::-1] if mirrored else seen
        out[row] = np.clip(seen * light + 0.5, 0, 255).reshape(out[row].shape)
    return out


def _louder_and_noisier(
    spans: npt.NDArray[np.float32], recipe: AudioRecipe, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """A random gain and white noise, at least `noise_below_db` under each span's own level; kept in [-1, 1]."""
    gain = 10 ** (rng.uniform(-recipe.gain_db, recipe.gain_db, (len(spans), 1)) / 20)
    below = 10 ** (-(recipe.noise_below_db + rng.exponential(10.0, (len(spans), 1))) / 20)
    level = np.sqrt(np.mean(spans.astype(np.float64) ** 2, axis=1, keepdims=True))
    noise = rng.standard_normal(spans.shape, np.float32) * (level * below)
    heard: npt.NDArray[np.float32] = np.clip((spans + noise) * gain, -1.0, 1.0).astype(np.float32)
    return heard
