"""Annotation rows meet steps and estimates: whose picture is nearest, and what the mean over many steps is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from affectrt.runtime import Estimate

__all__ = ["OUTPUTS", "OutputName", "annotation_of_steps", "estimated_steps", "means_up_to"]

# The columns of an annotation.
OutputName = Literal["valence", "arousal"]
OUTPUTS: tuple[OutputName, ...] = ("valence", "arousal")

# Further than this from a picture, a step has no annotation: slower annotations than 10 a second are not expected.
_NEAR_S = 0.1

Rows = npt.NDArray[np.float64]


def estimated_steps(
    estimates: Sequence[Estimate], names: Sequence[OutputName], step_hz: float
) -> tuple[npt.NDArray[np.int64], Rows]:
    """Every step that has an estimate, ascending (n,), and its values (n, len(names)); the latest where there are two.

    Estimates that are warming up are among them.
    """
    by_step = {round(e.t_s * step_hz): e for e in estimates}
    steps = np.array(sorted(by_step), np.int64)
    rows = np.array([_values(by_step[step], names) for step in sorted(by_step)], np.float64)
    return steps, rows.reshape(len(steps), len(names))


def annotation_of_steps(
    truth: npt.NDArray[np.floating], times_s: npt.NDArray[np.float64], steps: int, step_hz: float
) -> npt.NDArray[np.float32]:
    """Each step's nearest annotation row, (steps, 2); NaN where no picture is within 0.1 s."""
    rows = min(len(truth), len(times_s))
    at = np.arange(steps) / step_hz
    annotated = np.full((steps, truth.shape[1]), np.nan, np.float32)
    if rows == 0:
        return annotated
    after = np.clip(np.searchsorted(times_s[:rows], at), 0, rows - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(at - times_s[before] < times_s[after] - at, before, after)
    near = np.abs(times_s[nearest] - at) <= _NEAR_S
    annotated[near] = truth[nearest[near]]
    return annotated


def means_up_to(annotation: npt.NDArray[np.float32], described_steps: int) -> npt.NDArray[np.float32]:
    """Row k: the mean of the annotated rows among the last `described_steps` up to row k, shape (steps, dimensions).

    Fewer at the beginning, where there are no more; NaN where none of them is annotated. One step is its own mean.
    """
    if described_steps == 1 or len(annotation) == 0:
        return annotation
    known = ~np.isnan(annotation)
    sums = np.cumsum(np.where(known, annotation, 0.0), axis=0, dtype=np.float64)
    counts = np.cumsum(known, axis=0)
    sums[described_steps:], counts[described_steps:] = (
        sums[described_steps:] - sums[:-described_steps],
        counts[described_steps:] - counts[:-described_steps],
    )
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).astype(np.float32)


def _values(estimate: Estimate, names: Sequence[OutputName]) -> list[float]:
    values = [getattr(estimate, name) for name in names]
    return [np.nan if value is None else value for value in values]
