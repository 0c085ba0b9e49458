"""What happens beside a training: its state on disk, and a line for each epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint

from affectrt.models.checkpoint import save_checkpoint

from .module import AffectModule

__all__ = ["KeepState", "TellEpochs"]


class KeepState(Checkpoint):
    """`last.ckpt`, Lightning's own state, to resume from; `best.safetensors`, the best weights alone.

    Each replaces the one before, whole or not at all; the weights first, so that a training killed between the two
    comes to them again. A `Checkpoint`, so that it comes after the module's own end of an epoch.
    """

    def __init__(self, folder: Path) -> None:
        self.last, self.best = folder / "last.ckpt", folder / "best.safetensors"

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module = cast(AffectModule, pl_module)
        if module.improved and trainer.is_global_zero:
            kept = {name: tensor.clone() for name, tensor in module.network.state_dict().items()}
            module.network.load_state_dict(module.best)
            told = {"training": module.config.name, "validation_score": module.course.best_score}
            save_checkpoint(module.network, self.best, told)
            module.network.load_state_dict(kept)
        unfinished = self.last.with_name(f".{self.last.name}.part")
        trainer.save_checkpoint(unfinished)  # every process takes part, the first one writes
        if trainer.is_global_zero:
            unfinished.replace(self.last)


class TellEpochs(Callback):
    """One line an epoch, where there is no bar or beside it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the module's own: the course is still that of the epoch."""
        module = cast(AffectModule, pl_module)
        if not trainer.is_global_zero:
            return
        scores = " ".join(f"{o.name} {s:.3f}" for o, s in zip(module.contract.outputs, module.scores, strict=True))
        kept = "  best" if sum(module.scores) / len(module.scores) > module.course.best_score else ""
        stage = f", stage {module.course.stage}" if module.config.release.stages else ""
        epochs = module.config.epochs
        self._say(f"epoch {module.course.epoch + 1}/{epochs}{stage}: validation CCC {scores}{kept}")
