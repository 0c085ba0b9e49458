"""Offline windows: the fusion over the features of a whole recording, without a session.

Two rules say which windows there are. "offline" is the contract's own, the windows that a session would form.
"published" is the authors': of estimates by step, windows of 300 rows every 200 and one that ends at the last row,
overlaps averaged, what is padded dropped (arXiv 2403.13659's code, logger.py:89-130); of one estimate a window, every
whole window at a hop of 1, nothing merged (arXiv 2111.05222's code).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import Contract, Fusion
from affectrt.bundle.errors import EngineError
from affectrt.runtime import Request
from affectrt.runtime.engines.base import Array
from affectrt.runtime.replay import Infer

from .experiments.windows import series_windows

__all__ = ["Rule", "StepFeatures", "Stretch", "estimates_of", "grid_of", "published_hop", "stretches_of"]

Rule = Literal["offline", "published"]
Rows = npt.NDArray[np.float64]

_WINDOWS_AT_ONCE = 32


@dataclass(frozen=True)
class Stretch:
    """Unbroken media, from step `first` to before `end`, as a session has it between gaps: no window reaches over them.

    `begin` is the first step that shows a face, before which a session with video estimates nothing; `end` where none
    does.
    """

    first: int
    begin: int
    end: int

    def grid(self, every: int) -> range:
        """The steps at which a session runs that computes every so many steps."""
        return range(self.first + every - 1, self.end, every)


def stretches_of(seen: npt.NDArray[np.bool_], gaps: Sequence[range]) -> tuple[Stretch, ...]:
    """What is left of a recording of len(seen) steps without `gaps`, in order; `seen`: whether a step shows a face."""
    firsts, ends = [0, *(gap.stop for gap in gaps)], [*(gap.start for gap in gaps), len(seen)]
    return tuple(
        Stretch(first, first + int(np.argmax(seen[first:end])) if seen[first:end].any() else end, end)
        for first, end in zip(firsts, ends, strict=True)
        if first < end
    )


@dataclass(frozen=True, eq=False)
class StepFeatures:
    """Features of a recording, `by_modality` (steps, dim), zeros where a step has none or was not asked for.

    `annotated` (rows,) are the steps that the published rule counts as rows: those with an annotation, or all where
    none has one. That rule knows no stretches.
    """

    steps: int
    stretches: tuple[Stretch, ...]
    by_modality: Mapping[str, npt.NDArray[np.float32]]
    annotated: npt.NDArray[np.int64]


def grid_of(contract: Contract, rule: Rule, hop_steps: int) -> int:
    """Features are needed at the steps g - 1, 2g - 1, … of every stretch, of this g."""
    if contract.fusion.output == "per_step" or rule == "published":
        return 1
    return math.gcd(hop_steps, contract.fusion.stride_steps)


def published_hop(fusion: Fusion) -> int:
    """200 of 300 rows, and the same share of windows of another length."""
    return max(1, fusion.window_steps * 2 // 3)


def estimates_of(
    contract: Contract,
    infer: Infer,
    features: StepFeatures,
    rule: Rule,
    *,
    modalities: Sequence[str],
    hop_steps: int,
    until: int | None = None,
) -> Rows:
    """(steps, outputs), NaN where there is no estimate; all modalities but these are zeros to the fusion.

    `until`: as if the recording ended before this step. Raises EngineError for what is not a number.
    """
    steps = features.steps if until is None else min(until, features.steps)
    used = {name: rows for name, rows in features.by_modality.items() if name in modalities}
    fuse = _Fuse(contract, infer, used)
    dense = np.full((steps, len(contract.outputs)), np.nan)
    if rule == "offline":
        for stretch in features.stretches:
            begin = stretch.begin if "video" in modalities else stretch.first
            _by_contract(contract.fusion, fuse, dense, dataclasses.replace(stretch, begin=begin), hop_steps)
    elif contract.fusion.output == "per_window":
        span = contract.fusion.span_steps
        ends = range(contract.described_steps - 1, steps)
        windows = [np.arange(end - span + 1, end + 1, contract.fusion.stride_steps) for end in ends]
        for end, values in zip(ends, fuse(windows), strict=True):
            dense[end] = values[-1]
    else:
        _averaged(contract.fusion, fuse, dense, features.annotated[features.annotated < steps])
    return dense


def _by_contract(fusion: Fusion, fuse: _Fuse, dense: Rows, stretch: Stretch, hop: int) -> None:
    """Runs at the steps hop - 1, 2·hop - 1, … of a stretch and, with an estimate for each step, one at its end; a run
    estimates its own step, or all that no run before it has."""
    begin, until, stride = stretch.begin, min(stretch.end, len(dense)), fusion.stride_steps
    ends = [end for end in stretch.grid(hop) if begin <= end < until]
    per_step = fusion.output == "per_step"
    if per_step and begin < until and (not ends or ends[-1] != until - 1):
        ends.append(until - 1)
    known = [min((end - begin) // stride + 1, fusion.window_steps) for end in ends]
    windows = [np.arange(e - (n - 1) * stride, e + 1, stride) for e, n in zip(ends, known, strict=True)]
    fresh = begin
    for end, window, values in zip(ends, windows, fuse(windows), strict=True):
        if not per_step:
            dense[end] = values[-1]
            continue
        since = max(fresh, int(window[0]))
        dense[since : end + 1] = values[since - int(window[0]) : end + 1 - int(window[0])]
        fresh = end + 1


def _averaged(fusion: Fusion, fuse: _Fuse, dense: Rows, rows: npt.NDArray[np.int64]) -> None:
    starts = series_windows(len(rows), fusion.window_steps, published_hop(fusion))
    windows = [rows[start : start + fusion.window_steps] for start in starts]
    sums, counts = np.zeros_like(dense), np.zeros(len(dense))
    for window, values in zip(windows, fuse(windows), strict=True):
        sums[window] += values[: len(window)]
        counts[window] += 1
    seen = counts > 0
    dense[seen] = sums[seen] / counts[seen, None]


class _Fuse:
    """All stages of the fusion over windows of steps, in batches."""

    def __init__(self, contract: Contract, infer: Infer, used: Mapping[str, npt.NDArray[np.float32]]) -> None:
        self._contract, self._infer, self._used = contract, infer, used
        self._low = np.array([output.low for output in contract.outputs])
        self._high = np.array([output.high for output in contract.outputs])
        self._columns = {output.name: column for column, output in enumerate(contract.outputs)}

    def __call__(self, windows: Sequence[npt.NDArray[np.int64]]) -> list[Rows]:
        """Of every window (rows, outputs), in the outputs' range: its steps in order, or one row."""
        answers: list[Rows] = []
        for at in range(0, len(windows), _WINDOWS_AT_ONCE):
            answers += self._batch(windows[at : at + _WINDOWS_AT_ONCE])
        return answers

    def _batch(self, windows: Sequence[npt.NDArray[np.int64]]) -> list[Rows]:
        feeds = [self._feeds(window) for window in windows]
        found: list[dict[int, Array]] = [{} for _ in windows]
        for stage in self._contract.fusion.stages:
            requests = [Request(stage.stage, 0, int(w[-1]), f) for w, f in zip(windows, feeds, strict=True)]
            for columns, result in zip(found, self._infer(requests), strict=True):
                values = np.atleast_2d(result)
                columns.update({self._columns[name]: values[:, at] for at, name in enumerate(stage.outputs)})
        answers = []
        for window, columns in zip(windows, found, strict=True):
            rows = np.stack([columns[at] for at in sorted(columns)], axis=1).astype(np.float64)
            if not np.isfinite(rows).all():
                raise EngineError(
                    f"the fusion gave an estimate that is not a number in the window that ends at step {window[-1]}",
                    expected="finite estimates",
                    fix="affectrt verify the bundle, or evaluate it with --precision fp32",
                )
            answers.append(np.clip(rows, self._low, self._high))
        return answers

    def _feeds(self, window: npt.NDArray[np.int64]) -> dict[str, Array]:
        fusion = self._contract.fusion
        feeds: dict[str, Array] = {}
        for name, modality in self._contract.modalities.items():
            feed = np.zeros((fusion.window_steps, modality.feature_dim), np.float32)
            if name in self._used:
                rows = self._used[name][window]
                if fusion.short_window == "repeat_first":
                    feed[: -len(rows)] = rows[0]
                    feed[-len(rows) :] = rows
                else:
                    feed[: len(rows)] = rows
            feeds[name] = feed
        return feeds
