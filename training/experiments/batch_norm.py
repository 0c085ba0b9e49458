"""Batch statistics over all processes on the CPU, where torch's SyncBatchNorm refuses to run."""

from __future__ import annotations

import torch
from lightning.pytorch.plugins.layer_sync import LayerSync
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .objective import summed

__all__ = ["CpuSyncBatchNorm"]


class _Synced(_BatchNorm):
    """A batch norm of any number of dimensions whose moments are those of the global batch."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - the name of torch
        pass

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        if not self.training:
            return super().forward(input)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        values = input.movedim(1, 0).flatten(1).double()
        count = summed(values.new_tensor(float(values.shape[1])))
        mean = summed(values.sum(dim=1)) / count
        shape = [1, -1] + [1] * (len(axes) - 1)
        # centred, not E[x²] − E[x]²: two sums that are nearly equal have no digits left
        variance = summed((values - mean.unsqueeze(1)).square().sum(dim=1)) / count
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
                self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), share)
        scale = torch.rsqrt(variance + self.eps).to(input.dtype)
        normal = (input - mean.to(input.dtype).view(shape)) * scale.view(shape)
        return normal * self.weight.view(shape) + self.bias.view(shape) if self.affine else normal


class CpuSyncBatchNorm(LayerSync):
    """Lightning's plugin for it: every batch norm of a model is replaced, with its own tensors, and put back."""

    def apply(self, model: nn.Module) -> nn.Module:
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, _BatchNorm) and not isinstance(child, _Synced):
                    synced = _Synced(
                        child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
                    )
                    synced._parameters, synced._buffers = child._parameters, child._buffers
                    synced.train(child.training)
                    setattr(module, name, synced)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        return model  # the state dict is the same, and the process ends with the training
