"""IR-50 and VGGish: shapes, and the places where an implementation can be silently different."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from affectrt.models import Ir50, Vggish
from affectrt.models.ir50 import ResidualUnit


def narrow_ir50(**changes: object) -> Ir50:
    torch.manual_seed(0)
    return Ir50(units=(1, 1, 2, 1), widths=(4, 6, 8, 10), feature_dim=7, **changes).eval()  # type: ignore[arg-type]


def test_paper_ir50_halves_forty_pixels_to_five() -> None:
    with torch.device("meta"):
        network = Ir50().eval()
        maps = network.body(network.stem(torch.empty(2, 3, 40, 40)))
        assert maps.shape == (2, 512, 5, 5)
        assert network(torch.empty(2, 3, 40, 40)).shape == (2, 512)


def test_paper_ir50_has_three_convolutional_shortcuts() -> None:
    with torch.device("meta"):
        units = list(Ir50().body)
    assert len(units) == 24
    assert [i for i, unit in enumerate(units) if isinstance(unit.shortcut, nn.Sequential)] == [3, 7, 21]
    assert all(isinstance(units[i].shortcut, nn.Identity) for i in range(24) if i not in (3, 7, 21))


@pytest.mark.parametrize("crop", [40, 33, 56])
def test_visual_features_have_norm_one_at_any_crop(crop: int) -> None:
    features = narrow_ir50(crop_px=crop)(torch.randn(3, 3, crop, crop))
    assert features.shape == (3, 7)
    assert torch.allclose(features.norm(dim=1), torch.ones(3))


def test_classify_needs_logits() -> None:
    with pytest.raises(ValueError, match="classes=8"):
        narrow_ir50().classify(torch.zeros(1, 3, 40, 40))
    assert narrow_ir50(classes=8).classify(torch.zeros(1, 3, 40, 40)).shape == (1, 8)


@pytest.mark.parametrize(("width", "wider", "stride"), [(4, 4, 1), (4, 4, 2), (4, 6, 2)])
def test_residual_unit_is_bn_conv_prelu_conv_bn_plus_shortcut(width: int, wider: int, stride: int) -> None:
    torch.manual_seed(1)
    unit = ResidualUnit(width, wider, stride).double().eval()
    scatter(unit)
    x = torch.randn(2, width, 9, 9, dtype=torch.float64)
    first, conv1, prelu, conv2, last = unit.residual
    y = functional.conv2d(bn(x, first), conv1.weight, padding=1)
    y = torch.where(y > 0, y, prelu.weight.view(1, -1, 1, 1) * y)
    y = bn(functional.conv2d(y, conv2.weight, stride=stride, padding=1), last)
    skip = x[:, :, ::stride, ::stride]
    if width != wider:
        skip = bn(torch.einsum("oi,bihw->bohw", unit.shortcut[0].weight[:, :, 0, 0], skip), unit.shortcut[1])
    assert torch.allclose(unit(x), y + skip, atol=1e-12)
    assert bool((unit(x) < 0).any()), "no activation follows the sum"


def test_ir50_output_is_flattened_channel_first() -> None:
    """The order of the 12 800 inputs of the published Linear."""
    network = narrow_ir50()
    scatter(network)
    x = torch.randn(2, 3, 40, 40)
    maps = bn(network.body(network.stem(x)), network.output[0])
    linear = network.output[3]
    flat = bn(maps.reshape(2, -1) @ linear.weight.T + linear.bias, network.output[4])
    assert torch.allclose(network(x), flat / flat.square().sum(1, keepdim=True).sqrt(), atol=1e-5)


def test_vggish_flattens_time_then_band_then_channel() -> None:
    torch.manual_seed(2)
    network = Vggish(channels=(2, 3, 4, 4, 5, 5), hidden=6, feature_dim=7).eval()
    patches = torch.randn(2, 96, 64)
    maps = network.convolutions(patches[:, None])
    assert maps.shape == (2, 5, 6, 4)
    first = network.embeddings[0]
    weight = first.weight.view(6, 6, 4, 5)
    wanted = torch.einsum("octn,bnct->bo", weight.permute(0, 2, 1, 3), maps.permute(0, 1, 3, 2)) + first.bias
    assert torch.allclose(network.embeddings[1:](wanted), network(patches), atol=1e-5)


def test_vggish_features_are_not_rectified() -> None:
    torch.manual_seed(3)
    features = Vggish(channels=(2, 3, 4, 4, 5, 5), hidden=6, feature_dim=50)(torch.randn(2, 96, 64))
    assert features.shape == (2, 50)
    assert bool((features < 0).any())


@pytest.mark.parametrize("width", [3, 4, 7, 8, 12, 16])
def test_a_narrow_shortcut_learns_the_right_gradient_from_channels_last(width: int) -> None:
    """As it lies behind a front end whose pixels are NHWC; oneDNN's own kernel gave garbage here, hung or crashed."""
    torch.manual_seed(5)
    unit = ResidualUnit(width, 20, 2)
    x = torch.randn(4, width, 16, 16).to(memory_format=torch.channels_last)
    plain = copy.deepcopy(unit).double()
    target = torch.randn(4, 20, 8, 8)
    (unit(x) * target).sum().backward()
    (plain(x.double()) * target.double()).sum().backward()
    for found, wanted in zip(unit.parameters(), plain.parameters(), strict=True):
        assert found.grad is not None and wanted.grad is not None
        assert torch.allclose(found.grad.double(), wanted.grad, rtol=1e-3, atol=1e-3 * float(wanted.grad.abs().max()))


def bn(x: Tensor, norm: nn.Module) -> Tensor:
    shape = (1, -1) + (1,) * (x.ndim - 2)
    mean, var, weight, bias = (
        t.view(shape)
        for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)  # type: ignore[operator]
    )
    return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias


def scatter(module: nn.Module) -> None:
    """Statistics and slopes unlike their initial values, so that a forgotten one shows."""
    generator = torch.Generator().manual_seed(4)
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for tensor in (part.running_mean, part.running_var, part.weight.data, part.bias.data):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif isinstance(part, nn.PReLU):
            part.weight.data.uniform_(0.1, 0.4, generator=generator)
