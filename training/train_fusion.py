"""Phase 2: the fusion learns on windows of features that the trained encoders computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from affectrt.bundle.contract import Contract

from .losses import CccLoss
from .metrics import ccc
from .recipe import FusionRecipe

__all__ = ["Features", "FusionTask", "streamed_estimates"]

Rows = npt.NDArray[np.float32]
# A window cut short keeps at least this share of its steps.
_SHORTEST = 0.1


@dataclass(frozen=True, eq=False)
class Features:
    """One recording's features: modality → one or more equal-length variants (steps, dim), zeros where missing.

    The first variant is what the runtime sees; the others (a mirrored face) only train. `truth` (steps, 2), NaN
    where a step has none.
    """

    variants: Mapping[str, Sequence[Rows]]
    truth: npt.NDArray[np.float32]


class FusionTask:
    """The fusion stage on random windows; scored as the runtime would run it, hop by hop."""

    name = "fusion"

    def __init__(
        self,
        fusion: nn.Module,
        contract: Contract,
        train: Sequence[Features],
        validation: Sequence[Features],
        recipe: FusionRecipe,
    ) -> None:
        self.module = fusion
        self._contract = contract
        self._train = train
        self._validation = validation
        self._recipe = recipe
        self._ccc = CccLoss(recipe.loss)

    def loss(self, rng: np.random.Generator) -> Tensor:
        window = self._contract.fusion.window_steps
        feeds = {
            name: np.zeros((self._recipe.batch, window, m.feature_dim), np.float32)
            for name, m in self._contract.modalities.items()
        }
        truth = np.zeros((self._recipe.batch, window, len(self._contract.outputs)), np.float32)
        mask = np.zeros((self._recipe.batch, window), bool)
        for row in range(self._recipe.batch):
            features = self._train[int(rng.integers(len(self._train)))]
            length = min(window, len(features.truth))
            if rng.random() < self._recipe.short:
                length = int(rng.integers(max(2, round(_SHORTEST * length)), length + 1))
            start = int(rng.integers(0, len(features.truth) - length + 1))
            dropped = _dropped(list(feeds), self._recipe.drop_modality, rng)
            for name, feed in feeds.items():
                variants = features.variants[name]
                chosen = variants[int(rng.integers(len(variants)))]
                if name != dropped:
                    feed[row, :length] = chosen[start : start + length]
            labels = features.truth[start : start + length]
            annotated = ~np.isnan(labels).any(axis=1)
            truth[row, :length][annotated] = labels[annotated]
            mask[row, :length] = annotated
        estimates: Tensor = self.module(*(torch.from_numpy(feed) for feed in feeds.values()))
        target, valid = torch.from_numpy(truth), torch.from_numpy(mask)
        loss: Tensor = self._ccc(estimates, target, valid)
        if self._recipe.mse > 0:
            loss = loss + self._recipe.mse * nn.functional.mse_loss(estimates[valid], target[valid])
        return loss

    def score(self) -> tuple[float, ...]:
        estimated = [streamed_estimates(self.module, self._contract, f) for f in self._validation]
        x = np.concatenate(estimated)
        y = np.concatenate([f.truth for f in self._validation])
        return tuple(ccc(x[:, d], y[:, d]) for d in range(y.shape[1]))


def streamed_estimates(
    fusion: nn.Module, contract: Contract, features: Features, *, without: str | None = None
) -> Rows:
    """What a session with the default hop emits for these features, shape (steps, outputs).

    The same windows at the same positions as the runtime's, without its bookkeeping; `without` leaves a modality
    zero.
    """
    window, hop = contract.fusion.window_steps, contract.fusion.default_hop_steps
    steps = len(features.truth)
    ends = list(range(hop - 1, steps, hop))
    if not ends or ends[-1] != steps - 1:
        ends.append(steps - 1)
    feeds = {name: np.zeros((len(ends), window, m.feature_dim), np.float32) for name, m in contract.modalities.items()}
    for row, last in enumerate(ends):
        first = max(0, last + 1 - window)
        for name, feed in feeds.items():
            if name != without:
                feed[row, : last + 1 - first] = features.variants[name][0][first : last + 1]
    with torch.inference_mode():
        windows = fusion(*(torch.from_numpy(feed) for feed in feeds.values())).numpy()
    estimates = np.empty((steps, windows.shape[-1]), np.float32)
    emitted = 0
    for row, last in enumerate(ends):
        first = max(0, last + 1 - window)
        estimates[emitted : last + 1] = windows[row, emitted - first : last + 1 - first]
        emitted = last + 1
    return estimates


def _dropped(modalities: Sequence[str], probability: float, rng: np.random.Generator) -> str | None:
    """The one modality that a window loses, each with `probability`; never all of them."""
    if len(modalities) < 2:
        return None
    at = int(rng.random() / probability) if probability > 0 else len(modalities)
    return modalities[at] if at < len(modalities) else None
