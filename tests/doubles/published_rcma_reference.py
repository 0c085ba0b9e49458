"""What the documented equations of arXiv 2403.13659 compute from a published state dict, in plain NumPy and float64.

Reads the authors' names and nothing of ours. Images (B, 3, side, side), patches (B, 96, 64), windows (B, K, width).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["attention", "head", "images_from_frames", "ir50", "network", "temporal", "vggish"]

Array = npt.NDArray[np.float64]
EPSILON = 1e-5  # of batch norms
SLOPE = 0.01  # of LeakyReLU

# The joint representation of modality 1, 2, 3 in the first version: which modalities, and whose Linear.
JOINTS = {1: ((2, 3), "_at"), 2: ((3, 1), "_tv"), 3: ((1, 2), "_va")}


class Weights:
    """A state dict from one prefix on, as float64."""

    def __init__(self, state: Mapping[str, torch.Tensor], prefix: str = "") -> None:
        self._state, self._prefix = state, prefix

    def __getitem__(self, name: str) -> Array:
        values: Array = self._state[self._prefix + name].numpy().astype(np.float64)
        return values

    def __contains__(self, name: str) -> bool:
        return any(key.startswith(self._prefix + name) for key in self._state)

    def at(self, prefix: str) -> Weights:
        return Weights(self._state, self._prefix + prefix)


def convolve(x: Array, kernel: Array, stride: int = 1, pad: int = 0) -> Array:
    """Cross-correlation (B, C, H, W) with (O, C, h, w)."""
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    return np.tensordot(windows, kernel, axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)


def normalise(x: Array, w: Weights, axis: int = 1) -> Array:
    shape = [1] * x.ndim
    shape[axis] = -1
    mean, variance, scale, shift = (w[n].reshape(shape) for n in ("running_mean", "running_var", "weight", "bias"))
    return (x - mean) / np.sqrt(variance + EPSILON) * scale + shift


def prelu(x: Array, slope: Array) -> Array:
    return np.where(x > 0, x, x * slope[None, :, None, None])


def leaky(x: Array) -> Array:
    return np.where(x > 0, x, SLOPE * x)


def linear(x: Array, w: Weights) -> Array:
    return x @ w["weight"].T + w["bias"]


def images_from_frames(frames: npt.NDArray[np.uint8]) -> Array:
    """Crops (B, side, side, 3) → (B, 3, side, side): (x / 255 − 0.5) / 0.5."""
    images: Array = (frames.astype(np.float64) / 255 - 0.5) / 0.5
    return images.transpose(0, 3, 1, 2)


def ir50(images: Array, w: Weights, units: tuple[int, ...]) -> Array:
    """input_layer, the units, output_layer, then division by the L2 norm."""
    stem = w.at("backbone.input_layer.")
    x = prelu(normalise(convolve(images, stem["0.weight"], pad=1), stem.at("1.")), stem["2.weight"])
    starts = {sum(units[:stage]) for stage in range(1, len(units))}  # the units that halve the picture
    for index in range(sum(units)):
        unit, stride = w.at(f"backbone.body.{index}."), 2 if index in starts else 1
        residual = unit.at("res_layer.")
        y = convolve(normalise(x, residual.at("0.")), residual["1.weight"], pad=1)
        y = convolve(prelu(y, residual["2.weight"]), residual["3.weight"], stride, pad=1)
        y = normalise(y, residual.at("4."))
        if "shortcut_layer" in unit:
            short = unit.at("shortcut_layer.")
            x = normalise(convolve(x, short["0.weight"], stride), short.at("1."))
        else:
            x = x[:, :, ::stride, ::stride]
        x = x + y
    out = w.at("backbone.output_layer.")
    flat = normalise(x, out.at("0.")).reshape(len(x), -1)
    features = normalise(linear(flat, out.at("3.")), out.at("4."))
    normed: Array = features / np.sqrt((features**2).sum(axis=1, keepdims=True))
    return normed


def vggish(patches: Array, w: Weights) -> Array:
    x = patches[:, None]
    for index, pooled in ((0, True), (3, True), (6, False), (8, True), (11, False), (13, True)):
        layer = w.at(f"features.{index}.")
        x = np.maximum(0, convolve(x, layer["weight"], pad=1) + layer["bias"][None, :, None, None])
        if pooled:
            batch, channels, height, width = x.shape
            x = x.reshape(batch, channels, height // 2, 2, width // 2, 2).max(axis=(3, 5))
    x = x.transpose(0, 2, 3, 1).reshape(len(x), -1)  # time, band, channel
    x = np.maximum(0, linear(x, w.at("embeddings.0.")))
    x = np.maximum(0, linear(x, w.at("embeddings.2.")))
    return linear(x, w.at("embeddings.4."))


def temporal(features: Array, w: Weights, name: str) -> Array:
    """The causal network of one modality, then its batch norm."""
    x = features.transpose(0, 2, 1)
    index = 0
    while f"temporal.{name}.network.{index}." in w:
        block = w.at(f"temporal.{name}.network.{index}.")
        y = x
        for conv in ("conv1.", "conv2."):
            layer = block.at(conv)
            direction = layer["weight_v"]
            length = np.sqrt((direction**2).sum(axis=(1, 2), keepdims=True))
            y = leaky(causal(y, layer["weight_g"] * direction / length, 2**index) + layer["bias"][None, :, None])
        if "downsample" in block:
            down = block.at("downsample.")
            x = np.einsum("oi,bik->bok", down["weight"][:, :, 0], x) + down["bias"][None, :, None]
        x = leaky(y + x)
        index += 1
    return normalise(x, w.at(f"bn.{name}.")).transpose(0, 2, 1)


def causal(x: Array, kernel: Array, dilation: int) -> Array:
    """Step k of the output sees steps k, k − dilation, k − 2 · dilation, … of (B, C, K)."""
    taps = kernel.shape[2]
    y = np.zeros((len(x), len(kernel), x.shape[2]))
    for tap in range(taps):
        past = (taps - 1 - tap) * dilation
        if past < x.shape[2]:
            y[:, :, past:] += np.einsum("oi,bik->bok", kernel[:, :, tap], x[:, :, : x.shape[2] - past])
    return y


def attention(features: list[Array], w: Weights) -> list[Array]:
    """One layer: S = tanh(K J / √d), Y = relu(tanh(V S)), X ← X + relu(Linear(Y))."""
    dense = w.at("dense_coattn.")
    attended = []
    for number, x in enumerate(features, 1):
        if "query_linear_va." in dense:
            members, name = JOINTS[number]
            joint = np.concatenate([features[member - 1] for member in members], axis=2)
            joint = linear(joint, dense.at(f"query_linear{name}."))
        else:
            joint = np.concatenate(features, axis=2)
        keys = linear(x.transpose(0, 2, 1), dense.at(f"key{number}_linear."))
        scores = np.tanh(keys @ joint / np.sqrt(joint.shape[2]))
        found = np.maximum(0, np.tanh(linear(x, dense.at(f"value{number}_linear.")) @ scores))
        attended.append(x + np.maximum(0, linear(found, w.at(f"linears.{number - 1}.0."))))
    return attended


def head(features: list[Array], w: Weights) -> Array:
    x = np.concatenate(features, axis=2)
    if "regressor." in w:
        return np.tanh(linear(x, w.at("regressor.")))
    x = leaky(normalise(linear(x, w.at("regressor1.")), w.at("bn1."), axis=2))
    return np.tanh(linear(x, w.at("regressor2.")))


def network(video: Array, audio: Array, text: Array, w: Weights) -> Array:
    """Windows of features, (B, K, width) each → estimates (B, K, 1)."""
    features = [temporal(x, w, name) for name, x in (("video", video), ("logmel", audio), ("bert", text))]
    layer = 0
    while f"coattn.dcn_layers.{layer}." in w:
        features = attention(features, w.at(f"coattn.dcn_layers.{layer}."))
        layer += 1
    return head(features, w)
