"""What an evaluation finds: figures, the series that they are of, and whether two ways of getting them agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from affectrt.bundle.manifest import Accuracy, Interval

from .annotation import OUTPUTS
from .play import Rows, corpus_in_words, rows_of_steps

__all__ = ["AGREE", "Agreement", "Evaluation", "Examination", "Played", "VideoScore", "Windows", "agreements"]

Windows = Literal["stream", "offline", "published"]
AGREE = 1e-5


@dataclass(frozen=True)
class VideoScore:
    """CCC, RMSE and Pearson's r of one video per dimension, NaN where nothing can be compared; `rows` annotated rows,
    of which `estimated` met an estimate.

    A row is a picture, of a prepared corpus a step; of a model whose estimates are means over windows it is an
    estimate, the first ones, of a stream younger than the window, included.
    """

    name: str
    identity: str | None
    rows: int
    estimated: int
    ccc: Mapping[str, float]
    rmse: Mapping[str, float] = field(default_factory=dict)
    pearson: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """CCC, RMSE and Pearson's r per dimension over the concatenation of all videos, with 95 % intervals from
    resampling videos, and `author`, metric name → dimension → value, what the papers' code would print.

    `described_steps` > 1: every estimate was compared with the mean of the annotation over so many steps up to its own.
    Such figures cannot be compared with those of single pictures. Nothing annotated: no figures.
    """

    corpus: str
    split: str
    modalities: tuple[str, ...]
    hop_steps: int
    described_steps: int
    precision: str
    backend: str
    ccc: Mapping[str, Interval]
    videos: tuple[VideoScore, ...]
    windows: Windows = "stream"
    rmse: Mapping[str, Interval] = field(default_factory=dict)
    pearson: Mapping[str, Interval] = field(default_factory=dict)
    author: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Mean CCC of the dimensions."""
        return float(np.mean([interval.value for interval in self.ccc.values()])) if self.ccc else float("nan")

    def as_accuracy(self) -> Accuracy:
        """In the form that a bundle's manifest keeps."""
        corpus = corpus_in_words(self.corpus, self.split, self.modalities, self.described_steps)
        return Accuracy(
            precision=self.precision,
            backend=self.backend,
            corpus=corpus if self.windows == "stream" else f"{corpus}, {self.windows} windows",
            videos=len(self.videos),
            ccc={name: self.ccc[name] for name in OUTPUTS if name in self.ccc},
        )


@dataclass(frozen=True, eq=False)
class Played:
    """One video's estimates: `dense` (steps, outputs) by step, and `rows` beside `truth`, both (rows, outputs); NaN
    where there is none. `times_s` (rows,) is when each row is, `picture_steps` (pictures,) the step of each picture."""

    name: str
    dense: Rows
    rows: Rows
    truth: Rows
    times_s: Rows
    picture_steps: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Examination:
    """The figures, and the series that they are of."""

    evaluation: Evaluation
    played: tuple[Played, ...]


@dataclass(frozen=True)
class Agreement:
    """Whether a session and offline windows say the same: over `steps` that both estimate the `largest` difference,
    and `alone`, steps that only one of them does."""

    modalities: tuple[str, ...]
    largest: float
    steps: int
    alone: int
    video: str | None

    @property
    def agree(self) -> bool:
        return self.alone == 0 and self.steps > 0 and self.largest <= AGREE


def agreements(examinations: Sequence[Examination]) -> list[Agreement]:
    """For every set of modalities that was both streamed and computed in the contract's offline windows."""
    of = {(e.evaluation.windows, e.evaluation.modalities): e for e in examinations}
    found = []
    for (rule, chosen), streamed in of.items():
        offline = of.get(("offline", chosen))
        if rule != "stream" or offline is None:
            continue
        largest, steps, alone, worst = 0.0, 0, 0, None
        for one, other in zip(streamed.played, offline.played, strict=True):
            length = max(len(one.dense), len(other.dense))
            x, y = (rows_of_steps(played.dense, np.arange(length)) for played in (one, other))
            difference = np.abs(x - y)
            alone += int((np.isnan(x).any(axis=1) != np.isnan(y).any(axis=1)).sum())
            both = difference[~np.isnan(difference).any(axis=1)]
            steps += len(both)
            if both.size and (worst is None or both.max() > largest):
                largest, worst = float(both.max()), one.name
        found.append(Agreement(chosen, largest, steps, alone, worst))
    return found
