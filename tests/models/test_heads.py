from __future__ import annotations

import pytest
import torch

from affectrt.models import LinearHead, MlpHead


@pytest.mark.parametrize("outputs", [1, 2])
def test_linear_head_is_tanh_of_a_linear(outputs: int) -> None:
    torch.manual_seed(0)
    head = LinearHead(5, outputs)
    x = torch.randn(2, 7, 5)
    assert torch.allclose(head(x), torch.tanh(x @ head.linear.weight.T + head.linear.bias))
    assert head(x).shape == (2, 7, outputs)


@pytest.mark.parametrize("outputs", [1, 2])
def test_mlp_head_normalises_over_batch_and_time(outputs: int) -> None:
    torch.manual_seed(1)
    head = MlpHead(5, outputs, hidden=6).double().train()
    x = torch.randn(3, 7, 5, dtype=torch.float64)
    hidden = (x @ head.hidden.weight.T + head.hidden.bias).reshape(21, 6)
    hidden = (hidden - hidden.mean(0)) / torch.sqrt(hidden.var(0, unbiased=False) + 1e-5)
    hidden = torch.where(hidden > 0, hidden, 0.01 * hidden)
    wanted = torch.tanh(hidden @ head.linear.weight.T + head.linear.bias).view(3, 7, outputs)
    assert torch.allclose(head(x), wanted, atol=1e-12)


@pytest.mark.parametrize("head", [LinearHead(3, 2), MlpHead(3, 2, hidden=4)])
def test_estimates_stay_in_range_for_extreme_features(head: torch.nn.Module) -> None:
    estimates = head.eval()(1e6 * torch.randn(2, 9, 3))
    assert bool(estimates.abs().le(1).all())
