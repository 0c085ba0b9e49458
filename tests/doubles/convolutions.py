"""Convolution, pooling and batch norm of one example in NumPy and float64, written from their definitions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Array = npt.NDArray[np.float64]
Pads = Sequence[tuple[int, int]]


def same(sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> list[tuple[int, int]]:
    """TensorFlow's "SAME": as much padding as ⌈n / s⌉ outputs need, the smaller half in front."""
    pads = []
    for n, k, s in zip(sizes, kernel, stride, strict=True):
        needed = max((-(-n // s) - 1) * s + k - n, 0)
        pads.append((needed // 2, needed - needed // 2))
    return pads


def windows(x: Array, kernel: Sequence[int], stride: Sequence[int], pads: Pads, fill: float) -> Array:
    """(C, *sizes) → (C, *outputs, *kernel)."""
    padded = np.pad(x, [(0, 0), *pads], constant_values=fill)
    axes = tuple(range(1, x.ndim))
    seen: Array = sliding_window_view(padded, tuple(kernel), axis=axes)  # type: ignore[arg-type]
    return seen[(slice(None), *(slice(None, None, step) for step in stride))]


def convolve(x: Array, weight: Array, stride: Sequence[int], pads: Pads, bias: Array | None = None) -> Array:
    """(C, *sizes), (O, C, *kernel) → (O, *outputs); zeros around."""
    kernel = weight.shape[2:]
    seen = windows(x, kernel, stride, pads, 0.0)
    axes = len(kernel)
    summed = (0, *range(seen.ndim - axes, seen.ndim))
    y: Array = np.tensordot(weight, seen, axes=(tuple(range(1, axes + 2)), summed))
    return y if bias is None else y + bias.reshape(-1, *[1] * axes)


def pool(x: Array, kernel: Sequence[int], stride: Sequence[int], pads: Pads, fill: float) -> Array:
    """Maximum of (C, *sizes), padded with `fill`."""
    seen = windows(x, kernel, stride, pads, fill)
    return np.asarray(seen.max(axis=tuple(range(x.ndim, seen.ndim))))


def normalise(x: Array, weight: Array, bias: Array, mean: Array, var: Array, *, eps: float) -> Array:
    """Batch norm in evaluation, over channels first."""
    w, b, m, v = (t.reshape(-1, *[1] * (x.ndim - 1)) for t in (weight, bias, mean, var))
    return np.asarray((x - m) / np.sqrt(v + eps) * w + b)
