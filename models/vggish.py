"""VGGish: the convolutional network for log-mel patches behind the audio features."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .frontends import FRAMES, MELS

__all__ = ["Vggish"]

POOL_AFTER = (0, 1, 3, 5)  # convolutions that a 2×2 max-pool follows
SHRINK = 2 ** len(POOL_AFTER)


class Vggish(nn.Module):
    """Log-mel patches (B, 96, 64) → features (B, feature_dim), unbounded: no final ReLU, PCA or quantisation.

    The defaults are the paper's: 72 141 184 parameters.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int] = (64, 128, 256, 256, 512, 512),
        hidden: int = 4096,
        feature_dim: int = 128,
    ) -> None:
        super().__init__()
        convolutions: list[nn.Module] = []
        width = 1
        for index, wider in enumerate(channels):
            convolutions += [nn.Conv2d(width, wider, 3, padding=1), nn.ReLU()]
            if index in POOL_AFTER:
                convolutions.append(nn.MaxPool2d(2))
            width = wider
        self.convolutions = nn.Sequential(*convolutions)
        flat = width * (FRAMES // SHRINK) * (MELS // SHRINK)
        self.embeddings = nn.Sequential(
            nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, feature_dim)
        )

    def forward(self, patches: Tensor) -> Tensor:
        maps: Tensor = self.convolutions(patches[:, None])
        # (time, band, channel) is the order in which the published weights expect the flat vector.
        features: Tensor = self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))
        return features
