"""From raw media to what a backbone sees, inside the graph, so that no consumer can get it wrong.

All stay FP32 in every precision: they are cheap, and the logarithm of a nearly silent band has no digits to lose.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "FRAMES",
    "GRID_SAMPLES",
    "MELS",
    "SAMPLE_RATE_HZ",
    "SPAN_SAMPLES",
    "ClipFrontEnd",
    "ImageFrontEnd",
    "LogMelFrontEnd",
    "mel_weights",
]

# The log-mel patch of VGGish.
SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms
FFT_SAMPLES = 512
FRAMES = 96
MELS = 64
LOW_HZ = 125.0
HIGH_HZ = 7500.0
LOG_OFFSET = 0.01
SPAN_SAMPLES = (FRAMES - 1) * HOP_SAMPLES + FRAME_SAMPLES  # 15 600
GRID_SAMPLES = HOP_SAMPLES  # patches of a recording start on frames of one spectrogram


class ImageFrontEnd(nn.Module):
    """uint8 (B, H, W, 3) → float32 (B, 3, H, W) in [−1, 1].

    The cast comes first: TensorRT takes uint8 as an input of the network and in no other operation. x / 127.5 − 1 is
    the papers' (x / 255 − 0.5) / 0.5 in two operations, and exactly −1 and 1 at 0 and 255.
    """

    def forward(self, images: Tensor) -> Tensor:
        return images.to(torch.float32).permute(0, 3, 1, 2) / 127.5 - 1.0


class ClipFrontEnd(nn.Module):
    """uint8 (B, frames, H, W, 3) → float32 (B, 3, frames, H, W) in [−1, 1], like `ImageFrontEnd` frame by frame."""

    def forward(self, clips: Tensor) -> Tensor:
        return clips.to(torch.float32).permute(0, 4, 1, 2, 3) / 127.5 - 1.0


class LogMelFrontEnd(nn.Module):
    """Waveform at 16 kHz (B, 15 600) in [−1, 1] → log-mel patch (B, 96 frames, 64 bands).

    Frames of 25 ms every 10 ms without centring, periodic Hann window, *magnitude* of a 512-point DFT, 64 HTK-mel
    bands over 125–7500 Hz, ln(mel + 0.01). The DFT is a strided convolution with the windowed basis of those bins
    that some band uses: no runtime needs an STFT operator.
    """

    basis: Tensor
    mel: Tensor

    def __init__(self) -> None:
        super().__init__()
        weights = mel_weights()
        bins = np.flatnonzero(weights.any(axis=1))
        time = np.arange(FRAME_SAMPLES)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * time / FRAME_SAMPLES)
        phase = 2 * np.pi * np.outer(bins, time) / FFT_SAMPLES
        basis = np.concatenate([np.cos(phase), np.sin(phase)]) * window
        # Not in checkpoints: they are facts of this class. from_numpy gives real tensors even under the meta device.
        self.register_buffer("basis", torch.from_numpy(basis[:, None].astype(np.float32)), persistent=False)
        self.register_buffer("mel", torch.from_numpy(weights[bins].astype(np.float32)), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        spectrum = functional.conv1d(waveform[:, None], self.basis, stride=HOP_SAMPLES)
        real, imaginary = spectrum.chunk(2, dim=1)
        # The root's gradient at 0 is infinite. 1e-10 of magnitude is far below the offset of the logarithm.
        magnitude = (real * real + imaginary * imaginary).clamp(min=1e-20).sqrt()
        return torch.log(magnitude.transpose(1, 2) @ self.mel + LOG_OFFSET)


def mel_weights() -> npt.NDArray[np.float64]:
    """Weights of FFT bin × band, shape (257, 64): triangles linear in HTK mel, none on DC."""
    hz = np.arange(FFT_SAMPLES // 2 + 1, dtype=np.float64) * (SAMPLE_RATE_HZ / FFT_SAMPLES)
    bins = 1127.0 * np.log1p(hz / 700.0)[:, None]
    edges = np.linspace(1127.0 * math.log1p(LOW_HZ / 700.0), 1127.0 * math.log1p(HIGH_HZ / 700.0), MELS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    weights: npt.NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0
    return weights
