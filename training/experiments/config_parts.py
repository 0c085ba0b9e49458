"""The tables of an experiment's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from affectrt.bundle.modalities import Record

__all__ = [
    "CosineSchedule",
    "Count",
    "EncoderBundle",
    "Init",
    "NetworkChoice",
    "Optimiser",
    "PlateauSchedule",
    "Published",
    "PublishedFigure",
    "Release",
    "Schedule",
    "StepSchedule",
    "WarmUp",
]

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Rate = Annotated[float, Field(gt=0, le=1)]
WarmUp = Literal["none", "linear", "published"]


class NetworkChoice(Record):
    """A configuration of `affectrt.models.sizes`; `fields` replaces any field of it."""

    variant: Literal["rcma-v1", "rjcma-head", "rjcma-paper", "demo", "text-demo", "cav", "cav-demo"]
    modalities: tuple[Literal["video", "audio", "text"], ...] | None = None
    attention_layers: Annotated[int, Field(ge=0, le=4)] | None = None
    fields: dict[str, Any] = Field(default_factory=dict)


class Optimiser(Record):
    """Adam, as in both papers; decay is added to the gradient (not AdamW's)."""

    learning_rate: Rate
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    epsilon: Annotated[float, Field(gt=0, le=1)] = 1e-8  # torch's own; the papers name none


class PlateauSchedule(Record):
    """RCMA: rate · `factor` once the score was not the best for more than `patience` epochs after the warm-up."""

    kind: Literal["plateau"] = "plateau"
    warm_up: WarmUp = "linear"
    warm_up_epochs: Annotated[int, Field(ge=0, le=1000)] = 5
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[int, Field(ge=0, le=1000)] = 5


class StepSchedule(Record):
    """CAV: rate · factor^⌊(epoch − from_epoch) / every⌋ in epochs after `from_epoch`, counted from 0."""

    kind: Literal["steps"] = "steps"
    from_epoch: Annotated[int, Field(ge=0, le=100_000)] = 15
    every: Count = 2
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.8


class CosineSchedule(Record):
    """Neither paper's: a linear warm-up, then half a cosine to 0 at the last epoch, batch by batch."""

    kind: Literal["cosine"] = "cosine"
    warm_up_epochs: Annotated[int, Field(ge=0, le=1000)] = 1


Schedule = Annotated[PlateauSchedule | StepSchedule | CosineSchedule, Field(discriminator="kind")]


class Release(Record):
    """RCMA: parts of the backbones that learn in stages; the next one when the rate is below `below` and at least
    `min_epochs` epochs are done. 0 stages leave the backbones as they are."""

    stages: Annotated[int, Field(ge=0, le=3)] = 3
    below: Rate = 1e-8
    min_epochs: Annotated[int, Field(ge=0, le=1000)] = 5


class Init(Record):
    """Weights to begin with: files of parts or of a whole checkpoint, from the folder where the command runs.

    `needs` names the parts without which the published experiment makes no sense. `take` "encoders" leaves a whole
    checkpoint's fusion, which then may be of another shape.
    """

    needs: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    take: Literal["all", "encoders"] = "all"


class EncoderBundle(Record):
    """Whose engines compute cached features, instead of torch on the CPU: the bundle of a checkpoint in init.files."""

    bundle: Path
    precision: Literal["fp32", "fp16", "int8", "int8-fp16", "auto"] = "fp32"
    backend: Literal["auto", "tensorrt", "onnxruntime", "onnxruntime-cuda"] = "auto"


class PublishedFigure(Record):
    """A CCC that the authors publish. None that was not found in it or in notes on it."""

    split: Literal["validation", "test"]
    valence: float | None = None
    arousal: float | None = None
    mean: float | None = None
    source: str


class Published(Record):
    """Which table of which paper this is, its figures, and what of it could not be found."""

    paper: str
    table: str
    figures: tuple[PublishedFigure, ...] = ()
    not_found: str = ""
