"""Files as the authors of arXiv 2111.05222 and of pytorch-i3d name and shape them, with random numbers.

Written from the documented schema alone; nothing here knows our names. Sizes are documented ones unless told otherwise,
so are the layers that the fusion never uses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = [
    "MIXED",
    "NARROW",
    "PAPER",
    "Sizes",
    "audio_state",
    "cam_state",
    "four_states",
    "head_state",
    "i3d_state",
    "lstm_audio_state",
    "visual_state",
    "wrapped",
]

State = dict[str, Tensor]

MIXED = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
PARALLEL = "module."


@dataclass(frozen=True)
class Sizes:
    """`mixed` by unit: b0 | b1a b1b | b2a b2b | b3b."""

    stem: tuple[int, int, int] = (64, 64, 192)
    mixed: tuple[tuple[int, ...], ...] = (
        (64, 96, 128, 16, 32, 32),
        (128, 128, 192, 32, 96, 64),
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
        (256, 160, 320, 32, 128, 128),
        (384, 192, 384, 48, 128, 128),
    )
    channels: tuple[int, int, int, int, int] = (64, 128, 256, 512, 1024)
    hidden: tuple[int, int] = (512, 256)
    dead: int = 1024  # what the widths of the unused layers are derived from

    @property
    def video_dim(self) -> int:
        b0, _, b1b, _, b2b, b3b = self.mixed[-1]
        return b0 + b1b + b2b + b3b

    @property
    def audio_dim(self) -> int:
        return self.channels[-1]


PAPER = Sizes()
NARROW = Sizes(
    stem=(4, 5, 6),
    mixed=(
        (3, 4, 5, 6, 3, 4),
        (4, 5, 4, 6, 3, 3),
        (3, 6, 5, 4, 3, 5),
        (5, 4, 6, 5, 4, 3),
        (3, 5, 4, 6, 5, 3),
        (4, 6, 5, 4, 3, 5),
        (5, 4, 6, 5, 4, 3),
        (5, 6, 4, 7, 4, 3),
        (6, 5, 7, 4, 4, 3),
    ),
    channels=(4, 5, 6, 8, 20),
    hidden=(12, 7),
    dead=16,
)


class _Writer:
    """Appends named random tensors whose scale keeps activations near 1 through deep networks."""

    def __init__(self, prefix: str, seed: int, counters: bool = True) -> None:
        self.state: State = {}
        self._prefix = prefix
        self._random = torch.Generator().manual_seed(seed)
        self._counters = counters

    def normal(self, name: str, *shape: int, scale: float = 1.0) -> None:
        self.state[self._prefix + name] = torch.randn(shape, generator=self._random) * scale

    def uniform(self, name: str, width: int, low: float, high: float) -> None:
        self.state[self._prefix + name] = low + (high - low) * torch.rand(width, generator=self._random)

    def affine(self, name: str, *shape: int, bias: bool = True) -> None:
        self.normal(f"{name}.weight", *shape, scale=math.sqrt(2 / math.prod(shape[1:])))
        if bias:
            self.normal(f"{name}.bias", shape[0], scale=0.1)

    def norm(self, name: str, width: int) -> None:
        self.uniform(f"{name}.weight", width, 0.7, 1.4)
        self.uniform(f"{name}.bias", width, 0.2, 1.2)  # above 0, or ReLUs close the narrow branches
        self.normal(f"{name}.running_mean", width, scale=0.2)
        self.uniform(f"{name}.running_var", width, 0.5, 2.0)
        if self._counters:
            self.state[f"{self._prefix}{name}.num_batches_tracked"] = torch.tensor(4321)

    def recurrent(self, name: str, gates: int, inputs: int, hidden: int, layers: int) -> None:
        for layer in range(layers):
            self.normal(f"{name}.weight_ih_l{layer}", gates * hidden, hidden if layer else inputs, scale=0.05)
            self.normal(f"{name}.weight_hh_l{layer}", gates * hidden, hidden, scale=0.05)
            self.normal(f"{name}.bias_ih_l{layer}", gates * hidden, scale=0.05)
            self.normal(f"{name}.bias_hh_l{layer}", gates * hidden, scale=0.05)

    def unit(self, name: str, inputs: int, outputs: int, kernel: int) -> None:
        self.affine(f"{name}.conv3d", outputs, inputs, *(kernel,) * 3, bias=False)
        self.norm(f"{name}.bn", outputs)

    def i3d(self, prefix: str, sizes: Sizes) -> None:
        """57 convolutions with norms, and the classifier of Kinetics-400."""
        first, second, width = sizes.stem
        self.unit(f"{prefix}Conv3d_1a_7x7", 3, first, 7)
        self.unit(f"{prefix}Conv3d_2b_1x1", first, second, 1)
        self.unit(f"{prefix}Conv3d_2c_3x3", second, width, 3)
        for number, (b0, b1a, b1b, b2a, b2b, b3b) in zip(MIXED, sizes.mixed, strict=True):
            mixed = f"{prefix}Mixed_{number}"
            self.unit(f"{mixed}.b0", width, b0, 1)
            self.unit(f"{mixed}.b1a", width, b1a, 1)
            self.unit(f"{mixed}.b1b", b1a, b1b, 3)
            self.unit(f"{mixed}.b2a", width, b2a, 1)
            self.unit(f"{mixed}.b2b", b2a, b2b, 3)
            self.unit(f"{mixed}.b3b", width, b3b, 1)
            width = b0 + b1b + b2b + b3b
        self.affine(f"{prefix}logits.conv3d", 400, width, 1, 1, 1)


def i3d_state(sizes: Sizes = PAPER, *, seed: int = 0, counters: bool = True) -> State:
    """What `rgb_imagenet.pt` holds: 344 entries, or 287 if torch was too old to count batches."""
    writer = _Writer("", seed, counters)
    writer.i3d("", sizes)
    return writer.state


def visual_state(sizes: Sizes = PAPER, *, seed: int = 1, prefix: str = PARALLEL) -> State:
    """`net` of the visual file: 348 entries."""
    writer = _Writer(prefix, seed)
    writer.i3d("i3d_WSDDA.", sizes)
    writer.affine("predictions.0.conv3d", sizes.dead // 2, sizes.video_dim, 1, 1, 1)
    writer.affine("predictions.1.conv3d", 1, sizes.dead // 2, 1, 1, 1)
    return writer.state


def audio_state(sizes: Sizes = PAPER, *, seed: int = 2, prefix: str = PARALLEL) -> State:
    """`net` of the audio file: 53 entries, of which 8 499 328 numbers matter to the fusion and 5 565 185 do not."""
    writer, dead = _Writer(prefix, seed), sizes.dead
    c1, c2, c2_2, c3_1, c3_2 = sizes.channels
    writer.affine("conv1", c1, 1, 5, 5)
    writer.norm("bn49", c1)
    writer.affine("conv2", c2, c1, 5, 5)
    writer.affine("conv2_2", c2_2, c2, 3, 3)
    writer.norm("bn50", c2_2)
    writer.affine("conv3_1", c3_1, c2_2, 5, 5)
    writer.affine("conv3_2", c3_2, c3_1, 3, 3)
    writer.norm("bn52", c3_2)
    writer.recurrent("gru", 3, dead * 4, dead // 8, layers=1)
    writer.recurrent("rnn", 4, dead, dead // 4, layers=2)
    writer.affine("fc6", dead, dead // 8, 14, 1)
    writer.norm("bn54", dead)
    writer.affine("fc7", dead // 4, c3_2)
    writer.norm("bn55", dead // 4)
    writer.affine("fc8", 1, dead // 4)
    return writer.state


def lstm_audio_state(*, seed: int = 3, prefix: str = PARALLEL) -> State:
    """The other audio network of the authors: two convolutions and an LSTM. More of its schema is not documented."""
    writer = _Writer(prefix, seed)
    writer.affine("conv1", 4, 1, 5, 5)
    writer.affine("conv2", 6, 4, 5, 5)
    writer.recurrent("rnn", 4, 6, 5, layers=2)
    writer.affine("fc8", 1, 5)
    return writer.state


def head_state(sizes: Sizes = PAPER, *, width: int | None = None, seed: int = 4, prefix: str = PARALLEL) -> State:
    """`net` of the fusion's head: 40 entries. `width` is 1024 for the sum of both features, 2048 side by side."""
    writer, dead = _Writer(prefix, seed), sizes.dead
    first, second = sizes.hidden
    writer.normal("cam.corr_weights", sizes.audio_dim, sizes.video_dim, scale=0.3)
    writer.affine("modal_predictions.1", first, sizes.video_dim if width is None else width)
    writer.affine("modal_predictions.3", second, first)
    writer.affine("modal_predictions.5", 1, second)
    writer.recurrent("gru", 3, dead * 4, dead // 8, layers=1)
    writer.recurrent("rnn", 4, dead, dead // 2, layers=2)
    writer.recurrent("rnn_av", 4, dead * 2, dead // 2, layers=2)
    writer.affine("fc6", dead, dead // 8, 5, 5)
    writer.norm("bn54", dead)
    writer.affine("fc7", dead // 8, dead // 4)
    writer.affine("predictions.1", dead // 4, dead // 2)
    writer.affine("predictions.3", 1, dead // 4)
    return writer.state


def cam_state(sizes: Sizes = PAPER, *, seed: int = 5, prefix: str = "") -> State:
    """The attention's one tensor, large enough that the maps are far from uniform."""
    writer = _Writer(prefix, seed)
    writer.normal("corr_weights", sizes.audio_dim, sizes.video_dim, scale=2.0)
    return writer.state


def wrapped(net: State, **beside: object) -> dict[str, object]:
    """What training saves around a network."""
    return {"net": net, **(beside or {"best_Val_acc": 0.6875})}


def four_states(sizes: Sizes = NARROW, *, head_width: int | None = None) -> dict[str, State]:
    """`net` of all files of one network."""
    return {
        "visual": visual_state(sizes),
        "audio": audio_state(sizes),
        "cam": cam_state(sizes),
        "head": head_state(sizes, width=head_width),
    }
