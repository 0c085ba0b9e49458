"""The temporal convolutional network of one modality: what was said and seen up to now."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

__all__ = ["Tcn", "receptive_field"]

CONVOLUTIONS_PER_BLOCK = 2


def receptive_field(blocks: int, kernel: int) -> int:
    """Steps that one output sees, itself included: block i dilates by 2^i, so 1 + 2·(kernel − 1)·(2^blocks − 1)."""
    return 1 + CONVOLUTIONS_PER_BLOCK * (kernel - 1) * ((1 << blocks) - 1)


class Tcn(nn.Module):
    """Features (B, K, inputs) → (B, K, widths[-1]); strictly causal, then batch norm over the channels.

    One block per width, dilated 1, 2, 4, …. With kernel 5 and four blocks step k depends on steps k − 120 … k. The
    batch norm belongs to the fusion in the authors' code; it normalises this network's output and nothing else.
    """

    def __init__(self, inputs: int, widths: Sequence[int], *, kernel: int = 5, dropout: float = 0.1) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        width = inputs
        for index, wider in enumerate(widths):
            blocks.append(CausalBlock(width, wider, kernel=kernel, dilation=2**index, dropout=dropout))
            width = wider
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, features: Tensor) -> Tensor:
        normalised: Tensor = self.norm(self.blocks(features.transpose(1, 2)))
        return normalised.transpose(1, 2)


class CausalBlock(nn.Module):
    """[weight-normalised convolution → LeakyReLU → dropout] twice, plus the shortcut, then LeakyReLU. (B, C, K)."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.past = (kernel - 1) * dilation
        self.conv1 = weight_norm(nn.Conv1d(inputs, outputs, kernel, dilation=dilation))
        self.conv2 = weight_norm(nn.Conv1d(outputs, outputs, kernel, dilation=dilation))
        self.activation = nn.LeakyReLU(0.01)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv1d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for conv in (self.conv1, self.conv2):
            # Zeros on the left alone: what the authors get by padding both sides and cutting the right one off.
            y = self.dropout(self.activation(conv(functional.pad(y, (self.past, 0)))))
        total: Tensor = self.activation(y + self.shortcut(x))
        return total
