"""The contract of a model: all that a runtime must know to feed it and to read its answer.

The contract is data, never code. `SPEC.md` beside this file says in MUST and MAY what each field means; the
classes here check it. Field order is the order of the data: clock, modalities, fusion, outputs.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .modalities import (
    TEXT_INPUTS,
    AudioModality,
    DType,
    FaceView,
    Modality,
    Record,
    StageName,
    TensorInfo,
    TextModality,
    VideoModality,
)

__all__ = [
    "TEXT_INPUTS",
    "AudioModality",
    "Contract",
    "DType",
    "FaceView",
    "Fusion",
    "FusionStage",
    "Modality",
    "ModalityName",
    "Output",
    "TensorInfo",
    "TextModality",
    "VideoModality",
]

ModalityName = Literal["video", "audio", "text"]


class FusionStage(Record):
    """One fusion graph and the outputs it yields, in the order of its last axis."""

    stage: StageName = "fusion"
    outputs: tuple[Literal["valence", "arousal"], ...] = Field(min_length=1)


class Fusion(Record):
    """The window of features that the fusion sees, and when it runs.

    The window that ends at step k holds the `window_steps` steps k − (window_steps − 1)·`stride_steps` … k.
    Each graph takes one float32 input per modality, named after it, of shape (batch, window_steps,
    feature_dim), and gives one float32 output `estimates`: (batch, window_steps, n_outputs) when
    `output` is "per_step", (batch, n_outputs) when it is "per_window".
    A stream younger than the window fills it from the front and leaves zeros at its end ("pad_end"), or repeats its
    oldest features in front ("repeat_first"). An estimate describes its own step, or is the mean over the steps from
    the oldest frame of the window's oldest span to the newest ("window_mean").
    """

    stages: tuple[FusionStage, ...] = Field(min_length=1)
    window_steps: Annotated[int, Field(ge=1, le=100_000)]
    stride_steps: Annotated[int, Field(ge=1, le=10_000)] = 1
    default_hop_steps: Annotated[int, Field(ge=1, le=100_000)]
    output: Literal["per_step", "per_window"]
    describes: Literal["step", "window_mean"] = "step"
    short_window: Literal["pad_end", "repeat_first"] = "pad_end"
    warm_up_steps: Annotated[int, Field(ge=0, le=10_000_000)]

    @model_validator(mode="after")
    def _check(self) -> Fusion:
        if self.output == "per_window":
            return self
        if self.describes != "step" or self.short_window != "pad_end" or self.stride_steps != 1:
            raise ValueError("window_mean, repeat_first and strides are for fusions with one output per_window")
        return self

    @property
    def span_steps(self) -> int:
        """Steps from the oldest to the newest of a window, both included."""
        return (self.window_steps - 1) * self.stride_steps + 1


class Output(Record):
    """One estimated dimension: its closed range and the value that means neutral."""

    name: Literal["valence", "arousal"]
    low: float = -1.0
    high: float = 1.0
    neutral: float = 0.0


class Contract(Record):
    """Clock, modalities, fusion, outputs. `system` and `variant` inform people; the runtime never reads them."""

    system: Annotated[str, Field(min_length=1, max_length=64)]
    variant: Annotated[str, Field(min_length=1, max_length=64)]
    step_hz: Annotated[float, Field(gt=0, le=1000)]
    video: VideoModality | None = None
    audio: AudioModality | None = None
    text: TextModality | None = None
    missing: Literal["zeros"] = "zeros"
    fusion: Fusion
    outputs: tuple[Output, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Contract:
        if not self.modalities:
            raise ValueError("a contract needs at least one of video, audio, text")
        stages = [m.stage for m in (self.video, self.audio, self.text) if m is not None and m.stage is not None]
        stages += [s.stage for s in self.fusion.stages]
        if len(set(stages)) != len(stages):
            raise ValueError(f"stage names must be unique, not {stages}")
        given = [name for stage in self.fusion.stages for name in stage.outputs]
        if sorted(given) != sorted(o.name for o in self.outputs):
            raise ValueError(f"fusion yields {given}, but outputs are declared as {[o.name for o in self.outputs]}")
        return self

    @property
    def modalities(self) -> dict[ModalityName, Modality]:
        """The modalities of this model in the order video, audio, text."""
        named: list[tuple[ModalityName, Modality | None]] = [
            ("video", self.video),
            ("audio", self.audio),
            ("text", self.text),
        ]
        return {name: m for name, m in named if m is not None}

    @property
    def encoder_stages(self) -> dict[str, Modality]:
        """Stage name → modality, for the modalities that have an encoder graph."""
        return {m.stage: m for m in self.modalities.values() if m.stage is not None}

    @property
    def stages(self) -> tuple[str, ...]:
        """Every stage that needs a graph, in data order."""
        return (*self.encoder_stages, *(s.stage for s in self.fusion.stages))

    @property
    def described_steps(self) -> int:
        """Steps, up to its own, that an estimate describes: 1, or for `window_mean` all that its window was made of."""
        if self.fusion.describes == "step":
            return 1
        frames = self.video.span_frames if self.video is not None else 1
        heard = 1
        if self.audio is not None:
            heard = math.floor(self.audio.span_samples * self.step_hz / self.audio.sample_rate_hz + 0.5)
        return self.fusion.span_steps - 1 + max(frames, heard)

    def lengths(self, stage: str) -> tuple[int, ...]:
        """The lengths that the first axis of a stage's tensors may have, the longest last; () where it has one."""
        encoder = self.encoder_stages.get(stage)
        return encoder.token_lengths if isinstance(encoder, TextModality) else ()

    def stage_inputs(self, stage: str) -> tuple[TensorInfo, ...]:
        """Input tensors of a stage's graph, without the batch axis; where it takes several lengths, of the longest."""
        encoder = self.encoder_stages.get(stage)
        if isinstance(encoder, TextModality):
            return encoder.inputs
        if encoder is not None:
            return (encoder.input,)
        return tuple(
            TensorInfo(name=name, dtype="float32", shape=(self.fusion.window_steps, m.feature_dim))
            for name, m in self.modalities.items()
        )

    def stage_output(self, stage: str) -> TensorInfo:
        """The one output tensor of a stage's graph, without the batch axis."""
        encoder = self.encoder_stages.get(stage)
        if isinstance(encoder, TextModality):
            return TensorInfo(name="features", dtype="float32", shape=(encoder.token_lengths[-1], encoder.feature_dim))
        if encoder is not None:
            return TensorInfo(name="features", dtype="float32", shape=(encoder.feature_dim,))
        count = len(next(s.outputs for s in self.fusion.stages if s.stage == stage))
        per_window = self.fusion.output == "per_window"
        shape = (count,) if per_window else (self.fusion.window_steps, count)
        return TensorInfo(name="estimates", dtype="float32", shape=shape)
