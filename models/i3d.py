"""I3D: Inception-v1 inflated to three dimensions, the network for clips behind CAV's visual features."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["I3d"]

Three = tuple[int, int, int]

NORM_EPS, NORM_MOMENTUM = 1e-3, 0.01
MIXED = ("mixed_3b", "mixed_3c", "mixed_4b", "mixed_4c", "mixed_4d", "mixed_4e", "mixed_4f", "mixed_5b", "mixed_5c")
# Unit → the pool in front of it: name, kernel and stride over time, height, width.
POOL_BEFORE: dict[str, tuple[str, Three, Three]] = {
    "conv_2b": ("pool_2a", (1, 3, 3), (1, 2, 2)),
    "mixed_3b": ("pool_3a", (1, 3, 3), (1, 2, 2)),
    "mixed_4b": ("pool_4a", (3, 3, 3), (2, 2, 2)),
    "mixed_5b": ("pool_5a", (2, 2, 2), (2, 2, 2)),
}


class I3d(nn.Module):
    """Clips (B, 3, frames, H, W) in [−1, 1] → features (B, feature_dim): means over what remains of time and space.

    `stem` gives the widths of the first three convolutions, `mixed` those of each of the nine Inception units in the
    order b0, b1a, b1b, b2a, b2b, b3b; feature_dim is b0 + b1b + b2b + b3b of the last. With the paper's, which are the
    defaults of CavConfig: 12 287 264 parameters, and 16 × 224 × 224 pixels end in 2 × 7 × 7 places of 1024 channels.
    The logits of its pre-training are left out.

    Every convolution and pool pads as TensorFlow's "SAME" does, with which the shared weights were trained.
    """

    def __init__(self, *, stem: Sequence[int], mixed: Sequence[Sequence[int]]) -> None:
        super().__init__()
        first, second, width = stem
        units: dict[str, nn.Module] = {
            "conv_1a": ConvUnit(3, first, 7, stride=2),
            "conv_2b": ConvUnit(first, second, 1),
            "conv_2c": ConvUnit(second, width, 3),
        }
        for name, widths in zip(MIXED, mixed, strict=True):
            units[name] = unit = MixedUnit(width, widths)
            width = unit.width
        trunk: OrderedDict[str, nn.Module] = OrderedDict()
        for name, module in units.items():
            if name in POOL_BEFORE:
                pool, kernel, stride = POOL_BEFORE[name]
                trunk[pool] = SamePool(kernel, stride)
            trunk[name] = module
        self.trunk = nn.Sequential(trunk)

    def forward(self, clips: Tensor) -> Tensor:
        maps: Tensor = self.trunk(clips)
        return maps.mean(dim=(2, 3, 4))


class ConvUnit(nn.Module):
    """Convolution without bias, padded "SAME" → batch norm → ReLU, on (B, C, T, H, W)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride=stride, bias=False)
        # PyTorch's default shrinks what passes 22 layers, before the norms have seen data, to 1e-5.
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        self.norm = nn.BatchNorm3d(outputs, eps=NORM_EPS, momentum=NORM_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight
        pads = same_padding(x.shape[2:], self.conv.kernel_size, self.conv.stride)
        if x.shape[2] == 1:
            # A still: of the taps over time all but one would meet padding. Training on pictures rests on this.
            still, _ = pads[0]
            weight, pads = weight[:, :, still : still + 1], [(0, 0), *pads[1:]]
        front = [before for before, _ in pads]
        if any(before != after for before, after in pads):
            # PyTorch's convolutions pad both ends alike. In ONNX they need not, and the exporter joins the two.
            x = functional.pad(x, [amount for pair in reversed(pads) for amount in pair])
            front = [0, 0, 0]
        maps = functional.conv3d(x, weight, stride=self.conv.stride, padding=front)
        return torch.relu(self.norm(maps))


class SamePool(nn.Module):
    """Maximum over `kernel`, padded "SAME", of maps that are nowhere negative.

    The published padding is zeros. A ReLU comes before every pool, so zeros win nowhere that −∞ would not: the pool's
    own padding serves, which may differ in front and, through `ceil_mode`, at the end.
    """

    def __init__(self, kernel: Three, stride: Three) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        front = [before for before, _ in same_padding(x.shape[2:], self.kernel, self.stride)]
        return functional.max_pool3d(x, self.kernel, self.stride, padding=front, ceil_mode=True)


class MixedUnit(nn.Module):
    """Inception unit, four branches side by side: 1³ | 1³ → 3³ | 1³ → 3³ | pool 3³ → 1³. Times and places stay."""

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = widths
        self.b0 = ConvUnit(inputs, b0, 1)
        self.b1a = ConvUnit(inputs, b1a, 1)
        self.b1b = ConvUnit(b1a, b1b, 3)
        self.b2a = ConvUnit(inputs, b2a, 1)
        self.b2b = ConvUnit(b2a, b2b, 3)
        self.b3a = SamePool((3, 3, 3), (1, 1, 1))
        self.b3b = ConvUnit(inputs, b3b, 1)
        self.width = b0 + b1b + b2b + b3b

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x)))
        return torch.cat(branches, dim=1)


def same_padding(sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> list[tuple[int, int]]:
    """(before, after) along each axis, so that n places become ⌈n / stride⌉; the odd one goes to the end."""
    pads = []
    for n, k, s in zip(sizes, kernel, stride, strict=True):
        total = max(k - (n % s or s), 0)
        pads.append((total // 2, total - total // 2))
    return pads
