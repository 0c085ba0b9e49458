"""What a model takes in: the tensors of its graphs, and how video, audio and text become spans and features."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "TEXT_INPUTS",
    "AudioModality",
    "DType",
    "Dim",
    "FaceView",
    "Modality",
    "Record",
    "StageName",
    "TensorInfo",
    "TextModality",
    "VideoModality",
]

DType = Literal["uint8", "int64", "float16", "float32"]

_BYTES: dict[DType, int] = {"uint8": 1, "int64": 8, "float16": 2, "float32": 4}

TEXT_INPUTS = ("token_ids", "mask", "word_index")

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
    """Word vectors on media time: a step takes the vector of the first word with start < t ≤ end, else zeros.

    With a `stage`, its graph turns a sentence of word pieces into the vectors of its words (`SPEC.md`, section 4); the
    pieces are those of the attachment `vocabulary`. Without one, vectors come from elsewhere and a reader that has none
    treats text as missing. A sentence ends after a word that ends in `.`, `!`, `?` or `…`, before a pause of `pause_s`,
    and after `max_words` words. `mean` and `std` are of the vectors that the fusion was trained on: it takes
    (vector − mean) / std.
    """

    stage: StageName | None = None
    feature_dim: Dim
    lower_case: bool = True
    token_lengths: tuple[Annotated[int, Field(ge=4, le=512)], ...] = Field((16, 32, 64, 128, 256), min_length=1)
    pause_s: Annotated[float, Field(gt=0, le=10)] = 0.5
    max_words: Annotated[int, Field(ge=1, le=500)] = 64
    mean: float = 0.0
    std: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _check(self) -> TextModality:
        if list(self.token_lengths) != sorted(set(self.token_lengths)):
            raise ValueError(f"token_lengths must increase, not {self.token_lengths}")
        return self

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Of the longest sentence; a graph takes every one of `token_lengths`, the same for all rows of a batch.

        `token_ids`, `mask` (1 where there is a piece), `word_index` (n for the pieces of the nth word, counted from 1,
        0 for all others).
        """
        longest = (self.token_lengths[-1],)
        return tuple(TensorInfo(name=name, dtype="int64", shape=longest) for name in TEXT_INPUTS)


Modality = VideoModality | AudioModality | TextModality
