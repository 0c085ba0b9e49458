"""The loss of a global batch, whatever part of it each process holds."""

from __future__ import annotations

import torch
from torch import Tensor, distributed

from affectrt.training.losses import CccLoss

from .rules import Rules

__all__ = ["author_cav_loss", "batch_loss", "whole_batch"]


class _Sum(torch.autograd.Function):
    """Sum over all processes; its gradient is summed over them as well.

    Each process computes the same loss of the whole batch. Its own rows' gradient so comes back once for each process,
    and DistributedDataParallel's mean over the processes leaves it once. (torch.distributed.nn has had this function
    and announces its end; its successor's gradient does not sum.)
    """

    @staticmethod
    def forward(ctx: object, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total


def summed(tensor: Tensor) -> Tensor:
    """The sum over all processes, through which gradients flow; the tensor itself where there is one process."""
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return tensor
    total: Tensor = _Sum.apply(tensor)  # type: ignore[no-untyped-call]
    return total


def whole_batch(rows: Tensor) -> Tensor:
    """The global batch (n, …) from every process's share, which is its rank, rank + world, …: in the batch's order."""
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return rows
    count = torch.tensor(len(rows), device=rows.device)
    distributed.all_reduce(count)
    # -0.0 + x is x to the last bit, whatever its sign
    whole = rows.new_zeros((int(count), *rows.shape[1:]))
    places = torch.arange(distributed.get_rank(), int(count), distributed.get_world_size(), device=rows.device)
    return summed(whole.index_copy(0, places, rows))


def batch_loss(rules: Rules, estimates: Tensor, truth: Tensor, mask: Tensor, *, per_window: bool) -> Tensor:
    """1 − CCC. `estimates` and `truth` (B, T, outputs), `mask` (B, T): the windows of this process.

    Of RCMA's series the mean over the windows of each one's; of CAV, one estimate for a window (T = 1), over the batch.
    """
    estimates = whole_batch(estimates.float())
    truth, mask = whole_batch(truth), whole_batch(mask.to(torch.uint8)).bool()
    if per_window:
        estimates, truth, mask = estimates.transpose(0, 1), truth.transpose(0, 1), mask.transpose(0, 1)
    if rules.ccc == "author_cav":
        return author_cav_loss(estimates, truth)
    loss: Tensor = CccLoss("author" if rules.ccc == "author_rcma" else "lin")(estimates, truth, mask)
    return loss


def author_cav_loss(estimates: Tensor, truth: Tensor) -> Tensor:
    """The CAV authors' 1 − ρ_c (C1 losses/CCC_loss.py:13-24), mean over windows and dimensions.

    ρ = Σ v_x v_y / (√Σv_x² · √Σv_y² + 1e-8); ρ_c = 2 ρ s_x s_y / (s_x² + s_y² + (x̄ − ȳ)² + 1e-8), s unbiased.
    (B, T, dimensions); a series of one value has no deviation: NaN, as there.
    """
    x, y = estimates.double(), truth.double()
    mean_x, mean_y = x.mean(dim=1), y.mean(dim=1)
    apart_x, apart_y = x - mean_x.unsqueeze(1), y - mean_y.unsqueeze(1)
    norms = apart_x.square().sum(dim=1).sqrt() * apart_y.square().sum(dim=1).sqrt()
    correlation = (apart_x * apart_y).sum(dim=1) / (norms + 1e-8)
    spread_x, spread_y = x.std(dim=1), y.std(dim=1)
    ccc = 2 * correlation * spread_x * spread_y / (spread_x**2 + spread_y**2 + (mean_x - mean_y) ** 2 + 1e-8)
    return (1 - ccc).mean().to(estimates.dtype)
