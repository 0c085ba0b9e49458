"""CAV's documented equations on the authors' own tensors: NumPy, float64, nothing clever, no torch.

`State` maps the authors' names, without `module.`, to arrays. Padding, order of norms and ReLUs, and pools are written
out as documented (arXiv 2111.05222, its code), so that an import which confuses two tensors cannot agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

__all__ = ["State", "audio_features", "fused", "i3d_features"]

Array = npt.NDArray[np.float64]
State = Mapping[str, Array]

MIXED_BY_STAGE = (("3b", "3c"), ("4b", "4c", "4d", "4e", "4f"), ("5b", "5c"))
POOLS = (((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2)))  # before each of these stages


def i3d_features(state: State, clip: Array, prefix: str = "") -> Array:
    """One clip (3, T, H, W) in [−1, 1] → its feature (d,)."""
    x = _unit(state, f"{prefix}Conv3d_1a_7x7", clip, 7, 2)
    x = _same_pool(x, (1, 3, 3), (1, 2, 2))
    x = _unit(state, f"{prefix}Conv3d_2b_1x1", x, 1)
    x = _unit(state, f"{prefix}Conv3d_2c_3x3", x, 3)
    for numbers, (kernel, stride) in zip(MIXED_BY_STAGE, POOLS, strict=True):
        x = _same_pool(x, kernel, stride)
        for number in numbers:
            x = _mixed(state, f"{prefix}Mixed_{number}", x)
    return x.mean(axis=(1, 2, 3))


def audio_features(state: State, spectrogram: Array) -> Array:
    """One log-mel piece (bands, frames) → its feature (d,)."""
    x = _conv(state, "conv1", spectrogram[None], (1, 2), 0)
    x = _pool(_relu(_norm(state, "bn49", x, 1e-5)), (4, 2), (4, 2), ceil=False)
    x = _relu(_conv(state, "conv2", x, (1, 2), 1))
    x = _norm(state, "bn50", _relu(_conv(state, "conv2_2", x, (1, 1), 1)), 1e-5)
    x = _pool(x, (2, 2), (2, 2), ceil=True)
    x = _relu(_conv(state, "conv3_1", x, (1, 1), 1))
    x = _relu(_conv(state, "conv3_2", x, (1, 1), 1))
    assert x.shape[1:] == (13, 2), "the published average pool covers exactly this"
    return x.mean(axis=(1, 2))


def fused(head: State, correlation: Array, video: Array, audio: Array, *, combine: str = "sum") -> float:
    """A window of features of each modality (L, d), as the backbones give them → the estimate."""
    video = video / np.maximum(np.linalg.norm(video, axis=1, keepdims=True), 1e-12)
    audio = audio / np.maximum(np.linalg.norm(audio, axis=1, keepdims=True), 1e-12)
    z = audio @ correlation @ video.T  # audio × video
    audio_map, video_map = _column_softmax(z), _column_softmax(z.T)
    attended_audio, attended_video = (audio.T @ audio_map).T, (video.T @ video_map).T
    if combine == "sum":
        x = (attended_audio + attended_video).max(axis=0)
    else:
        x = np.concatenate([attended_video, attended_audio], axis=1).max(axis=0)
    for number in (1, 3, 5):
        layer = f"modal_predictions.{number}"
        x = np.tanh(head[f"{layer}.weight"] @ x + head[f"{layer}.bias"])
    return float(x[0])


def _mixed(state: State, name: str, x: Array) -> Array:
    pooled = _same_pool(x, (3, 3, 3), (1, 1, 1))
    return np.concatenate(
        [
            _unit(state, f"{name}.b0", x, 1),
            _unit(state, f"{name}.b1b", _unit(state, f"{name}.b1a", x, 1), 3),
            _unit(state, f"{name}.b2b", _unit(state, f"{name}.b2a", x, 1), 3),
            _unit(state, f"{name}.b3b", pooled, 1),
        ]
    )


def _unit(state: State, name: str, x: Array, kernel: int, stride: int = 1) -> Array:
    """Convolution with TensorFlow's "SAME" padding → batch norm of eps 1e-3 → ReLU."""
    padded = _same(x, (kernel,) * 3, (stride,) * 3)
    y = _correlate(padded, state[f"{name}.conv3d.weight"], (stride,) * 3)
    return _relu(_norm(state, f"{name}.bn", y, 1e-3))


def _same(x: Array, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Array:
    """Zeros such that n places become ⌈n / stride⌉; an odd one goes to the end."""
    pads = [(0, 0)]
    for n, k, s in zip(x.shape[1:], kernel, stride, strict=True):
        total = max((math.ceil(n / s) - 1) * s + k - n, 0)
        pads.append((total // 2, total - total // 2))
    return np.pad(x, pads)


def _same_pool(x: Array, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Array:
    axes = tuple(range(-len(kernel), 0))
    return _windows(_same(x, kernel, stride), kernel, stride).max(axis=axes)


def _conv(state: State, name: str, x: Array, stride: tuple[int, int], padding: int) -> Array:
    padded = np.pad(x, [(0, 0), (padding, padding), (padding, padding)])
    return _correlate(padded, state[f"{name}.weight"], stride) + state[f"{name}.bias"][:, None, None]


def _pool(x: Array, kernel: tuple[int, int], stride: tuple[int, int], *, ceil: bool) -> Array:
    """Maximum without padding; `ceil` keeps a last window that hangs over the edge, by what of it is inside."""
    if ceil:
        hang = [(-(n - k)) % s for n, k, s in zip(x.shape[1:], kernel, stride, strict=True)]
        x = np.pad(x, [(0, 0), *((0, more) for more in hang)], constant_values=-np.inf)
    return _windows(x, kernel, stride).max(axis=(-2, -1))


def _correlate(x: Array, weight: Array, stride: tuple[int, ...]) -> Array:
    """(C, …) with (O, C, …kernel) → (O, …), as one product of matrices."""
    windows = np.moveaxis(_windows(x, weight.shape[2:], stride), 0, len(weight.shape) - 2)
    places = windows.shape[: len(stride)]
    flat = windows.reshape(math.prod(places), -1) @ weight.reshape(len(weight), -1).T
    return np.moveaxis(flat.reshape(*places, len(weight)), -1, 0)


def _windows(x: Array, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Array:
    """(C, …) → (C, …places, …kernel)."""
    axes = tuple(range(1, x.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=axes)
    return windows[(slice(None), *(slice(None, None, s) for s in stride))]


def _norm(state: State, name: str, x: Array, eps: float) -> Array:
    def entry(which: str) -> Array:
        return state[f"{name}.{which}"].reshape(-1, *(1,) * (x.ndim - 1))

    return (x - entry("running_mean")) / np.sqrt(entry("running_var") + eps) * entry("weight") + entry("bias")


def _relu(x: Array) -> Array:
    return np.maximum(x, 0.0)


def _column_softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=0, keepdims=True))
    return powers / powers.sum(axis=0, keepdims=True)
