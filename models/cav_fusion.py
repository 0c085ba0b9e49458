"""From a window of features to one estimate per dimension: CAV's fusion and the baselines that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .cav_config import CavConfig
from .cross_attention import CrossAttention

__all__ = ["CavFusion", "tanh_head"]

NORM_EPS = 1e-12  # a feature of zeros, which stands for a missing modality, stays zeros


class CavFusion(nn.Module):
    """Windows of features, one (B, clips, feature_dim) per modality → estimates (B, outputs) in [−1, 1].

    Every feature is brought to L2 norm 1. Then, by `fusion` of the configuration:

    - `cross-attention`: attended features of both modalities, summed or side by side, maximum over the clips, head;
    - `concatenation` (early fusion): features side by side, maximum over the clips, head;
    - `scores` (late fusion): for each modality the maximum over the clips and a head of its own, mean of their answers.

    Of one modality alone the last two are the same.
    """

    def __init__(self, config: CavConfig, outputs: int) -> None:
        super().__init__()
        dims = config.feature_dims
        self.attention = None
        self.add = False
        widths = {"joint": sum(dims.values())}
        if config.fusion == "cross-attention":
            self.attention = CrossAttention(
                dims["video"],
                dims["audio"],
                softmax_axis=config.softmax_axis,
                residual_tanh=config.residual_tanh,
                temperature=config.temperature,
            )
            if config.combine == "sum":
                self.add = True
                widths = {"joint": dims["video"]}
        elif config.fusion == "scores":
            widths = dims
        self.heads = nn.ModuleDict(
            {
                name: tanh_head(width, config.head_hidden, outputs, dropout=config.head_dropout)
                for name, width in widths.items()
            }
        )

    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        """Features in the order video, audio, without the one that the model does not use."""
        given = [x for x in (first, second) if x is not None]
        features = [x / torch.linalg.vector_norm(x, dim=2, keepdim=True).clamp(min=NORM_EPS) for x in given]
        if self.attention is not None:
            features = list(self.attention(*features))
        if self.add:
            features = [features[0] + features[1]]
        elif len(self.heads) < len(features):
            features = [torch.cat(features, dim=2)]
        scores = [head(x.amax(dim=1)) for head, x in zip(self.heads.values(), features, strict=True)]
        return scores[0] if len(scores) == 1 else torch.stack(scores).mean(dim=0)


def tanh_head(width: int, hidden: Sequence[int], outputs: int, *, dropout: float) -> nn.Sequential:
    """(B, width) → (B, outputs): dropout, then Linear → tanh for every width of `hidden` and for the outputs.

    1024 → 512 → 256 → 1, the published head, has 656 385 parameters.
    """
    layers: list[nn.Module] = [nn.Dropout(dropout)]
    for wider in (*hidden, outputs):
        layers += [nn.Linear(width, wider), nn.Tanh()]
        width = wider
    return nn.Sequential(*layers)
