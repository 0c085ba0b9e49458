"""The spectrogram network: which pieces it takes, and its layers in the published order, in NumPy and float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from doubles.convolutions import Array, convolve, normalise, pool
from torch import nn

from affectrt.models import CavConfig, SpectrogramCnn


def narrow() -> SpectrogramCnn:
    torch.manual_seed(0)
    network = SpectrogramCnn((3, 4, 5, 6, 7)).double().eval()
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data *= 3
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight.data, part.running_var):
                tensor.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            for tensor in (part.bias.data, part.running_mean):
                tensor.uniform_(-0.5, 0.5)  # type: ignore[union-attr]
    return network


def reference(network: SpectrogramCnn, spectrogram: Array) -> Array:
    w = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}

    def conv(x: Array, name: str, stride: tuple[int, int], pad: int) -> Array:
        return convolve(x, w[f"{name}.weight"], stride, [(pad, pad)] * 2, w[f"{name}.bias"])

    def norm(x: Array, name: str) -> Array:
        parts = (w[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
        return normalise(x, *parts, eps=1e-5)

    def relu(x: Array) -> Array:
        return np.maximum(x, 0.0)

    x = relu(norm(conv(spectrogram[None], "conv1", (1, 2), 0), "norm1"))
    x = pool(x, (4, 2), (4, 2), [(0, 0)] * 2, -np.inf)
    x = relu(conv(x, "conv2", (1, 2), 1))
    x = norm(relu(conv(x, "conv2_2", (1, 1), 1)), "norm2_2")
    x = pool(x, (2, 2), (2, 2), [(0, n % 2) for n in x.shape[1:]], -np.inf)
    x = relu(conv(relu(conv(x, "conv3_1", (1, 1), 1)), "conv3_2", (1, 1), 1))
    assert x.shape[1:] == (13, 2)
    return np.asarray(x.mean(axis=(1, 2)))


def test_paper_network_has_the_published_parameters_and_no_dead_ones() -> None:
    with torch.device("meta"):
        network = SpectrogramCnn(CavConfig().audio_channels)
    assert sum(parameter.numel() for parameter in network.parameters()) == 8_499_328
    small = narrow().train()
    small(torch.randn(2, 128, 65, dtype=torch.float64)).square().sum().backward()
    assert [name for name, p in small.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("frames", [63, 65, 78])
def test_the_published_pieces_end_in_one_pixel(frames: int) -> None:
    with torch.device("meta"):
        network = SpectrogramCnn(CavConfig().audio_channels)
        assert network(torch.empty(2, 128, frames)).shape == (2, 1024)


@pytest.mark.parametrize(("bands", "frames"), [(128, 62), (128, 79), (128, 177), (128, 1), (64, 65), (129, 65)])
def test_other_pieces_are_refused(bands: int, frames: int) -> None:
    with pytest.raises(ValueError, match=f"128 bands and 63 to 78 frames, not {bands} × {frames}"):
        narrow()(torch.zeros(1, bands, frames, dtype=torch.float64))


@pytest.mark.parametrize("frames", [63, 65, 78])
def test_layers_come_in_the_published_order(frames: int) -> None:
    network = narrow()
    pieces = torch.randn(2, 128, frames, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = network(pieces).numpy()
    wanted = np.stack([reference(network, piece) for piece in pieces.numpy()])
    assert (wanted > 0.1).sum() >= 8, "a network that answers 0 proves nothing"
    assert np.abs(found - wanted).max() < 1e-12
