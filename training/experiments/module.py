"""A network in training, for Lightning: features by the rules, the loss, the score that decides, release and reload."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, distributed, nn

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import AffectError
from affectrt.models.network import Network
from affectrt.training.metrics import ccc, ccc_author_cav, ccc_author_rcma
from affectrt.training.train_fusion import FusionStages

from .config import ExperimentConfig
from .data import Batch
from .objective import batch_loss
from .release import released_modules, set_stage, trained
from .schedule import Course
from .series import WindowSet

__all__ = ["STATE", "AffectModule"]

STATE = "affectrt"  # of a Lightning checkpoint: everything that it would not keep itself
METRICS = {"lin": ccc, "author_rcma": ccc_author_rcma, "author_cav": ccc_author_cav}
FEWEST_ROWS = 2  # of a batch norm over rows


class AffectModule(LightningModule):
    """`identity` tells a training apart from others: a state is taken by the same one alone.

    `best` are the best weights so far, on the CPU; the network itself may be past them. After `fit` it has them.
    """

    def __init__(self, config: ExperimentConfig, network: Network, validation: WindowSet, identity: str = "") -> None:
        super().__init__()
        self.config, self.network, self.identity = config, network, identity
        self.contract = Contract.model_validate(network.contract())
        self.course = Course.begin(config)
        self.best: dict[str, Tensor] = {}
        self.scores: tuple[float, ...] = ()
        self.best_scores: tuple[float, ...] = ()
        self.improved = False
        self._validation = validation
        self._fusion = [FusionStages(network.fusion_modules(), self.contract)]  # in a list: no second name of weights
        self._merged: tuple[Tensor, Tensor] | None = None
        self._losses: list[Tensor] = []

    # features and estimates

    def forward(self, batch: Batch) -> Tensor:
        """Estimates (B, T, outputs), outputs in the contract's order."""
        estimates: Tensor = self._fusion[0](*self.features(batch).values())
        return estimates.unsqueeze(1) if self._validation.per_window else estimates

    def features(self, batch: Batch) -> dict[str, Tensor]:
        """One (B, S, feature_dim) for each modality, in the contract's order."""
        features: dict[str, Tensor] = {}
        for modality in self.contract.modalities:
            if f"{modality}_features" in batch:
                features[modality] = batch[f"{modality}_features"]
            elif modality == "video":
                features["video"] = self._encoded("video", batch["frames"], batch["seen"], batch["filled"])
            else:
                places = batch["starts"].unsqueeze(-1) + torch.arange(self._span_samples, device=self.device)
                spans = torch.gather(batch["waveform"], 1, places.flatten(1)).view(places.shape)
                spans = torch.where(batch["heard"].unsqueeze(-1), spans, spans.new_zeros(()))
                features["audio"] = self._encoded("audio", spans, batch["heard"], batch["filled"])
        return features

    @property
    def _span_samples(self) -> int:
        assert self.contract.audio is not None
        return self.contract.audio.span_samples

    def _encoded(self, modality: str, spans: Tensor, present: Tensor, filled: Tensor) -> Tensor:
        encoder: Any = self.network.encoders[modality]
        rows, there = spans.flatten(0, 1), present.flatten()
        if self.config.rules.missing == "black":
            entering = encoder.front_end(rows)
            if modality == "audio":  # the authors pad patches, not sound
                entering = entering * filled.flatten().view(-1, *[1] * (entering.dim() - 1))
            encoded: Tensor = encoder.backbone(entering)
            return encoded.reshape(*present.shape, -1)
        if int(there.sum()) < FEWEST_ROWS:
            # Too few for a batch norm. These rows show nothing; every process must run every layer in every batch.
            there = there.clone()
            there[:FEWEST_ROWS] = True
        found: Tensor = encoder(rows[there])
        features = found.new_zeros((len(rows), found.shape[1])).index_put((torch.nonzero(there).squeeze(1),), found)
        features = torch.where(present.flatten().unsqueeze(1), features, features.new_zeros(()))
        return features.reshape(*present.shape, -1)

    # training

    def configure_optimizers(self) -> torch.optim.Optimizer:
        # After DistributedDataParallel was made, which so knows every tensor that is released later.
        set_stage(self.network, self.course.stage)
        chosen = self.config.optimiser
        return torch.optim.Adam(
            trained(self.network), lr=chosen.learning_rate, weight_decay=chosen.weight_decay, eps=chosen.epsilon
        )

    def on_train_start(self) -> None:
        if self.stopped is not None:  # the state of a finished training: there is nothing left to do
            self.trainer.should_stop = True

    def on_train_epoch_start(self) -> None:
        self.network.train()
        if self.config.rules.frozen == "evaluation":
            for encoder in self.network.encoders.values():
                encoder.eval()
            for module in released_modules(self.network, self.course.stage):
                module.train()
        self._losses = []

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # From its own seed, every batch draws what it would have drawn in a training that was never interrupted.
        drawn = np.random.SeedSequence([self.config.seed, self.current_epoch, batch_idx, self.global_rank])
        torch.manual_seed(int(drawn.generate_state(1, np.uint64)[0]))
        rate = self.course.rate(batch_idx, int(self.trainer.num_training_batches))
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = batch_loss(
            self.config.rules, self(batch), batch["truth"], batch["mask"], per_window=self._validation.per_window
        )
        self._losses.append(loss.detach())
        self.log("train/loss", loss.detach(), prog_bar=True, on_step=True, on_epoch=False)
        return loss

    # validation

    def on_validation_epoch_start(self) -> None:
        shape = self._validation.scored_rows, len(self.contract.outputs)
        # float64 on the CPU: the sum does not depend on which process or batch came first
        self._merged = torch.zeros(shape, dtype=torch.float64), torch.zeros((shape[0], 1), dtype=torch.float64)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        assert self._merged is not None
        total, count = self._merged
        for index, estimates in zip(batch["index"].tolist(), self(batch).double().cpu(), strict=True):
            places = self._validation.places(index)
            total[places.start : places.stop] += estimates[: len(places)]
            count[places.start : places.stop] += 1

    def on_validation_epoch_end(self) -> None:
        """The score: overlaps averaged, everything of all videos side by side (C2 base/logger.py:89-246)."""
        assert self._merged is not None
        both = torch.cat(self._merged, dim=1).to(self.device)
        if distributed.is_initialized() and distributed.get_world_size() > 1:
            distributed.all_reduce(both)
        rows = both.cpu().numpy()
        estimates = np.where(rows[:, -1:] > 0, rows[:, :-1] / np.maximum(rows[:, -1:], 1), np.nan)
        metric, truth = METRICS[self.config.rules.ccc], self._validation.truth_rows()
        self.scores = tuple(metric(estimates[:, d], truth[:, d]) for d in range(truth.shape[1]))
        self._merged = None

    # between epochs; after validation, before the state is kept

    def on_train_epoch_end(self) -> None:
        score, losses = float(np.mean(self.scores)), torch.stack(self._losses)
        if not (math.isfinite(score) and bool(torch.isfinite(losses).all())):
            raise AffectError(
                f"the training diverged in epoch {self.current_epoch + 1}",
                expected="finite losses and scores",
                fix="lower optimiser.learning_rate, or precision = '32-true'",
            )
        self.loss = float(losses.mean())
        self._tell(score)
        ended = self.course.end_epoch(score)
        self.improved = ended.best
        if ended.best:
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}
            self.best_scores = self.scores
        if ended.reload and self.best:
            self.network.load_state_dict(self.best)
        if ended.rebuild:
            self.trainer.strategy.optimizers = [self.configure_optimizers()]
        if ended.stop is not None:
            self.stopped = ended.stop
            self.trainer.should_stop = True

    stopped: str | None = None
    loss = math.nan

    def _tell(self, score: float) -> None:
        told = {f"validation/ccc_{o.name}": s for o, s in zip(self.contract.outputs, self.scores, strict=True)}
        rate = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        told |= {"train/epoch_loss": self.loss, "train/learning_rate": rate, "train/stage": float(self.course.stage)}
        self.log_dict(told)
        self.log("score", score, prog_bar=True)

    # what a resumed training needs besides weights and moments

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[STATE] = {
            "identity": self.identity,
            "course": self.course.state(),
            "best": self.best,
            "best_scores": list(self.best_scores),
            "stopped": self.stopped,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint[STATE]
        self.course.restore(state["course"])
        self.best, self.best_scores = dict(state["best"]), tuple(state["best_scores"])
        self.stopped = state["stopped"]

    def load_best(self) -> nn.Module:
        """Leaves the network with its best weights, in evaluation mode."""
        self.network.load_state_dict(self.best)
        return self.network.eval()
