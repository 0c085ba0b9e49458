"""CAV's spectrogram: from a piece of waveform to what its audio network sees, inside the graph, in FP32 throughout."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from .frontends import SAMPLE_RATE_HZ

__all__ = ["Log2MelFrontEnd", "mel_triangles"]

WINDOW_SAMPLES = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms
FFT_SAMPLES = 1024
MELS = 128
NOTHING = 1e-19  # stands for a band without any power
FLAT = 1e-3  # mean depth below the peak, in octaves of power, under which a piece is constant


class Log2MelFrontEnd(nn.Module):
    """Pieces of waveform at 16 kHz (B, samples) → (B, 128 bands, 1 + samples // 160 frames); 10 240 give 65 frames.

    The published steps (arXiv 2111.05222, its code): power of a 1024-point DFT under a periodic Hann window of 25 ms
    every 10 ms, frames centred, the piece mirrored at its ends, divided by the window's energy; 128 HTK-mel bands over
    0–8000 Hz; exact zeros → 1e-19; log2; z-score z over the piece; z / max z · 2 − 1. So the peak is 1, the mean −1,
    and nothing bounds the rest below.

    With d = log2 − max log2, which is 0 at the peak and negative elsewhere, z / max z is 1 − d / mean d: deviation and
    mean of the z-score cancel. It is computed in this form, which loses no digits. A constant piece, digital silence
    for one, is 0 / 0 in the published code; here it is −1 everywhere.

    The DFT is a strided convolution with the windowed basis. Mirroring reaches 200 samples, half a window: what the
    published frames of 1024 samples hold beyond is under the window's zeros, and the power does not show the shift.
    """

    basis: Tensor
    mel: Tensor

    def __init__(self) -> None:
        super().__init__()
        weights = mel_triangles()
        bins = np.flatnonzero(weights.any(axis=1))
        time = np.arange(WINDOW_SAMPLES)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * time / WINDOW_SAMPLES)
        phase = 2 * np.pi * np.outer(bins, time) / FFT_SAMPLES
        # The window's energy matters beside the 1e-19 alone; elsewhere the z-score cancels it.
        basis = np.concatenate([np.cos(phase), np.sin(phase)]) * window / np.sqrt(np.square(window).sum())
        # Not in checkpoints: they are facts of this class. from_numpy gives real tensors even under the meta device.
        self.register_buffer("basis", torch.from_numpy(basis[:, None].astype(np.float32)), persistent=False)
        self.register_buffer("mel", torch.from_numpy(weights[bins].T.astype(np.float32)), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        reach = WINDOW_SAMPLES // 2
        mirrored = functional.pad(waveform[:, None], (reach, reach), mode="reflect")
        real, imaginary = functional.conv1d(mirrored, self.basis, stride=HOP_SAMPLES).chunk(2, dim=1)
        power = self.mel @ (real * real + imaginary * imaginary)
        octaves = torch.log2(torch.where(power == 0, NOTHING, power))
        depth = octaves - octaves.amax(dim=(1, 2), keepdim=True)
        mean = depth.mean(dim=(1, 2), keepdim=True)
        constant = mean > -FLAT
        return torch.where(constant, -1.0, 1.0 - 2.0 * depth / torch.where(constant, -1.0, mean))


def mel_triangles() -> npt.NDArray[np.float64]:
    """Weights of FFT bin × band, shape (513, 128): triangles linear in Hz between edges that are even in HTK mel.

    Not normalised by their width. VGGish's triangles, in `frontends`, are linear in mel.
    """
    hz = np.arange(FFT_SAMPLES // 2 + 1, dtype=np.float64)[:, None] * (SAMPLE_RATE_HZ / FFT_SAMPLES)
    top = 2595.0 * np.log10(1.0 + SAMPLE_RATE_HZ / 2 / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(0.0, top, MELS + 2) / 2595.0) - 1.0)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (hz - low) / (centre - low)
    falling = (high - hz) / (high - centre)
    weights: npt.NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return weights
