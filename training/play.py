"""A recording played through a model, and its estimates beside the annotation that they are compared with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import Contract
from affectrt.runtime import Estimate
from affectrt.runtime.replay import Infer, replay
from affectrt.runtime.words.pieces import Pieces

from .annotation import OUTPUTS, OutputName, annotation_of_steps, estimated_steps, means_up_to
from .corpus import CorpusVideo
from .media import open_media

__all__ = [
    "MAX_BATCH",
    "Rows",
    "beside",
    "beside_truth",
    "by_step",
    "corpus_in_words",
    "output_names",
    "play",
    "rows_of_steps",
    "steps_of",
]

MAX_BATCH = 16

Rows = npt.NDArray[np.float64]


def output_names(contract: Contract) -> tuple[OutputName, ...]:
    """The columns of all rows."""
    return tuple(output.name for output in contract.outputs)


def play(
    contract: Contract,
    media: Path,
    infer: Infer,
    *,
    pieces: Pieces | None = None,
    modalities: Collection[str] | None = None,
    hop_steps: int | None = None,
    gather: int = MAX_BATCH,
) -> list[Estimate]:
    """Every estimate of a file, read through the source and the session of a run; hop and modalities of the contract,
    unless others are given. Text takes the model's `pieces` and a transcript beside the file or in its corpus."""
    with open_media(contract, media, modalities) as source:
        return replay(contract, source, infer, pieces=pieces, hop_steps=hop_steps, gather=gather)


def beside_truth(
    contract: Contract, video: CorpusVideo, times_s: Rows, estimates: Sequence[Estimate]
) -> tuple[Rows, Rows]:
    """`beside` for estimates of a session; `times_s` of the video's pictures."""
    return beside(contract, video.truth, times_s, by_step(contract, estimates))


def by_step(contract: Contract, estimates: Sequence[Estimate]) -> Rows:
    """(steps, outputs) up to the last estimate, NaN where there is none."""
    steps, estimated = estimated_steps(estimates, output_names(contract), contract.step_hz)
    dense = np.full((int(steps.max(initial=-1)) + 1, estimated.shape[1]), np.nan)
    dense[steps] = estimated
    return dense


def beside(
    contract: Contract, annotation: npt.NDArray[np.floating], times_s: Rows | None, dense: Rows
) -> tuple[Rows, Rows]:
    """Estimates and truth, both (rows, outputs), NaN where there is none; `annotation` (n, 2) of the pictures shown at
    `times_s`, or of the steps where those are None; `dense` (steps, outputs) estimates.

    A row is a picture, or a step, with the estimate of its step. Where the contract says that an estimate is a window's
    mean, a row is an estimate, with the mean of the annotation over the `described_steps` up to its own, as far as
    there are annotated ones.
    """
    truth = np.asarray(annotation, np.float64)[:, [OUTPUTS.index(name) for name in output_names(contract)]]
    if times_s is not None:
        rows = min(len(times_s), len(truth))
        times_s, truth = times_s[:rows], truth[:rows]
    if contract.fusion.describes != "window_mean":
        at = np.arange(len(truth)) if times_s is None else steps_of(times_s, contract.step_hz)
        return rows_of_steps(dense, at), truth
    steps = np.flatnonzero(~np.isnan(dense).all(axis=1))
    if times_s is None:
        by = rows_of_steps(truth, np.arange(len(dense))).astype(np.float32)
    else:
        by = annotation_of_steps(truth, times_s, len(dense), contract.step_hz)
    return dense[steps], means_up_to(by, contract.described_steps)[steps].astype(np.float64)


def steps_of(times_s: Rows, step_hz: float) -> npt.NDArray[np.int64]:
    """The step nearest to each time."""
    return np.floor(times_s * step_hz + 0.5).astype(np.int64)


def rows_of_steps(dense: Rows, steps: npt.NDArray[np.int64]) -> Rows:
    """The rows of these steps, NaN for those outside."""
    rows = np.full((len(steps), dense.shape[1]), np.nan)
    inside = (steps >= 0) & (steps < len(dense))
    rows[inside] = dense[steps[inside]]
    return rows


def corpus_in_words(corpus: str, split: str, modalities: Collection[str], described_steps: int) -> str:
    """What figures in a manifest were measured on."""
    means = f", window means of {described_steps} steps" if described_steps > 1 else ""
    return f"{corpus}, {split}, {'+'.join(modalities)}{means}"
