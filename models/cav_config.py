"""Every hyper-parameter of CAV, checked whole before the first tensor is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .configuration import (
    MAX_PX,
    MAX_STEPS,
    MAX_WIDTH,
    OUTPUTS,
    Config,
    choice,
    integer,
    integers,
    names,
    number,
)

__all__ = ["COMBINATIONS", "FUSIONS", "MIXED_UNITS", "MODALITIES", "SOFTMAX_AXES", "CavConfig"]

MODALITIES = ("video", "audio")
SAMPLE_RATE_HZ = 16_000
MIXED_UNITS = 9  # 3b 3c 4b 4c 4d 4e 4f 5b 5c
BRANCH_WIDTHS = 6  # b0 | b1a b1b | b2a b2b | b3b
# The spectrogram network ends in one pixel for 63 to 78 frames of 10 ms, which are so many samples.
SHORTEST_SPAN, LONGEST_SPAN = 9_920, 12_479

FusionForm = Literal["cross-attention", "concatenation", "scores"]
SoftmaxAxis = Literal["column", "row"]
Combination = Literal["sum", "concatenation"]
FUSIONS: tuple[FusionForm, ...] = ("cross-attention", "concatenation", "scores")
SOFTMAX_AXES: tuple[SoftmaxAxis, ...] = ("column", "row")
COMBINATIONS: tuple[Combination, ...] = ("sum", "concatenation")


@dataclass(frozen=True, kw_only=True)
class CavConfig(Config):
    """Defaults: the released code of arXiv 2111.05222, corrected where it raises a shape error.

    The paper trains one network per dimension, hence one output. `fusion` names the paper's cross-correlation
    attention and its baselines: `concatenation` of features (early), mean of the modalities' `scores` (late). One
    modality alone is a baseline too, with either of these two. `softmax_axis`, `residual_tanh`, `combine` and
    `temperature` are of the attention.
    """

    modalities: tuple[str, ...] = MODALITIES
    outputs: tuple[str, ...] = ("valence",)

    # clock: a window of `clips` clips, `clip_frames` steps apart, each of so many frames
    step_hz: float = 25.0
    clips: int = 8
    clip_frames: int = 16
    default_hop_steps: int = 16

    # video encoder: I3D
    resize_px: int = 224
    crop_px: int = 224
    i3d_stem: tuple[int, ...] = (64, 64, 192)
    i3d_mixed: tuple[tuple[int, ...], ...] = (
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

    # audio encoder: convolutions on a log-mel spectrogram
    audio_channels: tuple[int, ...] = (64, 128, 256, 512, 1024)

    # fusion
    fusion: FusionForm = "cross-attention"
    softmax_axis: SoftmaxAxis = "column"
    residual_tanh: bool = False
    combine: Combination = "sum"
    temperature: float = 1.0
    head_hidden: tuple[int, ...] = (512, 256)
    head_dropout: float = 0.5
    fusion_networks: Literal["shared", "per_output"] = "shared"

    @property
    def feature_dims(self) -> dict[str, int]:
        """Modality → width of one feature, in the order video, audio."""
        b0, _, b1, _, b2, b3 = self.i3d_mixed[-1]
        dims = {"video": b0 + b1 + b2 + b3, "audio": self.audio_channels[-1]}
        return {name: dims[name] for name in self.modalities}

    @property
    def fusion_stages(self) -> dict[str, tuple[str, ...]]:
        """Stage → its outputs: one stage for all, or one for each."""
        if self.fusion_networks == "shared":
            return {"fusion": self.outputs}
        return {f"fusion_{output}": (output,) for output in self.outputs}

    @property
    def span_samples(self) -> int:
        """Audio samples of one clip: 10 240 in the paper."""
        return round(self.clip_frames * SAMPLE_RATE_HZ / self.step_hz)

    @property
    def window_frames(self) -> int:
        """Frames that one estimate describes: 128 in the paper."""
        return self.clips * self.clip_frames

    def problems(self) -> list[str]:
        modalities = names("modalities", self.modalities, MODALITIES)
        found = modalities + names("outputs", self.outputs, OUTPUTS)
        clock = number("step_hz", self.step_hz, 1e-3, 1000.0)
        clock += integer("clips", self.clips, 1024) + integer("clip_frames", self.clip_frames, 1024, low=2)
        clock += integer("default_hop_steps", self.default_hop_steps, MAX_STEPS)
        if not clock and "audio" in self.modalities and not SHORTEST_SPAN <= self.span_samples <= LONGEST_SPAN:
            clock = [
                f"{self.clip_frames} frames at {self.step_hz:g} a second are {self.span_samples} samples of audio; "
                f"the spectrogram network takes {SHORTEST_SPAN} to {LONGEST_SPAN}"
            ]
        found += clock
        sides = integer("resize_px", self.resize_px, MAX_PX, low=8) + integer("crop_px", self.crop_px, MAX_PX, low=8)
        if not sides and self.crop_px > self.resize_px:
            sides = [f"crop_px {self.crop_px} is larger than resize_px {self.resize_px}, from which it is cut"]
        found += sides
        widths = integers("i3d_stem", self.i3d_stem, MAX_WIDTH, count=3)
        if isinstance(self.i3d_mixed, tuple) and len(self.i3d_mixed) == MIXED_UNITS:
            for index, unit in enumerate(self.i3d_mixed):
                widths += integers(f"i3d_mixed[{index}]", unit, MAX_WIDTH, count=BRANCH_WIDTHS)
        else:
            widths.append(f"i3d_mixed must be a tuple of {MIXED_UNITS} units, not {self.i3d_mixed!r}")
        widths += integers("audio_channels", self.audio_channels, MAX_WIDTH, count=5)
        found += widths
        found += choice("fusion", self.fusion, FUSIONS) + choice("softmax_axis", self.softmax_axis, SOFTMAX_AXES)
        found += choice("combine", self.combine, COMBINATIONS)
        found += choice("fusion_networks", self.fusion_networks, ("shared", "per_output"))
        if not isinstance(self.residual_tanh, bool):
            found.append(f"residual_tanh must be true or false, not {self.residual_tanh!r}")
        found += number("temperature", self.temperature, 1e-3, 1e3)
        found += integers("head_hidden", self.head_hidden, MAX_WIDTH)
        found += number("head_dropout", self.head_dropout, 0.0, 0.95)
        if self.fusion == "cross-attention" and not modalities and not widths:
            if len(self.modalities) == 1:
                found.append(f"cross-attention needs video and audio, not {self.modalities[0]!r} alone")
            elif self.combine == "sum" and len(set(self.feature_dims.values())) > 1:
                found.append(f"combine 'sum' adds features of one width, not {self.feature_dims}")
        return found
