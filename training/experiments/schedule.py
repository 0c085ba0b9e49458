"""How fast and until when: the rate of every batch, and what the end of an epoch brings. Plain numbers, no torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from .config import CosineSchedule, ExperimentConfig, PlateauSchedule, StepSchedule, WarmUp

__all__ = ["Course", "Ended", "step_rate", "warm_up_share"]


def warm_up_share(kind: WarmUp, epoch: int, batch: int, batches: int, epochs: int) -> float:
    """Share of the rate at batch `batch` of `batches` in epoch `epoch` after the optimiser was made, all from 0.

    "published" (C2 scheduler.py:114-117): b·(r + 1) / (N·epochs²), with 5 epochs b (r + 1) / (25 N): it begins at 0 in
    every epoch and never comes above 1 / epochs, then jumps to 1. "linear": one line from 0 to 1. "none": 1.
    """
    if kind == "none" or epoch >= epochs:
        return 1.0
    if kind == "published":
        return batch * (epoch + 1) / (epochs * epochs * batches)
    return (epoch * batches + batch + 1) / (epochs * batches + 1)


def step_rate(schedule: StepSchedule, epoch: int) -> float:
    """Share of the rate in an epoch, from 0 (C1 train.py:46-50): 1 up to `from_epoch`, then in steps down."""
    if epoch <= schedule.from_epoch:
        return 1.0
    share: float = schedule.factor ** ((epoch - schedule.from_epoch) // schedule.every)
    return share


@dataclass(frozen=True)
class Ended:
    """What the end of an epoch brings; `rebuild`: the next stage begins with a new optimiser and the best weights."""

    best: bool
    reload: bool = False
    rebuild: bool = False
    stop: Literal["early", "released", "epochs"] | None = None


@dataclass
class Course:
    """A training's place in its schedule. All of it is plain data, so that a resumed training goes on from here.

    `stage` counts released stages; `since` epochs of this optimiser; `reductions` of its rate; `bad` epochs of the
    plateau without a best score; `stale` epochs without one at all, which stages do not reset (as in the framework
    that the RCMA authors build on). The best score is shared by all stages (C2 scheduler.py:120-151). Whether
    the plateau counts during warm-up is not known: here it does not.
    """

    config: ExperimentConfig
    stage: int = 0
    epoch: int = 0
    since: int = 0
    reductions: int = 0
    bad: int = 0
    stale: int = 0
    best_score: float = -math.inf

    @classmethod
    def begin(cls, config: ExperimentConfig) -> Course:
        """The first stage is released before epoch 0."""
        return cls(config, stage=min(1, config.release.stages))

    def rate(self, batch: int, batches: int) -> float:
        """The learning rate of a batch, both counted from 0 within the epoch."""
        base, schedule = self.config.optimiser.learning_rate, self.config.schedule
        if isinstance(schedule, StepSchedule):
            return base * step_rate(schedule, self.epoch)
        if isinstance(schedule, CosineSchedule):
            done, rising = self.epoch * batches + batch, schedule.warm_up_epochs * batches
            if done < rising:
                return base * (done + 1) / (rising + 1)
            return base * 0.5 * (1 + math.cos(math.pi * (done - rising) / (self.config.epochs * batches - rising)))
        return self._level() * warm_up_share(schedule.warm_up, self.since, batch, batches, schedule.warm_up_epochs)

    def end_epoch(self, score: float) -> Ended:
        """Takes the epoch's validation score, higher is better, and moves on. NaN is never the best."""
        best = score > self.best_score
        self.best_score = score if best else self.best_score
        self.stale = 0 if best else self.stale + 1
        slower = self._plateau(best)
        self.epoch += 1
        self.since += 1
        every = self.config.rules.reload_best == "every_epoch"
        release = self.config.release
        if release.stages and self._level() < release.below and self.epoch >= release.min_epochs:
            if self.stage >= release.stages:
                return Ended(best, stop="released")
            self.stage += 1
            self.since = self.reductions = self.bad = 0
            return Ended(best, reload=True, rebuild=True, stop=self._stop())
        return Ended(best, reload=not best and (every or slower), stop=self._stop())

    def state(self) -> dict[str, int | float]:
        return {name: value for name, value in asdict(self).items() if name != "config"}

    def restore(self, state: dict[str, Any]) -> None:
        for field in fields(self):
            if field.name != "config":
                setattr(self, field.name, state[field.name])

    def _level(self) -> float:
        """The plateau's rate after warm-up."""
        schedule = self.config.schedule
        factor = schedule.factor if isinstance(schedule, PlateauSchedule) else 1.0
        return self.config.optimiser.learning_rate * float(factor**self.reductions)

    def _plateau(self, best: bool) -> bool:
        """Whether the rate falls now."""
        schedule = self.config.schedule
        if not isinstance(schedule, PlateauSchedule):
            return False
        warming = schedule.warm_up != "none" and self.since < schedule.warm_up_epochs
        self.bad = 0 if best or warming else self.bad + 1
        if self.bad <= schedule.patience:
            return False
        self.bad = 0
        self.reductions += 1
        return True

    def _stop(self) -> Literal["early", "epochs"] | None:
        if self.config.early_stop is not None and self.stale >= self.config.early_stop:
            return "early"
        return "epochs" if self.epoch >= self.config.epochs else None
