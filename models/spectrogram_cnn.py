"""The convolutional network for log-mel pieces behind CAV's audio features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["SpectrogramCnn"]

BANDS = 128
FEWEST_FRAMES, MOST_FRAMES = 63, 78  # what leaves 13 × 2 places under the published last pool, and so one pixel


class SpectrogramCnn(nn.Module):
    """Log-mel spectrograms (B, 128 bands, 63 to 78 frames) → features (B, channels[-1]), never negative.

    Batch norm comes before the first ReLU but after the third: so it does in the published network, and so its
    weights want it. With its widths, the defaults of CavConfig, there are 8 499 328 parameters; what the published
    state dict holds beyond them takes no part in the output and is not built. ValueError for other sizes.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        c1, c2, c2_2, c3_1, c3_2 = channels
        self.conv1 = nn.Conv2d(1, c1, 5, stride=(1, 2))
        self.norm1 = nn.BatchNorm2d(c1)
        self.pool1 = nn.MaxPool2d((4, 2))
        self.conv2 = nn.Conv2d(c1, c2, 5, stride=(1, 2), padding=1)
        self.conv2_2 = nn.Conv2d(c2, c2_2, 3, padding=1)
        self.norm2_2 = nn.BatchNorm2d(c2_2)
        self.pool2 = nn.MaxPool2d(2, ceil_mode=True)
        self.conv3_1 = nn.Conv2d(c2_2, c3_1, 5, padding=1)
        self.conv3_2 = nn.Conv2d(c3_1, c3_2, 3, padding=1)

    def forward(self, spectrograms: Tensor) -> Tensor:
        bands, frames = spectrograms.shape[1:]
        if bands != BANDS or not FEWEST_FRAMES <= frames <= MOST_FRAMES:
            raise ValueError(
                f"this network takes spectrograms of {BANDS} bands and {FEWEST_FRAMES} to {MOST_FRAMES} frames, "
                f"not {bands} × {frames}"
            )
        x = spectrograms[:, None]
        x = self.pool1(torch.relu(self.norm1(self.conv1(x))))
        x = torch.relu(self.conv2(x))
        x = self.pool2(self.norm2_2(torch.relu(self.conv2_2(x))))
        x = torch.relu(self.conv3_2(torch.relu(self.conv3_1(x))))
        return x.mean(dim=(2, 3))
