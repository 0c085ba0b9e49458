"""The published losses, each against a reference in plain Python."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from affectrt.training.experiments.objective import author_cav_loss, batch_loss  # noqa: E402
from affectrt.training.experiments.rules import RULES  # noqa: E402


def rcma_reference(estimates: list[float], truth: list[float]) -> float:
    """1 − 2·cov / (σ²_g + σ²_p + (ḡ − p̄)² + 1e-50); cov ÷ n, variances ÷ (n − 1)."""
    n = len(truth)
    g, p = sum(truth) / n, sum(estimates) / n
    cov = sum((a - g) * (b - p) for a, b in zip(truth, estimates, strict=True)) / n
    var_g = sum((a - g) ** 2 for a in truth) / (n - 1)
    var_p = sum((b - p) ** 2 for b in estimates) / (n - 1)
    return 1 - 2 * cov / (var_g + var_p + (g - p) ** 2 + 1e-50)


def cav_reference(estimates: list[float], truth: list[float]) -> float:
    """ρ = Σ v_x v_y / (√Σv_x² √Σv_y² + 1e-8), ρ_c = 2 ρ s_x s_y / (s_x² + s_y² + (x̄ − ȳ)² + 1e-8), s unbiased."""
    n = len(truth)
    x, y = sum(estimates) / n, sum(truth) / n
    vx, vy = [a - x for a in estimates], [b - y for b in truth]
    sxx, syy = sum(a * a for a in vx), sum(b * b for b in vy)
    rho = sum(a * b for a, b in zip(vx, vy, strict=True)) / (math.sqrt(sxx) * math.sqrt(syy) + 1e-8)
    sx, sy = math.sqrt(sxx / (n - 1)), math.sqrt(syy / (n - 1))
    return 1 - 2 * rho * sx * sy / (sx**2 + sy**2 + (x - y) ** 2 + 1e-8)


def series(batch: int, steps: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(batch, steps, 2, generator=generator) * 2 - 1
    return truth * 0.5 + 0.2 * torch.randn(batch, steps, 2, generator=generator), truth


def test_published_rcma_loss_is_the_mean_over_windows_with_padded_zeros_counted() -> None:
    estimates, truth = series(3, 300)
    mask = torch.ones(3, 300, dtype=torch.bool)
    truth[2, 180:], mask[2, 180:] = 0, False  # a short video
    loss = batch_loss(RULES["rcma", "published"], estimates, truth, mask, per_window=False)
    expected = [
        rcma_reference(estimates[w, :, d].tolist(), truth[w, :, d].tolist()) for w in range(3) for d in range(2)
    ]
    assert float(loss) == pytest.approx(sum(expected) / 6, rel=1e-6)


def test_published_rcma_loss_of_a_perfect_window_is_one_three_hundredth() -> None:
    _, truth = series(1, 300)
    mask = torch.ones(1, 300, dtype=torch.bool)
    loss = batch_loss(RULES["rcma", "published"], truth, truth, mask, per_window=False)
    assert float(loss) == pytest.approx(1 / 300, rel=1e-5)
    assert float(batch_loss(RULES["rcma", "repaired"], truth, truth, mask, per_window=False)) == pytest.approx(
        0, abs=1e-6
    )


def test_repaired_rcma_loss_does_not_see_what_is_not_annotated() -> None:
    estimates, truth = series(2, 50)
    mask = torch.ones(2, 50, dtype=torch.bool)
    mask[0, 30:] = False
    rules = RULES["rcma", "repaired"]
    loss = batch_loss(rules, estimates, truth, mask, per_window=False)
    changed = estimates.clone()
    changed[0, 30:] = 99
    assert torch.equal(batch_loss(rules, changed, truth, mask, per_window=False), loss)
    alone = [batch_loss(rules, estimates[:1, :30], truth[:1, :30], mask[:1, :30], per_window=False)]
    alone.append(batch_loss(rules, estimates[1:], truth[1:], mask[1:], per_window=False))
    assert float(loss) == pytest.approx(float(sum(alone)) / 2, rel=1e-6)


def test_published_cav_loss_is_over_the_batch() -> None:
    estimates, truth = series(16, 1)
    loss = batch_loss(RULES["cav", "published"], estimates, truth, torch.ones(16, 1, dtype=torch.bool), per_window=True)
    expected = [cav_reference(estimates[:, 0, d].tolist(), truth[:, 0, d].tolist()) for d in range(2)]
    assert float(loss) == pytest.approx(sum(expected) / 2, rel=1e-6)


def test_published_cav_loss_of_one_window_is_nan_as_the_authors_is() -> None:
    estimates, truth = series(1, 1)
    assert author_cav_loss(estimates.transpose(0, 1), truth.transpose(0, 1)).isnan()


def test_the_protocols_differ_in_their_loss() -> None:
    estimates, truth = series(4, 20)
    mask = torch.ones(4, 20, dtype=torch.bool)
    told = {
        protocol: float(batch_loss(RULES["rcma", protocol], estimates, truth, mask, per_window=False))
        for protocol in ("published", "repaired")
    }
    assert told["published"] > told["repaired"] + 0.01
