"""Which videos train and which validate: the RCMA authors' six folds (C2 dataset.py:24-29)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

from affectrt.bundle.errors import UsageError

__all__ = ["FOLDS", "folds", "groups"]

FOLDS = 6
GROUPS = 5

Video = TypeVar("Video")


def groups(train: Sequence[Video]) -> list[list[Video]]:
    """t0 … t4: five runs of equal length, the last one longer by what is left over. 356 videos: 71, 71, 71, 71, 72."""
    size = len(train) // GROUPS
    bounds = [*range(0, GROUPS * size, size), len(train)] if size else [0] * GROUPS + [len(train)]
    return [list(train[low:high]) for low, high in pairwise(bounds)]


def folds(train: Sequence[Video], validation: Sequence[Video], fold: int) -> tuple[list[Video], list[Video]]:
    """The training and validation videos of a fold; both splits come in the order of their names.

    Fold 0 is the official split. Fold f ≥ 1 validates on t_(5 − f) and trains on the other groups and the official
    validation split; so fold 1, the authors' default and their headline, validates on the last 72 of 356 training
    videos. UsageError for another fold, or for one that leaves nothing to validate on.
    """
    if not 0 <= fold < FOLDS:
        raise UsageError(f"fold {fold}", expected=f"0 (the official split) … {FOLDS - 1}", fix="--fold 0")
    if fold == 0:
        return list(train), list(validation)
    parts = groups(train)
    held_out = parts.pop(GROUPS - fold)
    if not held_out:
        raise UsageError(
            f"fold {fold} of {len(train)} training videos has nothing to validate on",
            expected=f"at least {GROUPS} training videos for the folds 1 … {FOLDS - 1}",
            fix="--fold 0",
        )
    return [video for part in parts for video in part] + list(validation), held_out
