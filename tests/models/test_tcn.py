"""Temporal network: causal, 121 steps deep, and the published formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from affectrt.models import Tcn, receptive_field


def test_paper_receptive_field_is_121_steps() -> None:
    assert receptive_field(4, 5) == 121
    assert receptive_field(1, 3) == 5


@pytest.mark.parametrize("step", [300, 180, 60])
def test_a_step_depends_on_the_121_steps_up_to_itself(step: int) -> None:
    torch.manual_seed(0)
    network = Tcn(6, (8, 8, 8, 8)).double().eval()
    x = torch.randn(1, 340, 6, dtype=torch.float64, requires_grad=True)
    network(x)[0, step].square().sum().backward()
    assert x.grad is not None
    touched = x.grad[0].abs().sum(dim=1).nonzero().flatten().tolist()
    assert touched == list(range(max(0, step - 120), step + 1))


def test_the_future_changes_nothing() -> None:
    torch.manual_seed(1)
    network = Tcn(6, (8, 4, 4, 4)).eval()
    x = torch.randn(2, 300, 6)
    changed = x.clone()
    changed[:, 200:] = 9.0
    assert torch.equal(network(x)[:, :200], network(changed)[:, :200])


@pytest.mark.parametrize(("inputs", "widths"), [(3, (4, 4)), (4, (4, 5, 4))])
def test_blocks_compute_the_published_formula(inputs: int, widths: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    network = Tcn(inputs, widths, kernel=3).double().eval()
    network.norm.running_mean.uniform_(-1, 1)
    network.norm.running_var.uniform_(0.5, 2)
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    for name in state:  # a gain unlike the norm of its direction
        if name.endswith("original0"):
            state[name] *= 1.7
    x = torch.randn(2, 30, inputs, dtype=torch.float64)

    y = x.numpy().transpose(0, 2, 1)
    for index in range(len(widths)):
        at = f"blocks.{index}"
        inner = y
        for conv in ("conv1", "conv2"):
            gain = state[f"{at}.{conv}.parametrizations.weight.original0"]
            direction = state[f"{at}.{conv}.parametrizations.weight.original1"]
            weight = gain * direction / np.sqrt((direction**2).sum(axis=(1, 2), keepdims=True))
            inner = leaky(causal(inner, weight, state[f"{at}.{conv}.bias"], 2**index))
        if f"{at}.shortcut.weight" in state:
            y = causal(y, state[f"{at}.shortcut.weight"], state[f"{at}.shortcut.bias"], 1)
        y = leaky(inner + y)
    mean, var = state["norm.running_mean"][:, None], state["norm.running_var"][:, None]
    wanted = ((y - mean) / np.sqrt(var + 1e-5)).transpose(0, 2, 1)
    assert np.allclose(network(x).detach().numpy(), wanted, atol=1e-12)


def test_dropout_is_active_in_training_alone() -> None:
    torch.manual_seed(3)
    network = Tcn(4, (4, 4))
    x = torch.randn(2, 20, 4)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_the_first_block_projects_only_when_widths_differ() -> None:
    def shortcuts(network: Tcn) -> list[str]:
        return [name for name, _ in network.named_parameters() if "shortcut" in name]

    assert not shortcuts(Tcn(5, (5, 5)))
    assert shortcuts(Tcn(4, (5, 5))) == ["blocks.0.shortcut.weight", "blocks.0.shortcut.bias"]


def causal(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, dilation: int) -> np.ndarray:
    batch, _, steps = x.shape
    out = np.zeros((batch, len(weight), steps))
    kernel = weight.shape[2]
    for k in range(steps):
        for tap in range(kernel):
            at = k - (kernel - 1 - tap) * dilation
            if at >= 0:
                out[:, :, k] += x[:, :, at] @ weight[:, :, tap].T
    return out + bias[:, None]


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.01 * x)
