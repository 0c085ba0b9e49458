"""Every kind of figure that a check measures, and all of them together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from affectrt.bundle.manifest import Interval
from affectrt.bundle.modalities import Record

__all__ = [
    "Accuracy",
    "Build",
    "Check",
    "Clock",
    "Copy",
    "Figure",
    "Findings",
    "Latency",
    "Library",
    "MatrixPeak",
    "Parity",
    "Roofline",
    "Timed",
]

Milliseconds = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Clock = Literal["cuda events", "wall clock"]


class Library(Record):
    """`where`: system, LD_LIBRARY_PATH or a Python package; never a path of the machine."""

    name: str
    where: str


class Check(Record):
    """Something that must hold, and what was seen."""

    name: str
    passed: bool
    seen: str


class Copy(Record):
    """Payload a second, in 10⁹ bytes; between two places of the device each byte is read and written."""

    kind: Literal["host to device, pinned", "host to device, pageable", "device to host, pinned", "device to device"]
    size_bytes: Annotated[int, Field(ge=1)]
    gbyte_per_s: Rate


class MatrixPeak(Record):
    """Best of the shapes tried, in 10⁹ multiply-accumulates a second (a FLOP count is twice that)."""

    precision: Literal["fp32", "tf32", "fp16", "int8"]
    library: str
    shape: str
    gmac_per_s: Rate


class Latency(Record):
    """Of single calls, after `warmups` calls that were not counted."""

    calls: Annotated[int, Field(ge=1)]
    warmups: Count
    mean_ms: Milliseconds
    p50_ms: Milliseconds
    p90_ms: Milliseconds
    p99_ms: Milliseconds
    p999_ms: Milliseconds
    max_ms: Milliseconds


class Build(Record):
    """One engine: asked for in one precision, built in another where that was refused; `layers` by precision."""

    bundle: str
    stage: str
    asked: str
    precision: str
    batches: tuple[int, ...]
    lengths: tuple[int, ...] = ()
    build_s: Annotated[float, Field(ge=0)]
    size_bytes: Count
    layers: dict[str, int]
    fallbacks: tuple[str, ...] = ()


class Parity(Record):
    """An engine against ONNX Runtime's CPU kernels computing the same graph in floats.

    `relative` is the largest difference over the largest absolute value of the reference. `length`: of its sentences.
    """

    bundle: str
    stage: str
    asked: str
    precision: str
    backend: str
    variant: str
    length: int | None = None
    rows: Annotated[int, Field(ge=1)]
    max_abs: Annotated[float, Field(ge=0)]
    relative: Annotated[float, Field(ge=0)]
    tolerance: Rate
    passed: bool


class Timed(Record):
    """`variant`: memory and graph, such as `mapped, captured`.

    Events see the device's time, the wall clock the caller's. `transfers`: whether the time holds the way of inputs to
    the device and of outputs back. `length`: of its sentences.
    """

    bundle: str
    stage: str
    asked: str
    precision: str
    backend: str
    variant: str
    batch: Annotated[int, Field(ge=1)]
    length: int | None = None
    clock: Clock
    transfers: bool
    latency: Latency


class Accuracy(Record):
    """CCC of a backend on a corpus beside that of FP32 on ONNX Runtime's CPU kernels, paired by video."""

    bundle: str
    asked: str
    backend: str
    corpus: str
    videos: Annotated[int, Field(ge=1)]
    reference: dict[str, Interval]
    ccc: dict[str, Interval]
    loss: dict[str, Interval]


class Roofline(Record):
    """A network on PyTorch: the time of a row, its work, and how near that is to what the machine was measured to do.

    `bytes_per_call`: weights, inputs and outputs once each, which no program can avoid. `bound_ms`: the least time a
    row can take by the measured matrix peak and the measured bandwidth.
    """

    network: str
    stage: str
    precision: Literal["fp32", "fp16"]
    batch: Annotated[int, Field(ge=1)]
    captured: bool
    latency: Latency
    ms_per_row: Milliseconds
    gmac_per_row: Annotated[float, Field(ge=0)]
    gmac_per_s: Annotated[float, Field(ge=0)]
    bytes_per_call: Count
    relative_error: Annotated[float, Field(ge=0)]
    share_of_peak: Annotated[float, Field(ge=0)] | None = None
    bound_ms: Milliseconds | None = None
    share_of_bound: Annotated[float, Field(ge=0)] | None = None


Figure = Library | Check | Copy | MatrixPeak | Build | Parity | Timed | Accuracy | Roofline


class Findings(Record):
    """Everything measured, by kind, in the order of measuring. `facts`: of the GPU and its software."""

    facts: dict[str, str] = Field(default_factory=dict)
    libraries: tuple[Library, ...] = ()
    checks: tuple[Check, ...] = ()
    copies: tuple[Copy, ...] = ()
    peaks: tuple[MatrixPeak, ...] = ()
    builds: tuple[Build, ...] = ()
    parities: tuple[Parity, ...] = ()
    timed: tuple[Timed, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()
    rooflines: tuple[Roofline, ...] = ()

    def __add__(self, other: Findings) -> Findings:
        """Both, one after the other."""
        return Findings.model_validate(
            {
                name: {**self.facts, **other.facts}
                if name == "facts"
                else (*getattr(self, name), *getattr(other, name))
                for name in type(self).model_fields
            }
        )

    def peak(self, precision: str) -> float | None:
        """MAC/s measured in this run; None where it was not."""
        return max((1e9 * p.gmac_per_s for p in self.peaks if p.precision == precision), default=None)

    def bandwidth(self) -> float | None:
        """Bytes read and written a second by copies within the device; None where it was not measured."""
        return max((2e9 * c.gbyte_per_s for c in self.copies if c.kind == "device to device"), default=None)
