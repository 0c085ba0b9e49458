"""The loss that both papers train with: one minus the concordance correlation coefficient."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

__all__ = ["CccLoss", "CccMode"]

CccMode = Literal["lin", "author"]


class CccLoss(nn.Module):
    """1 − CCC of every window and dimension, then the mean over both.

    "lin": Lin's CCC, every moment biased, over the steps that `mask` names; windows without any such step are left
    out. "author": what the RCMA authors' training computes: biased covariance, unbiased variances, and steps that
    pad a short window count with their zero labels, so `mask` is not looked at. There, two equal series of n steps
    lose 1/n.
    """

    def __init__(self, mode: CccMode = "lin") -> None:
        super().__init__()
        self.mode = mode

    def forward(self, estimates: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
        """`estimates` and `truth` (batch, steps) or (batch, steps, dimensions); `mask` bool (batch, steps)."""
        # float64: small differences of squares, and 1e-50 would be 0 in float32
        x, y = estimates.double(), truth.double()
        if x.dim() == 2:
            x, y = x.unsqueeze(-1), y.unsqueeze(-1)
        ccc = _author_ccc(x, y) if self.mode == "author" else _lin_ccc(x, y, mask)
        return (1.0 - ccc).mean().to(estimates.dtype)


def _lin_ccc(x: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
    """(windows with a valid step, dimensions)"""
    weight = x.new_ones(x.shape[:2]) if mask is None else mask.to(x.dtype)
    valid = weight.sum(dim=1) > 0
    x, y, weight = x[valid], y[valid], weight[valid].unsqueeze(-1)
    weight = weight / weight.sum(dim=1, keepdim=True)
    mean_x = (weight * x).sum(dim=1, keepdim=True)
    mean_y = (weight * y).sum(dim=1, keepdim=True)
    covariance = (weight * (x - mean_x) * (y - mean_y)).sum(dim=1)
    spread = (weight * ((x - mean_x) ** 2 + (y - mean_y) ** 2)).sum(dim=1)
    # 1e-8: both constant and equal is a loss of 1 with a gradient of 0, not a NaN
    return 2 * covariance / (spread + (mean_x - mean_y).squeeze(1) ** 2 + 1e-8)


def _author_ccc(x: Tensor, y: Tensor) -> Tensor:
    mean_x, mean_y = x.mean(dim=1), y.mean(dim=1)
    covariance = (x * y).mean(dim=1) - mean_x * mean_y
    return 2 * covariance / (x.var(dim=1) + y.var(dim=1) + (mean_x - mean_y) ** 2 + 1e-50)
