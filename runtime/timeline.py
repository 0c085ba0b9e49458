"""The features of one modality of one track, each computed once, kept for as long as a window may need them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import EngineError

from .engines.base import Array

__all__ = ["FeatureTimeline", "Features", "features_from"]

Features = npt.NDArray[np.float32]

_WAITING, _PRESENT, _MISSING = 0, 1, 2


class FeatureTimeline:
    """Rows of `dim` features by step, filled in any order, read as windows; a missing step is a zero row."""

    def __init__(self, dim: int, first_step: int, keep_steps: int) -> None:
        self._base = first_step
        self._keep_from = first_step
        self._rows: Features = np.zeros((2 * keep_steps + 64, dim), np.float32)
        self._state = np.full(len(self._rows), _WAITING, np.uint8)
        self._decided_until = first_step

    @property
    def decided_until(self) -> int:
        """Every step before this one is present or missing."""
        return self._decided_until

    def put(self, step: int, features: Features | None) -> None:
        """Store a row, or that the step has none. Each step is decided once; ValueError otherwise."""
        self._make_room(step)
        at = step - self._base
        if self._state[at] != _WAITING:
            raise ValueError(f"step {step} was decided before")
        if features is None:
            self._state[at] = _MISSING
        else:
            self._rows[at] = features
            self._state[at] = _PRESENT
        end = self._base + len(self._state)
        while self._decided_until < end and self._state[self._decided_until - self._base] != _WAITING:
            self._decided_until += 1

    def present(self, step: int) -> bool:
        return bool(self._state[step - self._base] == _PRESENT)

    def window(self, steps: range, length: int, *, repeat_first: bool = False) -> Features:
        """Rows of `steps`, oldest first, as (length, dim): if they are fewer, zeros follow or the first precedes."""
        taken = self._rows[steps[0] - self._base : steps[-1] - self._base + 1 : steps.step]
        window = np.zeros((length, self._rows.shape[1]), np.float32)
        if repeat_first:
            window[: -len(taken)] = taken[0]
            window[-len(taken) :] = taken
        else:
            window[: len(taken)] = taken
        return window

    def forget_before(self, step: int) -> None:
        """No window will ever ask for a step before this one."""
        self._keep_from = max(self._keep_from, step)

    def _make_room(self, step: int) -> None:
        if step < self._base:
            raise ValueError(f"step {step} lies before the kept steps, which begin at {self._base}")
        if step - self._base < len(self._rows):
            return
        drop = min(self._keep_from, self._decided_until) - self._base
        kept = len(self._rows) - drop
        size = len(self._rows)
        while step - self._base - drop >= size:
            size *= 2
        rows = np.zeros((size, self._rows.shape[1]), np.float32)
        state = np.full(size, _WAITING, np.uint8)
        rows[:kept] = self._rows[drop:]
        state[:kept] = self._state[drop:]
        self._rows, self._state = rows, state
        self._base += drop


def features_from(result: Array | None, step: int) -> Features:
    """An encoder's answer for `step`; EngineError for one that is not a number."""
    features: Features = np.asarray(result, np.float32)
    if not np.isfinite(features).all():
        raise EngineError(
            f"the encoder gave a feature that is not a number at step {step}",
            expected="finite features",
            fix="affectrt verify the bundle, or run it with --precision fp32",
        )
    return features
