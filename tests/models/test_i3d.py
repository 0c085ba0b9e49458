"""I3D: the published sizes, TensorFlow's padding, and the whole network against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from doubles.convolutions import Array, convolve, normalise, pool, same
from torch import nn

from affectrt.models import CavConfig, I3d
from affectrt.models.i3d import ConvUnit, SamePool

ONE, THREE = (1, 1, 1), (3, 3, 3)
# What the paper's network makes of 16 × 224 × 224, stage by stage.
TABLE = {
    "conv_1a": (64, 8, 112, 112),
    "pool_2a": (64, 8, 56, 56),
    "conv_2b": (64, 8, 56, 56),
    "conv_2c": (192, 8, 56, 56),
    "pool_3a": (192, 8, 28, 28),
    "mixed_3b": (256, 8, 28, 28),
    "mixed_3c": (480, 8, 28, 28),
    "pool_4a": (480, 4, 14, 14),
    "mixed_4b": (512, 4, 14, 14),
    "mixed_4c": (512, 4, 14, 14),
    "mixed_4d": (512, 4, 14, 14),
    "mixed_4e": (528, 4, 14, 14),
    "mixed_4f": (832, 4, 14, 14),
    "pool_5a": (832, 2, 7, 7),
    "mixed_5b": (832, 2, 7, 7),
    "mixed_5c": (1024, 2, 7, 7),
}


def paper() -> I3d:
    with torch.device("meta"):
        return I3d(stem=CavConfig().i3d_stem, mixed=CavConfig().i3d_mixed)


def narrow() -> I3d:
    """Another width everywhere, so that two branches cannot change places; norms that are not the identity."""
    torch.manual_seed(0)
    units = tuple(tuple(1 + (unit + branch) % 4 for branch in range(6)) for unit in range(9))
    network = I3d(stem=(4, 5, 6), mixed=units).double().eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm3d):
            for tensor in (part.weight.data, part.running_var):
                tensor.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            for tensor in (part.bias.data, part.running_mean):
                tensor.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
    return network


def arrays(module: nn.Module) -> dict[str, Array]:
    return {name: tensor.double().numpy() for name, tensor in module.state_dict().items()}


def unit(x: Array, weights: dict[str, Array], name: str, stride: int = 1) -> Array:
    weight = weights[f"{name}.conv.weight"]
    kernel, steps = weight.shape[2:], (stride,) * 3
    y = convolve(x, weight, steps, same(x.shape[1:], kernel, steps))
    norm = (weights[f"{name}.norm.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
    return np.maximum(normalise(y, *norm, eps=1e-3), 0.0)


def zero_pool(x: Array, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Array:
    """The published pool: zeros around, not −∞."""
    return pool(x, kernel, stride, same(x.shape[1:], kernel, stride), 0.0)


def reference(weights: dict[str, Array], clip: Array) -> Array:
    x = unit(clip, weights, "trunk.conv_1a", stride=2)
    x = zero_pool(x, (1, 3, 3), (1, 2, 2))
    x = unit(unit(x, weights, "trunk.conv_2b"), weights, "trunk.conv_2c")
    x = zero_pool(x, (1, 3, 3), (1, 2, 2))
    for name in ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"):
        if name == "4b":
            x = zero_pool(x, (3, 3, 3), (2, 2, 2))
        if name == "5b":
            x = zero_pool(x, (2, 2, 2), (2, 2, 2))
        at = f"trunk.mixed_{name}"
        b0 = unit(x, weights, f"{at}.b0")
        b1 = unit(unit(x, weights, f"{at}.b1a"), weights, f"{at}.b1b")
        b2 = unit(unit(x, weights, f"{at}.b2a"), weights, f"{at}.b2b")
        b3 = unit(zero_pool(x, THREE, ONE), weights, f"{at}.b3b")
        x = np.concatenate([b0, b1, b2, b3])
    return np.asarray(x.mean(axis=(1, 2, 3)))


def test_paper_i3d_has_the_published_size() -> None:
    assert sum(parameter.numel() for parameter in paper().parameters()) == 12_287_264


def test_paper_i3d_has_57_convolutions_with_the_published_norms() -> None:
    network = paper()
    convolutions = [part for part in network.modules() if isinstance(part, nn.Conv3d)]
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm3d)]
    assert len(convolutions) == len(norms) == 57
    assert all(part.bias is None for part in convolutions)
    assert {(part.eps, part.momentum) for part in norms} == {(1e-3, 0.01)}


def test_every_stage_of_the_paper_has_the_published_shape() -> None:
    network = paper()
    with torch.device("meta"):
        maps = torch.empty(1, 3, 16, 224, 224)
        found = {}
        for name, stage in network.trunk.named_children():
            maps = stage(maps)
            found[name] = tuple(maps.shape[1:])
        assert found == TABLE
        assert network(torch.empty(2, 3, 16, 224, 224)).shape == (2, 1024)


@pytest.mark.parametrize("sizes", [(16, 12, 10), (7, 9, 11), (8, 7, 6), (1, 2, 3), (2, 1, 5)])
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 1), (1, 1)])
def test_convolutions_pad_as_tensorflow_does(sizes: tuple[int, int, int], kernel: int, stride: int) -> None:
    torch.manual_seed(1)
    layer = ConvUnit(3, 4, kernel, stride=stride).double().eval()
    x = torch.randn(2, 3, *sizes, dtype=torch.float64)
    with torch.no_grad():
        found = layer(x).numpy()
    for row, example in zip(found, x.numpy(), strict=True):
        wanted = unit(example, {f"it.{name}": array for name, array in arrays(layer).items()}, "it", stride)
        assert row.shape == wanted.shape == (4, *(-(-n // stride) for n in sizes))
        assert np.abs(row - wanted).max() < 1e-12


@pytest.mark.parametrize("sizes", [(16, 12, 10), (7, 9, 11), (8, 7, 6), (1, 2, 3), (3, 1, 2)])
@pytest.mark.parametrize(
    ("kernel", "stride"), [((1, 3, 3), (1, 2, 2)), (THREE, (2, 2, 2)), ((2, 2, 2), (2, 2, 2)), (THREE, ONE)]
)
def test_pools_of_rectified_maps_pad_as_tensorflow_does(
    sizes: tuple[int, int, int], kernel: tuple[int, int, int], stride: tuple[int, int, int]
) -> None:
    torch.manual_seed(2)
    x = torch.relu(torch.randn(4, *sizes, dtype=torch.float64))
    assert np.array_equal(SamePool(kernel, stride)(x[None])[0].numpy(), zero_pool(x.numpy(), kernel, stride))


@pytest.mark.parametrize("sizes", [(16, 32, 32), (16, 37, 45), (9, 33, 20), (5, 8, 64)])
def test_i3d_is_what_its_table_says(sizes: tuple[int, int, int]) -> None:
    network = narrow()
    clips = torch.rand(2, 3, *sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 2 - 1
    with torch.no_grad():
        found = network(clips).numpy()
        single = network.float()(clips.float()).numpy()
    wanted = np.stack([reference(arrays(narrow()), clip) for clip in clips.numpy()])
    assert found.shape == wanted.shape == (2, 7)
    assert wanted.max() > 0.1, "a network that answers 0 proves nothing"
    assert np.abs(found - wanted).max() < 1e-10
    assert np.abs(single - wanted).max() < 1e-5


def test_features_of_an_untrained_network_keep_the_scale_of_pictures() -> None:
    torch.manual_seed(4)
    network = I3d(stem=(8, 8, 16), mixed=((8, 8, 12, 4, 6, 6),) * 9).eval()
    with torch.no_grad():
        scale = network(torch.rand(2, 3, 16, 48, 48) * 2 - 1).abs().max()
    assert 0.1 < scale < 100


def test_every_weight_gets_a_gradient() -> None:
    network = narrow().train()
    network(torch.randn(2, 3, 16, 32, 32, dtype=torch.float64)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 1), (1, 1)])
def test_a_still_is_a_clip_whose_other_taps_meet_padding(kernel: int, stride: int) -> None:
    torch.manual_seed(3)
    unit = ConvUnit(2, 4, kernel, stride=stride).eval()
    still = torch.randn(2, 2, 1, 9, 10)
    padded = np.pad(still.numpy(), [(0, 0), (0, 0), *same(still.shape[2:], (kernel,) * 3, (stride,) * 3)])
    whole = torch.relu(unit.norm(nn.functional.conv3d(torch.from_numpy(padded), unit.conv.weight, stride=stride)))
    torch.testing.assert_close(unit(still), whole)
