"""The contract of a model: all that a runtime must know to feed it and to read its answer.

The contract is data, never code. `SPEC.md` beside this file says in MUST and MAY what each field means; the
classes here check it. Field order is the order of the data: clock, modalities, fusion, outputs.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
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
DType = Literal["uint8", "int64", "float16", "float32"]

_BYTES: dict[DType, int] = {"uint8": 1, "int64": 8, "float16": 2, "float32": 4}

StageName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Dim = Annotated[int, Field(ge=1, le=1_000_000)]


class Record(BaseModel):
    """Base of every record of a bundle: immutable, and unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TensorInfo(Record):
    """One input or output tensor of a graph. `shape` leaves the leading batch axis out."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    dtype: DType
    shape: tuple[Dim, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * _BYTES[self.dtype]


class FaceView(Record):
    """Which part of a frame the weights saw as the face.

    `finder` "whole_frame": the largest centred square, nothing is detected. "yunet": OpenCV's YuNet; `edition` is the
    SHA-256 of the detector's file, None where it does not matter. `alignment` "box" takes the square about the face's
    box, "five_point" turns eyes, nose and mouth corners onto fixed places (`SPEC.md`, section 4). `margin` widens what
    is seen on each of the four sides, in sides of the square.
    """

    finder: Literal["whole_frame", "yunet"] = "whole_frame"
    edition: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    alignment: Literal["box", "five_point"] = "box"
    margin: Annotated[float, Field(ge=0, le=2)] = 0.0

    @model_validator(mode="after")
    def _check(self) -> FaceView:
        if self.finder == "whole_frame" and (self.edition or self.alignment != "box" or self.margin):
            raise ValueError("a whole frame has no detector's edition, no five points and no margin")
        return self


class VideoModality(Record):
    """How a video span is made: the face as `face` says → `resize_px` square → centre `crop_px` square, uint8 RGB.

    The span of step k is the `span_frames` newest step frames up to k, oldest first; its input shape is
    (crop, crop, 3) for one frame and (frames, crop, crop, 3) for more.
    """

    stage: StageName = "video"
    input: TensorInfo
    feature_dim: Dim
    span_frames: Annotated[int, Field(ge=1, le=1024)] = 1
    resize_px: Annotated[int, Field(ge=8, le=4096)]
    crop_px: Annotated[int, Field(ge=8, le=4096)]
    colour: Literal["rgb"] = "rgb"
    face: FaceView = FaceView()
    max_hold_s: Annotated[float, Field(ge=0, le=10)] = 0.2

    @model_validator(mode="after")
    def _check(self) -> VideoModality:
        frame = (self.crop_px, self.crop_px, 3)
        want = frame if self.span_frames == 1 else (self.span_frames, *frame)
        if self.input.dtype != "uint8" or self.input.shape != want:
            raise ValueError(f"video input must be uint8 {want}, not {self.input.dtype} {self.input.shape}")
        if self.crop_px > self.resize_px:
            raise ValueError(f"crop_px {self.crop_px} is larger than resize_px {self.resize_px}")
        return self


class AudioModality(Record):
    """How an audio span is cut from the mono waveform.

    The start sample of step k's span lies on a grid: g = `grid_samples`,
    start = g · floor(k · sample_rate_hz / (g · step_hz) + 1/2) for `anchor` "start"; for "end" the span ends
    where step k + 1 would start. Samples past the end of the stream repeat the last one (edge padding), samples
    before its beginning and inside gaps are 0.
    """

    stage: StageName = "audio"
    input: TensorInfo
    feature_dim: Dim
    sample_rate_hz: Annotated[int, Field(ge=8000, le=192_000)]
    span_samples: Annotated[int, Field(ge=1, le=10_000_000)]
    anchor: Literal["start", "end"]
    grid_samples: Annotated[int, Field(ge=1, le=192_000)] = 1

    @model_validator(mode="after")
    def _check(self) -> AudioModality:
        if self.input.dtype != "float32" or self.input.shape != (self.span_samples,):
            raise ValueError(
                f"audio input must be float32 ({self.span_samples},), not {self.input.dtype} {self.input.shape}"
            )
        return self

    def span_start(self, step: int, step_hz: float) -> int:
        """First sample (index from media time 0) of the span of `step`; may be negative."""
        at = step if self.anchor == "start" else step + 1
        grid = self.grid_samples
        start = grid * math.floor(at * self.sample_rate_hz / (grid * step_hz) + 0.5)
        return start if self.anchor == "start" else start - self.span_samples

    def span_end(self, step: int, step_hz: float) -> int:
        """One past the last sample of the span of `step`."""
        return self.span_start(step, step_hz) + self.span_samples


class TextModality(Record):
    """Word vectors on media time: a step takes the vector of the word with start < t ≤ end, else zeros."""

    feature_dim: Dim


Modality = VideoModality | AudioModality | TextModality


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
        stages = [m.stage for m in (self.video, self.audio) if m is not None]
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
    def encoder_stages(self) -> dict[str, VideoModality | AudioModality]:
        """Stage name → modality, for the modalities that have an encoder graph."""
        return {m.stage: m for m in (self.video, self.audio) if m is not None}

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

    def stage_inputs(self, stage: str) -> tuple[TensorInfo, ...]:
        """Input tensors of a stage's graph, without the batch axis."""
        encoder = self.encoder_stages.get(stage)
        if encoder is not None:
            return (encoder.input,)
        return tuple(
            TensorInfo(name=name, dtype="float32", shape=(self.fusion.window_steps, m.feature_dim))
            for name, m in self.modalities.items()
        )

    def stage_output(self, stage: str) -> TensorInfo:
        """The one output tensor of a stage's graph, without the batch axis."""
        encoder = self.encoder_stages.get(stage)
        if encoder is not None:
            return TensorInfo(name="features", dtype="float32", shape=(encoder.feature_dim,))
        count = len(next(s.outputs for s in self.fusion.stages if s.stage == stage))
        per_window = self.fusion.output == "per_window"
        shape = (count,) if per_window else (self.fusion.window_steps, count)
        return TensorInfo(name="estimates", dtype="float32", shape=shape)
