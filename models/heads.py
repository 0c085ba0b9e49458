"""From attended features, side by side, to estimates in [−1, 1]."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["HEADS", "HeadForm", "LinearHead", "MlpHead"]

HeadForm = Literal["linear", "mlp"]
HEADS: tuple[HeadForm, ...] = ("linear", "mlp")


class LinearHead(nn.Module):
    """(B, K, width) → (B, K, outputs): Linear → tanh, as in the first version's code."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, outputs)

    def forward(self, features: Tensor) -> Tensor:
        return torch.tanh(self.linear(features))


class MlpHead(nn.Module):
    """(B, K, width) → (B, K, outputs): Linear → batch norm over (B, K) → LeakyReLU → Linear → tanh (later code)."""

    def __init__(self, width: int, outputs: int, *, hidden: int = 256) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.activation = nn.LeakyReLU(0.01)
        self.linear = nn.Linear(hidden, outputs)

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.norm(self.hidden(features).transpose(1, 2)).transpose(1, 2)
        return torch.tanh(self.linear(self.activation(hidden)))
