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

from .annotation import OUTPUTS, OutputName, align, annotation_of_steps, estimated_steps, means_up_to
from .corpus import CorpusVideo
from .media import open_media

__all__ = ["MAX_BATCH", "Rows", "beside_truth", "corpus_in_words", "output_names", "play"]

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
    """Estimates and truth, both (rows, outputs), NaN where there is none; `times_s` of the video's pictures.

    A row is a picture, with the estimate of its step. Where the contract says that an estimate is a window's mean, a
    row is an estimate, with the mean of the annotation over the `described_steps` up to its own, as far as there are
    annotated ones.
    """
    names = output_names(contract)
    rows = min(len(times_s), len(video.truth))
    times_s = times_s[:rows]
    truth = np.asarray(video.truth, np.float64)[:rows, [OUTPUTS.index(name) for name in names]]
    if contract.fusion.describes != "window_mean":
        return align(estimates, names, times_s, contract.step_hz), truth
    steps, estimated = estimated_steps(estimates, names, contract.step_hz)
    annotation = annotation_of_steps(truth, times_s, int(steps.max(initial=-1)) + 1, contract.step_hz)
    return estimated, means_up_to(annotation, contract.described_steps)[steps].astype(np.float64)


def corpus_in_words(corpus: str, split: str, modalities: Collection[str], described_steps: int) -> str:
    """What figures in a manifest were measured on."""
    means = f", window means of {described_steps} steps" if described_steps > 1 else ""
    return f"{corpus}, {split}, {'+'.join(modalities)}{means}"
