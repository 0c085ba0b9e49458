"""The training loop: what it keeps, how it goes on, what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from affectrt.bundle.errors import AffectError, UsageError  # noqa: E402
from affectrt.training.fit import Epoch, fit  # noqa: E402
from affectrt.training.recipe import Schedule  # noqa: E402

SCHEDULE = Schedule(epochs=4, batches=5, batch=8, learning_rate=0.05, weight_decay=1e-3, warm_up=0.1)


class Line:
    """A task: learn y = 2x + 1 with dropout and batch norm, so that hidden random state would show."""

    name = "line"

    def __init__(self, scores: list[float] | None = None) -> None:
        torch.manual_seed(0)
        self.module = torch.nn.Sequential(
            torch.nn.Linear(1, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.3), torch.nn.Linear(4, 1)
        )
        self._scores = iter(scores) if scores is not None else None

    def loss(self, rng: np.random.Generator) -> torch.Tensor:
        x = torch.from_numpy(rng.standard_normal((8, 1)).astype(np.float32))
        loss: torch.Tensor = torch.nn.functional.mse_loss(self.module(x), 2 * x + 1)
        return loss

    def score(self) -> tuple[float, ...]:
        assert not self.module.training
        if self._scores is not None:
            return (next(self._scores),)
        x = torch.linspace(-1, 1, 16)[:, None]
        with torch.no_grad():
            return (-float(torch.nn.functional.mse_loss(self.module(x), 2 * x + 1)),)


def _weights(task: Line) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in task.module.state_dict().items()}


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = Line()
    fit(whole, SCHEDULE, (1, 2))

    def stop(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    state = tmp_path / "line.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(Line(), SCHEDULE, (1, 2), state=state, identity="a", epoch_done=stop)
    torch.manual_seed(999)  # another process would be in another random state
    rest = Line()
    numbers: list[int] = []
    fit(rest, SCHEDULE, (1, 2), state=state, identity="a", resume=True, epoch_done=lambda e: numbers.append(e.number))
    assert numbers == [3, 4]
    for name, tensor in _weights(whole).items():
        assert torch.equal(tensor, _weights(rest)[name]), name
    assert [p.name for p in tmp_path.iterdir()] == ["line.safetensors"]


def test_a_finished_training_resumes_to_its_result(tmp_path: Path) -> None:
    state = tmp_path / "line.safetensors"
    done, again = Line(), Line()
    best = fit(done, SCHEDULE, (1, 2), state=state)
    assert fit(again, SCHEDULE, (1, 2), state=state, resume=True) == best
    assert all(torch.equal(a, b) for a, b in zip(_weights(done).values(), _weights(again).values(), strict=True))


def test_the_best_epochs_weights_are_kept() -> None:
    seen: list[torch.Tensor] = []
    task = Line(scores=[0.1, 0.7, 0.3, 0.2])
    best = fit(task, SCHEDULE, (1, 2), epoch_done=lambda e: seen.append(task.module[0].weight.detach().clone()))  # type: ignore[union-attr]
    assert best == 0.7
    assert torch.equal(task.module[0].weight, seen[1])  # type: ignore[union-attr]
    assert not torch.equal(seen[1], seen[3])
    assert not task.module.training


def test_another_seed_gives_other_weights() -> None:
    one, other = Line(), Line()
    fit(one, SCHEDULE, (1, 2))
    fit(other, SCHEDULE, (1, 3))
    assert not torch.equal(one.module[0].weight, other.module[0].weight)  # type: ignore[union-attr]


def test_a_state_of_another_recipe_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "line.safetensors"
    fit(Line(), SCHEDULE, (1, 2), state=state, identity="a")
    with pytest.raises(UsageError, match="another recipe"):
        fit(Line(), SCHEDULE, (1, 2), state=state, identity="b", resume=True)
    state.write_bytes(b"not a state")
    with pytest.raises(UsageError, match="not a training state"):
        fit(Line(), SCHEDULE, (1, 2), state=state, identity="a", resume=True)


def test_divergence_is_an_error_and_not_a_checkpoint(tmp_path: Path) -> None:
    state = tmp_path / "line.safetensors"
    with pytest.raises(AffectError, match="diverged"):
        fit(Line(scores=[float("nan")]), SCHEDULE, (1, 2), state=state)
    assert not state.exists()
