"""Cross-correlation attention between video and audio (arXiv 2111.05222), over the clips of a window.

Of the paper's equations only the first, the correlation, could be read; the rest follows the released code, whose
product of maps and features raises a shape error, in the one reading in which the shapes agree. Its successor's code
holds the variants that the options name: the softmax over the other index, and a residual with tanh.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .cav_config import SoftmaxAxis

__all__ = ["CrossAttention"]


class CrossAttention(nn.Module):
    """Features of video (B, L, d_v) and audio (B, L, d_a) → both attended, of the same shapes.

    With X_v, X_a and the learnt W (d_a × d_v), Z = X_a W X_vᵀ / temperature, L × L, audio × video:

    A_a = softmax(Z), A_v = softmax(Zᵀ), along the first index ("column": each column sums to 1, so an attended
    feature is a mean over the clips of its own modality) or along the second ("row": each row does);
    X̂_a = A_aᵀ X_a, X̂_v = A_vᵀ X_v; with `residual_tanh` tanh(X_a + X̂_a), tanh(X_v + X̂_v).

    On features of norm 1 the maps start out almost uniform: the entries of Z have a deviation of about 0.03 at
    d = 1024.
    """

    def __init__(
        self,
        video_dim: int,
        audio_dim: int,
        *,
        softmax_axis: SoftmaxAxis = "column",
        residual_tanh: bool = False,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.correlation = nn.Parameter(torch.empty(audio_dim, video_dim))
        nn.init.xavier_normal_(self.correlation)
        self.map_axis = 1 if softmax_axis == "column" else 2
        self.residual_tanh = residual_tanh
        self.temperature = temperature

    def forward(self, video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        audio_map, video_map = self.maps(video, audio)
        attended_video = video_map.transpose(1, 2) @ video
        attended_audio = audio_map.transpose(1, 2) @ audio
        if self.residual_tanh:
            return torch.tanh(video + attended_video), torch.tanh(audio + attended_audio)
        return attended_video, attended_audio

    def maps(self, video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """A_a (B, L, L), audio × video, and A_v (B, L, L), video × audio."""
        scores = audio @ self.correlation @ video.transpose(1, 2) / self.temperature
        return torch.softmax(scores, self.map_axis), torch.softmax(scores.transpose(1, 2), self.map_axis)
