"""The loss agrees with the metric, masks padding, and repeats the authors' arithmetic where asked to."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from affectrt.training.losses import CccLoss  # noqa: E402
from affectrt.training.metrics import ccc, ccc_author_rcma  # noqa: E402


def _windows(seed: int, batch: int = 4, steps: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    truth = torch.randn(batch, steps, 2) * 0.4
    return (0.7 * truth + 0.2 * torch.randn(batch, steps, 2) + 0.1), truth


@pytest.mark.parametrize(("mode", "metric"), [("lin", ccc), ("author", ccc_author_rcma)])
def test_loss_is_one_minus_the_metric_averaged_over_windows_and_dimensions(mode: str, metric: object) -> None:
    estimates, truth = _windows(1)
    each = [metric(estimates[b, :, d].numpy(), truth[b, :, d].numpy()) for b in range(4) for d in range(2)]  # type: ignore[operator]
    assert float(CccLoss(mode)(estimates, truth)) == pytest.approx(1 - np.mean(each), abs=1e-6)  # type: ignore[arg-type]


def test_authors_loss_of_equal_windows_of_300_is_one_in_300() -> None:
    _, truth = _windows(2)
    assert float(CccLoss("author")(truth, truth)) == pytest.approx(1 / 300, rel=1e-6)
    assert float(CccLoss("lin")(truth, truth)) == pytest.approx(0.0, abs=1e-6)


def test_padded_steps_do_not_count() -> None:
    estimates, truth = _windows(3)
    mask = torch.zeros(4, 300, dtype=torch.bool)
    mask[:, :120] = True
    padded = torch.where(mask[..., None], estimates, torch.full_like(estimates, 9.0))
    short = CccLoss()(estimates[:, :120], truth[:, :120])
    assert float(CccLoss()(padded, truth, mask)) == pytest.approx(float(short), abs=1e-6)


def test_authors_loss_counts_padding() -> None:
    estimates, truth = _windows(4)
    mask = torch.zeros(4, 300, dtype=torch.bool)
    mask[:, :120] = True
    truth = truth * mask[..., None]
    assert float(CccLoss("author")(estimates, truth, mask)) == float(CccLoss("author")(estimates, truth))
    assert float(CccLoss("author")(estimates, truth)) != pytest.approx(
        float(CccLoss()(estimates, truth, mask)), abs=0.01
    )


def test_windows_without_any_valid_step_are_left_out() -> None:
    estimates, truth = _windows(5)
    mask = torch.ones(4, 300, dtype=torch.bool)
    mask[0] = False
    assert float(CccLoss()(estimates, truth, mask)) == pytest.approx(
        float(CccLoss()(estimates[1:], truth[1:])), abs=1e-6
    )


def test_one_dimension_may_come_without_its_axis() -> None:
    estimates, truth = _windows(6)
    assert torch.equal(CccLoss()(estimates[..., 0], truth[..., 0]), CccLoss()(estimates[..., :1], truth[..., :1]))


@pytest.mark.parametrize("mode", ["lin", "author"])
def test_constant_estimates_have_a_finite_gradient(mode: str) -> None:
    _, truth = _windows(7)
    estimates = torch.full_like(truth, 0.2, requires_grad=True)
    CccLoss(mode)(estimates, truth).backward()  # type: ignore[arg-type, no-untyped-call]
    assert estimates.grad is not None and bool(torch.isfinite(estimates.grad).all())
