"""One stage of a bundle on its own: what a call costs, and how near it comes to what the machine can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import cast

import numpy as np

from affectrt.bundle.contract import TEXT_INPUTS, AudioModality, Contract, TextModality
from affectrt.bundle.manifest import Asked, Precision
from affectrt.bundle.store import Bundle
from affectrt.runtime.engines import Array, Choice, open_engine
from affectrt.runtime.scheduler import batch_rows

from .macs import count_macs
from .peak import Peak
from .timing import Timing, measure

__all__ = ["BATCHES", "StageResult", "Work", "batches_of", "lengths_of", "row_of", "stage_feeds", "time_stage"]

BATCHES = (1, 8)


@dataclass(frozen=True)
class Work:
    """What every row of a stage costs: multiply-accumulates and weights."""

    macs: int
    weights: int

    @classmethod
    def of(cls, bundle: Bundle, stage: str, length: int | None = None) -> Work:
        """Counted on the FP32 graph: quantising moves the same multiplications to other operators.

        `length`: of a sentence, in pieces; the contract's longest by default.
        """
        length = length or max(bundle.contract.lengths(stage), default=None)
        counted = count_macs(bundle.read(bundle.graph_for(stage, "fp32")), length)
        return cls(counted.total, counted.weights)


@dataclass(frozen=True)
class StageResult:
    """`precision` was asked for, `ran` is what the bundle's plan made of it. `peak`: MAC/s, if it was measured.

    `row`: what one row of this stage is, in words; a rate of rows is a rate of these. `length`: of a row, in pieces,
    where there are several. `error`: relative L2 error of the output, FP32's being right; None where not measured.
    """

    model: str
    stage: str
    precision: str
    ran: str
    timing: Timing
    row: str
    work: Work | None = None
    peak: float | None = None
    length: int | None = None
    error: float | None = None

    @property
    def macs_per_second(self) -> float | None:
        """At the median, so that one disturbed call does not speak for all."""
        return None if self.work is None else self.work.macs * self.timing.rows / self.timing.percentile(50)

    @property
    def share_of_peak(self) -> float | None:
        return None if self.macs_per_second is None or self.peak is None else self.macs_per_second / self.peak

    def as_record(self) -> dict[str, object]:
        """Plain data, for JSON."""
        speed = self.macs_per_second
        return {
            "model": self.model,
            "stage": self.stage,
            "precision": self.precision,
            "ran": self.ran,
            "row": self.row,
            **({} if self.length is None else {"length": self.length}),
            **({} if self.error is None else {"error": self.error}),
            **self.timing.as_record(),
            "macs_per_row": None if self.work is None else self.work.macs,
            "weights": None if self.work is None else self.work.weights,
            "gmac_per_s": None if speed is None else speed / 1e9,
            "share_of_peak": self.share_of_peak,
        }


def batches_of(contract: Contract, stage: str) -> list[int]:
    """What a run would make of `BATCHES`: large inputs come in smaller ones."""
    row_bytes = sum(tensor.nbytes for tensor in contract.stage_inputs(stage))
    return sorted({batch_rows(row_bytes, batch) for batch in BATCHES})


def lengths_of(contract: Contract, stage: str) -> tuple[int | None, ...]:
    """What a stage is timed at: every length of a sentence; (None,) for a stage whose rows are all as long."""
    return contract.lengths(stage) or (None,)


def row_of(contract: Contract, stage: str, length: int | None = None) -> str:
    """What one row of a stage is, in words."""
    modality = contract.encoder_stages.get(stage)
    if isinstance(modality, TextModality):
        return f"sentence of {length or modality.token_lengths[-1]} pieces"
    if modality is None:
        return f"window of {contract.fusion.window_steps} steps"
    if isinstance(modality, AudioModality):
        return f"{modality.span_samples / modality.sample_rate_hz:g} s of sound"
    side = f"{modality.crop_px}×{modality.crop_px}"
    return f"picture of {side}" if modality.span_frames == 1 else f"clip of {modality.span_frames} pictures of {side}"


def stage_feeds(
    bundle: Bundle, stage: str, batch: int, *, length: int | None = None, seed: int = 0
) -> Mapping[str, Array]:
    """Noise in the range of real media: a dense network computes as long on noise as on faces.

    Sentences are of random pieces, a word each, and fill `length`, by default the longest.
    """
    rng = np.random.default_rng(seed)
    if lengths := bundle.contract.lengths(stage):
        return _sentences(bundle, batch, length or lengths[-1], rng)
    feeds: dict[str, Array] = {}
    for tensor in bundle.contract.stage_inputs(stage):
        shape = (batch, *tensor.shape)
        if tensor.dtype == "uint8":
            feeds[tensor.name] = rng.integers(0, 256, shape, dtype=np.uint8)
        else:
            scale = 0.1 if stage in bundle.contract.encoder_stages else 1.0
            feeds[tensor.name] = (scale * rng.standard_normal(shape)).astype(tensor.dtype)
    return feeds


def _sentences(bundle: Bundle, batch: int, length: int, rng: np.random.Generator) -> Mapping[str, Array]:
    pieces = bundle.read(bundle.manifest.attachments["vocabulary"]).count(b"\n")
    words = np.arange(length)
    words[-1] = 0
    feeds = (rng.integers(0, pieces, (batch, length)), np.ones((batch, length)), np.tile(words, (batch, 1)))
    return {name: feed.astype(np.int64) for name, feed in zip(TEXT_INPUTS, feeds, strict=True)}


def time_stage(
    bundle: Bundle,
    stage: str,
    precision: Asked,
    batch: int,
    *,
    length: int | None = None,
    backend: str | Choice = "auto",
    cuda_graph: bool = True,
    threads: int | None = None,
    iterations: int = 50,
    duration_s: float = 0.0,
    warmup_s: float = 0.2,
    peak: Peak | None = None,
    clock: Callable[[], float] = perf_counter,
) -> StageResult:
    """Open the stage's engine and time single calls of one batch size. With `peak`, its work is counted too.

    `peak` is the processor's, and nothing that ran elsewhere is held to it.
    """
    feeds = stage_feeds(bundle, stage, batch, length=length)
    with open_engine(bundle, stage, precision, backend, threads, cuda_graph=cuda_graph) as engine:
        ran = cast("Precision", engine.provenance["precision"])
        peak = peak if engine.provenance["backend"] == "onnxruntime" else None
        timing = measure(
            lambda: engine.infer(feeds),
            rows=batch,
            iterations=iterations,
            duration_s=duration_s,
            warmup_s=warmup_s,
            clock=clock,
        )
    work = None if peak is None else Work.of(bundle, stage, length)
    row, limit = row_of(bundle.contract, stage, length), None if peak is None else peak.of(ran)
    return StageResult(bundle.manifest.name, stage, precision, ran, timing, row, work, limit, length)
