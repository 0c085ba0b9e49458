"""IR-50: the residual network for faces behind the visual features (ArcFace's "improved residual" units)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Ir50"]


class Ir50(nn.Module):
    """Crops (B, 3, crop, crop) in [−1, 1] → features (B, feature_dim) of L2 norm 1.

    The defaults are the paper's: 37 283 520 parameters, 37 287 624 with the `classes`=8 logits that its pre-training
    on expressions used and the fusion does not.
    """

    def __init__(
        self,
        *,
        crop_px: int = 40,
        units: Sequence[int] = (3, 4, 14, 3),
        widths: Sequence[int] = (64, 128, 256, 512),
        feature_dim: int = 512,
        dropout: float = 0.4,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0])
        )
        body: list[nn.Module] = []
        width, side = widths[0], crop_px
        for stage, (count, wider) in enumerate(zip(units, widths, strict=True)):
            for unit in range(count):
                stride = 2 if unit == 0 and stage > 0 else 1
                body.append(ResidualUnit(width, wider, stride))
                width = wider
                side = -(-side // stride)
        self.body = nn.Sequential(*body)
        self.output = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(width * side * side, feature_dim),
            nn.BatchNorm1d(feature_dim),
        )
        self.logits = None if classes is None else nn.Linear(feature_dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.output(self.body(self.stem(images)))
        # No epsilon, as in the authors' network: after a batch norm with its own bias the norm is not 0.
        normalised: Tensor = features / torch.linalg.vector_norm(features, dim=1, keepdim=True)
        return normalised

    def classify(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of the pre-training task; ValueError where the network was built without."""
        if self.logits is None:
            raise ValueError("this Ir50 has no logits; build it with classes=8")
        logits: Tensor = self.logits(self(images))
        return logits


class ResidualUnit(nn.Module):
    """BN → conv → PReLU → conv → BN, plus the shortcut; no activation after the sum."""

    def __init__(self, width: int, wider: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Conv2d(width, wider, 3, padding=1, bias=False),
            nn.PReLU(wider),
            nn.Conv2d(wider, wider, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(wider),
        )
        self.shortcut: nn.Module
        if width != wider:
            self.shortcut = nn.Sequential(nn.Conv2d(width, wider, 1, stride=stride, bias=False), nn.BatchNorm2d(wider))
        elif stride != 1:
            self.shortcut = nn.MaxPool2d(1, stride)
        else:
            self.shortcut = nn.Identity()
        # oneDNN's gradient of a strided 1 x 1 convolution writes out of bounds where its input lies channels last with
        # fewer channels than a vector holds (its issue 6035): wrong gradients, a crash or no end.
        block = 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 8
        self.channels_first = stride != 1 and width < block

    def forward(self, x: Tensor) -> Tensor:
        entering = x.contiguous() if self.channels_first and torch.is_grad_enabled() else x
        total: Tensor = self.residual(x) + self.shortcut(entering)
        return total
