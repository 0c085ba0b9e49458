"""State dicts as the authors of arXiv 2403.13659 name and shape them, with random numbers.

Written from the documented schema alone; nothing here knows our names. Sizes are documented ones unless told otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["NARROW", "Sizes", "ir50_state", "network_state", "vggish_state"]

State = dict[str, Tensor]


@dataclass(frozen=True)
class Sizes:
    units: tuple[int, ...] = (3, 4, 14, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    side: int = 5  # of the last map; crops are side · 2^(stages − 1)
    face_dim: int = 512
    channels: tuple[int, ...] = (64, 128, 256, 256, 512, 512)
    hidden: int = 4096
    voice_dim: int = 128
    text_dim: int = 768
    kernel: int = 5
    steps: int = 300
    layers: int = 2
    # temporal widths by the authors' names of modalities; None: as documented for the variant
    temporal: dict[str, tuple[int, ...]] | None = None
    head_hidden: int = 256

    @property
    def crop_px(self) -> int:
        return self.side * 2 ** (len(self.units) - 1)

    def blocks(self, variant: str) -> dict[str, tuple[int, ...]]:
        if self.temporal is not None:
            return self.temporal
        if variant == "rcma-v1":
            return {"video": (512,) * 4, "logmel": (128,) * 4, "bert": (512,) * 4}
        return {"video": (256,) * 4, "logmel": (128,) * 4, "bert": (128,) * 4}


NARROW = Sizes(
    units=(2, 1, 2),
    widths=(6, 8, 10),
    side=4,
    face_dim=12,
    channels=(2, 3, 4, 4, 5, 6),
    hidden=16,
    voice_dim=7,
    text_dim=9,
    kernel=3,
    steps=20,
    layers=3,
    temporal={"video": (12, 10), "logmel": (7, 7), "bert": (11, 8)},
    head_hidden=13,
)


class _Writer:
    """Appends named random tensors whose scale keeps activations near 1 through deep networks."""

    def __init__(self, seed: int, counters: bool) -> None:
        self.state: State = {}
        self._random = torch.Generator().manual_seed(seed)
        self._counters = counters

    def normal(self, name: str, *shape: int, scale: float = 1.0) -> None:
        self.state[name] = torch.randn(shape, generator=self._random) * scale

    def uniform(self, name: str, *shape: int, low: float = 0.5, high: float = 1.5) -> None:
        self.state[name] = low + (high - low) * torch.rand(shape, generator=self._random)

    def affine(self, name: str, *shape: int, bias: bool = True, gain: float = 1.4, shift: float = 0.4) -> None:
        fan_in = 1
        for side in shape[1:]:
            fan_in *= side
        self.normal(f"{name}.weight", *shape, scale=gain * fan_in**-0.5)
        if bias:
            self.normal(f"{name}.bias", shape[0], scale=shift)

    def norm(self, name: str, width: int) -> None:
        self.uniform(f"{name}.weight", width)
        self.normal(f"{name}.bias", width, scale=0.2)
        self.normal(f"{name}.running_mean", width, scale=0.2)
        self.uniform(f"{name}.running_var", width, low=0.5, high=2.0)
        if self._counters:
            self.state[f"{name}.num_batches_tracked"] = torch.tensor(1234)

    def ir50(self, prefix: str, sizes: Sizes) -> None:
        stem = f"{prefix}backbone.input_layer"
        self.affine(f"{stem}.0", sizes.widths[0], 3, 3, 3, bias=False)
        self.norm(f"{stem}.1", sizes.widths[0])
        self.uniform(f"{stem}.2.weight", sizes.widths[0], low=0.1, high=0.4)
        flat = sizes.widths[-1] * sizes.side**2
        out = f"{prefix}backbone.output_layer"
        self.norm(f"{out}.0", sizes.widths[-1])
        self.affine(f"{out}.3", sizes.face_dim, flat)
        self.norm(f"{out}.4", sizes.face_dim)
        width, index = sizes.widths[0], 0
        for count, wider in zip(sizes.units, sizes.widths, strict=True):
            for _ in range(count):
                unit = f"{prefix}backbone.body.{index}"
                self.norm(f"{unit}.res_layer.0", width)
                self.affine(f"{unit}.res_layer.1", wider, width, 3, 3, bias=False)
                self.uniform(f"{unit}.res_layer.2.weight", wider, low=0.1, high=0.4)
                self.affine(f"{unit}.res_layer.3", wider, wider, 3, 3, bias=False, gain=0.5)
                self.norm(f"{unit}.res_layer.4", wider)
                if width != wider:
                    self.affine(f"{unit}.shortcut_layer.0", wider, width, 1, 1, bias=False)
                    self.norm(f"{unit}.shortcut_layer.1", wider)
                width, index = wider, index + 1
        self.affine(f"{prefix}logits", 8, sizes.face_dim)

    def vggish(self, prefix: str, sizes: Sizes) -> None:
        width = 1
        for index, wider in zip((0, 3, 6, 8, 11, 13), sizes.channels, strict=True):
            self.affine(f"{prefix}features.{index}", wider, width, 3, 3)
            width = wider
        rows = (sizes.hidden, sizes.hidden, sizes.voice_dim)
        columns = (width * 24, sizes.hidden, sizes.hidden)
        for index, outputs, inputs in zip((0, 2, 4), rows, columns, strict=True):
            self.affine(f"{prefix}embeddings.{index}", outputs, inputs)

    def temporal(self, name: str, inputs: int, widths: tuple[int, ...], kernel: int) -> None:
        for index, wider in enumerate(widths):
            block = f"temporal.{name}.network.{index}"
            for conv, number, width in (("conv1", 0, inputs), ("conv2", 4, wider)):
                self.normal(f"{block}.{conv}.bias", wider, scale=0.1)
                self.uniform(f"{block}.{conv}.weight_g", wider, 1, 1)
                self.normal(f"{block}.{conv}.weight_v", wider, width, kernel, scale=0.05)
                for entry in ("bias", "weight_g", "weight_v"):  # one module, registered twice: the same memory
                    self.state[f"{block}.net.{number}.{entry}"] = self.state[f"{block}.{conv}.{entry}"]
            if inputs != wider:
                self.affine(f"{block}.downsample", wider, inputs, 1)
            inputs = wider
        self.norm(f"bn.{name}", inputs)

    def attention(self, prefix: str, variant: str, widths: tuple[int, int, int], steps: int) -> None:
        dense, total = f"{prefix}.dense_coattn", sum(widths)
        video, audio, text = widths
        if variant == "rcma-v1":
            joints = {"_va": video + audio, "_at": audio + text, "_tv": text + video}
            joined = (audio + text, text + video, video + audio)
        else:
            joints, joined = {"": total}, (total,) * 3
        for name, side in joints.items():
            self.affine(f"{dense}.query_linear{name}", side, side)
        for number, width in enumerate(widths, 1):
            self.affine(f"{dense}.key{number}_linear", steps, steps)
            # A sum over d_m goes through a tanh: of larger values nothing but signs would be left, ill-conditioned.
            self.affine(f"{dense}.value{number}_linear", width, width, gain=1.4 * width**-0.5, shift=0.4 * width**-0.5)
            self.affine(f"{prefix}.linears.{number - 1}.0", width, joined[number - 1])


def ir50_state(sizes: Sizes = Sizes(), *, seed: int = 0, counters: bool = True) -> State:
    """What `res50_ir_0.887.pth` holds: 351 entries."""
    writer = _Writer(seed, counters)
    writer.ir50("", sizes)
    return writer.state


def vggish_state(sizes: Sizes = Sizes(), *, seed: int = 0, postprocessing: bool = False) -> State:
    """What `vggish.pth` holds: 18 entries; torchvggish adds the PCA of its postprocessing."""
    writer = _Writer(seed, True)
    writer.vggish("", sizes)
    if postprocessing:
        writer.normal("pproc.pca_eigen_vectors", sizes.voice_dim, sizes.voice_dim)
        writer.normal("pproc.pca_means", sizes.voice_dim, 1)
    return writer.state


def network_state(
    variant: str,
    sizes: Sizes = Sizes(),
    *,
    seed: int = 0,
    counters: bool = True,
) -> State:
    """What `model_state_dict*.pth` holds: 580 entries of `rcma-v1`, 581 of `rjcma-head`."""
    writer = _Writer(seed, counters)
    writer.ir50("spatial.visual.", sizes)
    writer.vggish("spatial.audio.backbone.", sizes)
    blocks = sizes.blocks(variant)
    inputs = {"video": sizes.face_dim, "logmel": sizes.voice_dim, "bert": sizes.text_dim}
    for name in ("video", "logmel", "bert"):
        writer.temporal(name, inputs[name], blocks[name], sizes.kernel)
    video, audio, text = (blocks[name][-1] for name in ("video", "logmel", "bert"))
    for layer in range(sizes.layers):
        writer.attention(f"coattn.dcn_layers.{layer}", variant, (video, audio, text), sizes.steps)
    if variant == "rcma-v1":
        writer.affine("regressor", 1, video + audio + text, gain=0.3)
    else:
        writer.affine("regressor1", sizes.head_hidden, video + audio + text)
        writer.norm("bn1", sizes.head_hidden)
        writer.affine("regressor2", 1, sizes.head_hidden, gain=0.5)
    return writer.state
