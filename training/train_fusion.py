"""Phase 2: the fusion learns on windows of features that the trained encoders computed once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from affectrt.bundle.contract import Contract, Fusion

from .annotation import means_up_to
from .losses import CccLoss
from .metrics import ccc
from .recipe import FusionRecipe

__all__ = ["Features", "FusionStages", "FusionTask", "dropped", "streamed_ccc", "streamed_estimates"]

Rows = npt.NDArray[np.float32]
# A window cut short keeps at least this share of its steps.
_SHORTEST = 0.1


@dataclass(frozen=True, eq=False)
class Features:
    """One recording's features: modality → one or more equal-length variants (steps, dim), zeros where missing.

    The first variant is what the runtime sees; the others (a mirrored face) only train. `truth` (steps, outputs), NaN
    where a step has none.
    """

    variants: Mapping[str, Sequence[Rows]]
    truth: npt.NDArray[np.float32]


class FusionStages(nn.Module):
    """All fusion stages of a network as one, whose estimates are in the order of the contract's outputs."""

    def __init__(self, stages: Mapping[str, nn.Module], contract: Contract) -> None:
        super().__init__()
        self.stages = nn.ModuleDict({s.stage: stages[s.stage] for s in contract.fusion.stages})
        given = [name for stage in contract.fusion.stages for name in stage.outputs]
        self._order = [given.index(output.name) for output in contract.outputs]

    def forward(self, *windows: Tensor) -> Tensor:
        """One (B, window_steps, feature_dim) per modality → (B, window_steps, outputs) or (B, outputs)."""
        return torch.cat([stage(*windows) for stage in self.stages.values()], dim=-1)[..., self._order]


class FusionTask:
    """The fusion stages on random windows; scored as the runtime would run them, hop by hop."""

    name = "fusion"

    def __init__(
        self,
        stages: Mapping[str, nn.Module],
        contract: Contract,
        train: Sequence[Features],
        validation: Sequence[Features],
        recipe: FusionRecipe,
    ) -> None:
        self.module: nn.Module = FusionStages(stages, contract)
        self._contract = contract
        self._train = train
        self._validation = validation
        self._recipe = recipe
        self._ccc = CccLoss(recipe.loss)
        self._ends: list[_Ends] = []
        if contract.fusion.output == "per_window":
            self._ends = [_Ends(contract, features.truth, recipe.grid_steps) for features in train]

    def loss(self, rng: np.random.Generator) -> Tensor:
        """Of windows with an estimate for each step: 1 − CCC of every window; with one for all: over the batch."""
        fusion = self._contract.fusion
        feeds: dict[str, Rows] = {
            name: np.zeros((self._recipe.batch, fusion.window_steps, m.feature_dim), np.float32)
            for name, m in self._contract.modalities.items()
        }
        draw = self._windows if fusion.output == "per_window" else self._series
        truth, mask = draw(feeds, rng)
        estimates: Tensor = self.module(*(torch.from_numpy(feed) for feed in feeds.values()))
        target, valid = torch.from_numpy(truth), torch.from_numpy(mask)
        if fusion.output == "per_window":
            estimates, target, valid = estimates.unsqueeze(0), target.unsqueeze(0), valid.unsqueeze(0)
        loss: Tensor = self._ccc(estimates, target, valid)
        if self._recipe.mse > 0:
            loss = loss + self._recipe.mse * nn.functional.mse_loss(estimates[valid], target[valid])
        return loss

    def score(self) -> tuple[float, ...]:
        return streamed_ccc(self.module, self._contract, self._validation)

    def _series(self, feeds: Mapping[str, Rows], rng: np.random.Generator) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Fills `feeds` with windows of consecutive steps; their annotation (B, K, outputs) and where there is one."""
        batch, window = next(iter(feeds.values())).shape[:2]
        truth = np.zeros((batch, window, len(self._contract.outputs)), np.float32)
        mask = np.zeros((batch, window), bool)
        for row in range(batch):
            features = self._train[int(rng.integers(len(self._train)))]
            length = min(window, len(features.truth))
            if rng.random() < self._recipe.short:
                length = int(rng.integers(max(2, round(_SHORTEST * length)), length + 1))
            start = int(rng.integers(0, len(features.truth) - length + 1))
            lost = dropped(list(feeds), self._recipe.drop_modality, rng)
            for name, feed in feeds.items():
                variants = features.variants[name]
                chosen = variants[int(rng.integers(len(variants)))]
                if name not in lost:
                    feed[row, :length] = chosen[start : start + length]
            labels = features.truth[start : start + length]
            annotated = ~np.isnan(labels).any(axis=1)
            truth[row, :length][annotated] = labels[annotated]
            mask[row, :length] = annotated
        return truth, mask

    def _windows(self, feeds: Mapping[str, Rows], rng: np.random.Generator) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Fills `feeds` with whole windows; what their estimates describe (B, outputs) and whether that is annotated.

        A window that is cut short holds its newest spans alone, as if the stream had begun with them.
        """
        fusion = self._contract.fusion
        batch = next(iter(feeds.values())).shape[0]
        truth = np.zeros((batch, len(self._contract.outputs)), np.float32)
        for row in range(batch):
            at = int(rng.integers(len(self._train)))
            features, ends = self._train[at], self._ends[at]
            last, known = ends.draw(self._recipe.short, rng)
            lost = dropped(list(feeds), self._recipe.drop_modality, rng)
            for name, feed in feeds.items():
                variants = features.variants[name]
                chosen = variants[int(rng.integers(len(variants)))]
                if name not in lost:
                    _fill(feed[row], _spaced(chosen, last, known, fusion), fusion)
            truth[row] = ends.targets[known - 1][last]
        mask = np.isfinite(truth).all(axis=1)
        return np.nan_to_num(truth), np.asarray(mask, bool)


class _Ends:
    """Where windows of one recording may end, and what their estimates describe.

    `targets[n - 1]` (steps, outputs): of a window that holds n spans.
    """

    def __init__(self, contract: Contract, truth: Rows, grid: int) -> None:
        fusion = contract.fusion
        self._fusion = fusion
        lost = [(fusion.window_steps - known) * fusion.stride_steps for known in range(1, fusion.window_steps + 1)]
        self.targets = [means_up_to(truth, max(1, contract.described_steps - steps)) for steps in lost]
        steps = np.arange(grid - 1, len(truth), grid)
        self._steps = steps[~np.isnan(self.targets[-1][steps]).any(axis=1)]

    def draw(self, short: float, rng: np.random.Generator) -> tuple[int, int]:
        """A window's newest step and how many spans it holds: fewer at the beginning, and in a `short` share of all."""
        last = int(self._steps[rng.integers(len(self._steps))])
        known = _known(last, self._fusion)
        if rng.random() < short:
            known = int(rng.integers(1, known + 1))
        return last, known


def streamed_estimates(
    fusion: nn.Module, contract: Contract, features: Features, *, without: Collection[str] = ()
) -> tuple[npt.NDArray[np.int64], Rows]:
    """The steps (n,) and estimates (n, outputs) that a session with the default hop emits for these features.

    The same windows at the same positions as the runtime's, without its bookkeeping; `without` leaves modalities zero,
    as a session does that has none. `fusion` gives all outputs.
    """
    steps, hop = len(features.truth), contract.fusion.default_hop_steps
    ends = list(range(hop - 1, steps, hop))
    per_window = contract.fusion.output == "per_window"
    if not per_window and (not ends or ends[-1] != steps - 1):
        ends.append(steps - 1)
    feeds = {
        name: np.zeros((len(ends), contract.fusion.window_steps, m.feature_dim), np.float32)
        for name, m in contract.modalities.items()
    }
    for row, last in enumerate(ends):
        known = _known(last, contract.fusion)
        for name, feed in feeds.items():
            if name not in without:
                rows = _spaced(features.variants[name][0], last, known, contract.fusion)
                _fill(feed[row], rows, contract.fusion)
    with torch.inference_mode():
        windows = fusion(*(torch.from_numpy(feed) for feed in feeds.values())).numpy()
    if per_window:
        return np.array(ends, np.int64), windows
    estimates = np.empty((steps, windows.shape[-1]), np.float32)
    emitted = 0
    for row, last in enumerate(ends):
        first = last + 1 - _known(last, contract.fusion)
        estimates[emitted : last + 1] = windows[row, emitted - first : last + 1 - first]
        emitted = last + 1
    return np.arange(steps), estimates


def streamed_ccc(
    fusion: nn.Module, contract: Contract, recordings: Sequence[Features], *, without: Collection[str] = ()
) -> tuple[float, ...]:
    """CCC of every output over all recordings together, of the estimates that a session would emit."""
    estimated, true = [], []
    for features in recordings:
        steps, estimates = streamed_estimates(fusion, contract, features, without=without)
        estimated.append(estimates)
        true.append(means_up_to(features.truth, contract.described_steps)[steps])
    x, y = np.concatenate(estimated), np.concatenate(true)
    return tuple(ccc(x[:, d], y[:, d]) for d in range(y.shape[1]))


def _known(last: int, fusion: Fusion) -> int:
    """Spans that a window ending at step `last` of a stream holds."""
    return min(fusion.window_steps, last // fusion.stride_steps + 1)


def _spaced(features: Rows, last: int, known: int, fusion: Fusion) -> Rows:
    """The `known` newest of a window's rows that ends at step `last`, oldest first."""
    return features[last - (known - 1) * fusion.stride_steps : last + 1 : fusion.stride_steps]


def _fill(window: Rows, rows: Rows, fusion: Fusion) -> None:
    """Puts rows into a window of zeros; one that is longer than they are is filled as the contract says."""
    if fusion.short_window == "pad_end":
        window[: len(rows)] = rows
    else:
        window[-len(rows) :] = rows
        window[: -len(rows)] = rows[0]


def dropped(modalities: Sequence[str], probability: float, rng: np.random.Generator) -> frozenset[str]:
    """The modalities that a window loses, each with `probability`: of two at most one, of three any but all."""
    if len(modalities) < 2:
        return frozenset()
    if len(modalities) == 2:
        at = int(rng.random() / probability) if probability > 0 else 2
        return frozenset(modalities[at : at + 1])
    lost = frozenset(m for m, drawn in zip(modalities, rng.random(len(modalities)), strict=True) if drawn < probability)
    return lost if len(lost) < len(modalities) else frozenset()
