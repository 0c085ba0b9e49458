"""One training loop for every phase: epochs, the best state kept, and a state on disk to go on from."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from affectrt.bundle.errors import AffectError, UsageError

from .recipe import Schedule

__all__ = ["Epoch", "Task", "fit"]


class Task(Protocol):
    """What is trained: a module, the loss of one random batch, and a validation score (higher is better)."""

    name: str
    module: nn.Module

    def loss(self, rng: np.random.Generator) -> Tensor: ...

    def score(self) -> tuple[float, ...]:
        """CCC per dimension on the validation split; their mean decides."""
        ...


@dataclass(frozen=True)
class Epoch:
    """One finished epoch, for those who watch; `best` says whether its weights are the ones kept so far."""

    number: int
    loss: float
    score: tuple[float, ...]
    best: bool


@dataclass
class _Progress:
    """How far a fit has come: epochs done, the best score and the weights that reached it."""

    epoch: int
    best_score: float
    best: dict[str, Tensor]


def fit(
    task: Task,
    schedule: Schedule,
    seed: Sequence[int],
    *,
    state: Path | None = None,
    identity: str = "",
    resume: bool = False,
    batch_done: Callable[[], None] = lambda: None,
    epoch_done: Callable[[Epoch], None] = lambda epoch: None,
) -> float:
    """Train `task.module` and leave it with its best weights, in evaluation mode; returns the best mean score.

    Every epoch draws from its own seed, so that a run continued from `state` (rewritten after each epoch when
    given) equals one that was never interrupted. UsageError when the state belongs to another `identity`.
    """
    optimiser = torch.optim.Adam(
        task.module.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    progress = _Progress(0, -math.inf, {})
    if resume and state is not None and state.exists():
        progress = _load(state, identity, task.module, optimiser)
    for _ in range(progress.epoch * schedule.batches):
        batch_done()
    while progress.epoch < schedule.epochs:
        rng = np.random.default_rng([*seed, progress.epoch])
        torch.manual_seed(int(rng.integers(2**62)))
        task.module.train()
        losses = []
        for batch in range(schedule.batches):
            for group in optimiser.param_groups:
                group["lr"] = _learning_rate(schedule, progress.epoch * schedule.batches + batch)
            optimiser.zero_grad()
            loss = task.loss(rng)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(float(loss.detach()))
            batch_done()
        task.module.eval()
        scores = task.score()
        score = float(np.mean(scores))
        if not (math.isfinite(score) and all(map(math.isfinite, losses))):
            raise AffectError(
                f"training of {task.name} diverged in epoch {progress.epoch + 1}",
                expected="finite losses and scores",
                fix="lower learning_rate of this phase in the recipe",
            )
        progress.epoch += 1
        best = score > progress.best_score
        if best:
            progress.best_score = score
            progress.best = {k: v.detach().clone() for k, v in task.module.state_dict().items()}
        if state is not None:
            _save(state, identity, task.module, optimiser, progress)
        epoch_done(Epoch(progress.epoch, float(np.mean(losses)), scores, best))
    task.module.load_state_dict(progress.best)
    task.module.eval()
    return progress.best_score


def _learning_rate(schedule: Schedule, batch: int) -> float:
    total = schedule.epochs * schedule.batches
    rising = schedule.warm_up * total
    if batch < rising:
        return schedule.learning_rate * (batch + 1) / (rising + 1)
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * (batch - rising) / max(total - rising, 1)))


def _save(path: Path, identity: str, module: nn.Module, optimiser: torch.optim.Optimizer, progress: _Progress) -> None:
    tensors = {f"module/{k}": v for k, v in module.state_dict().items()}
    tensors |= {f"best/{k}": v for k, v in progress.best.items()}
    for index, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"adam/{index}/{k}": v for k, v in moments.items()}
    told = {"identity": identity, "epoch": progress.epoch, "best_score": progress.best_score}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    # weights may share memory within a module, files may not
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, unfinished, {"fit": json.dumps(told)})
    unfinished.replace(path)


def _load(path: Path, identity: str, module: nn.Module, optimiser: torch.optim.Optimizer) -> _Progress:
    try:
        with safe_open(path, "pt") as file:
            told = json.loads((file.metadata() or {})["fit"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, KeyError, ValueError) as error:
        raise UsageError(
            f"{path} is not a training state: {error}", fix="train without --resume, or name another --work folder"
        ) from error
    if told["identity"] != identity:
        raise UsageError(
            f"{path} was left by a training with another recipe or corpus",
            expected="the state of the same recipe",
            fix="train without --resume, or name another --work folder",
        )

    def part(prefix: str) -> dict[str, Tensor]:
        return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

    module.load_state_dict(part("module/"))
    moments: dict[int, dict[str, Any]] = {}
    for key, value in part("adam/").items():
        index, _, name = key.partition("/")
        moments.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    return _Progress(told["epoch"], told["best_score"], part("best/"))
