"""Recorded inputs that say nothing are refused: ranges of silence and black frames hold for nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from affectrt.bundle.contract import Contract, TextModality
from affectrt.bundle.errors import UsageError
from affectrt.runtime.engines.base import Array

__all__ = ["check_informative"]

# Loudness of a span, its mean left out. Quiet rooms lie near −60 dBFS, the rounding of 16 bits at −101; what a codec
# makes of silence, at −90 or below.
SILENT_DBFS = -80.0
# Standard deviation over a picture, in levels of 255, of its most varied colour. A capped lens with noise of 8 levels
# decodes to 0.9; drawn faces have 42 or more.
FLAT_LEVELS = 2.0
# Largest difference of any pixel, and of any sample. Frames of a still in H.264 differ by 0 to 3 levels, of drawn
# people, a few tenths of a second apart, by 11 or more.
SAME_LEVELS = 6
SAME_SAMPLES = 1e-4
# Who listens through a noise gate is silent most of the time: of 128 rows 32 with a voice make good ranges.
ENOUGH = 0.25


@dataclass(frozen=True)
class _Kind:
    """How to say of a row of some modality that it is empty, and how near a repeated one is."""

    rows: str
    empty: str
    near: float


_SOUND = _Kind("recorded inputs", f"silent (below {SILENT_DBFS:.0f} dBFS)".replace("-", "−"), SAME_SAMPLES)
_PICTURE = _Kind("pictures", "of one colour", SAME_LEVELS)
_CLIP = _Kind("clips", "of one colour", SAME_LEVELS)


def check_informative(contract: Contract, feeds: Mapping[str, Mapping[str, Array]]) -> None:
    """UsageError where less than a quarter of an encoder's recorded rows are worth something; it tells of all stages.

    `feeds`: stage → input → rows, in order of time. A row is worth nothing if it is silence or of one colour, or shows
    what the last one before it that was worth something shows. Encoders of pictures and sound alone are looked at.
    """
    problems = list(_problems(contract, feeds))
    if problems:
        raise UsageError(
            "\n".join(["the calibration media say too little:", *(f"  {problem}" for problem in problems)]),
            expected=f"a person seen and heard in at least {ENOUGH:.0%} of what is recorded: ranges of the rest hold "
            "for nothing else",
            fix="name recordings like those that the model will see",
        )


def _problems(contract: Contract, feeds: Mapping[str, Mapping[str, Array]]) -> Iterator[str]:
    for stage, modality in contract.encoder_stages.items():
        if stage not in feeds or isinstance(modality, TextModality):
            continue  # a sentence is asked for only where there are words, and says something each time
        rows = feeds[stage][modality.input.name]
        kind = _SOUND if rows.ndim == 2 else _PICTURE if rows.ndim == 4 else _CLIP
        empty, repeated = _worthless(rows, kind)
        if len(rows) - empty - repeated >= ENOUGH * len(rows):
            continue
        counted = [
            f"{count} of {len(rows)} {kind.rows} {what}"
            for count, what in ((empty, f"are {kind.empty}"), (repeated, "show the same as one before"))
            if count
        ]
        yield f"{stage}: {'; '.join(counted)}"


def _worthless(rows: Array, kind: _Kind) -> tuple[int, int]:
    """How many rows are empty, and how many repeat the last one that was worth something."""
    empty = repeated = 0
    last: Array | None = None
    for row in rows:
        if _is_silent(row) if kind is _SOUND else _is_flat(row):
            empty += 1
        elif last is not None and _difference(row, last) <= kind.near:
            repeated += 1
        else:
            last = row
    return empty, repeated


def _is_silent(span: Array) -> bool:
    return bool(np.std(span.astype(np.float64)) < 10 ** (SILENT_DBFS / 20))


def _is_flat(pictures: Array) -> bool:
    """Of a picture (height, width, 3), or of a clip of them: none has anything in it."""
    return bool(pictures.astype(np.float32).std(axis=(-3, -2)).max() < FLAT_LEVELS)


def _difference(row: Array, other: Array) -> float:
    signed = np.int16 if row.dtype == np.uint8 else np.float32
    return float(np.abs(row.astype(signed) - other.astype(signed)).max())
