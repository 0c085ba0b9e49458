"""Real inputs of the encoders: what a session asks them to compute when media is played through it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import MediaError
from affectrt.runtime import Request
from affectrt.runtime.engines.base import Array
from affectrt.runtime.replay import replay
from affectrt.runtime.sources import Source, open_source

__all__ = ["record_windows", "source_windows"]

Windows = dict[str, dict[str, Array]]
Kept = list[tuple[float, int, Mapping[str, Array]]]
# A corpus may have hundreds of files, each of which has to be decoded to its end; these many say enough.
MAX_FILES = 16
# Requests are answered once this many wait; it bounds how many crops and spans are alive.
GATHER = 64


def record_windows(
    contract: Contract,
    media: Sequence[Path],
    *,
    per_stage: int,
    seed: int,
    progress: Callable[[str], None] | None = None,
) -> Windows:
    """Encoder stage → input → rows, at most `per_stage` in all, the same number from each file.

    Of more than `MAX_FILES` files, so many are read, evenly spread. Within a file the rows are a uniform sample; the
    same files and seed give the same rows. Raises MediaError when some stage was never asked for, because no file
    has its modality.
    """
    tell = progress or (lambda _: None)
    media = _spread(media, min(MAX_FILES, per_stage))
    windows: dict[str, list[Mapping[str, Array]]] = {stage: [] for stage in contract.encoder_stages}
    for index, path in enumerate(media):
        share = math.ceil(per_stage * (index + 1) / len(media)) - math.ceil(per_stage * index / len(media))
        with open_source(str(path), contract) as source:
            found = source_windows(contract, source, per_stage=share, seed=(seed, index))
        for stage, rows in found.items():
            windows[stage] += rows
        tell(f"{path.name}: {', '.join(f'{len(rows)} {stage}' for stage, rows in found.items())}")
    missing = [stage for stage, rows in windows.items() if not rows]
    if missing:
        raise MediaError(
            f"no input for stage {', '.join(missing)} in {len(media)} file{'s' if len(media) > 1 else ''}",
            expected="media with picture and sound, as the model takes them",
            fix="name other media",
        )
    return {
        stage: {name: np.stack([row[name] for row in rows[:per_stage]]) for name in rows[0]}
        for stage, rows in windows.items()
    }


def _spread(media: Sequence[Path], count: int) -> Sequence[Path]:
    if len(media) <= count:
        return media
    return [media[index * len(media) // count] for index in range(count)]


def source_windows(
    contract: Contract, source: Source, *, per_stage: int, seed: tuple[int, ...]
) -> dict[str, list[Mapping[str, Array]]]:
    """At most `per_stage` rows per encoder stage of one entered source, in order of time.

    No engine runs: what an encoder is asked does not depend on any answer, so every answer is zeros.
    """
    rng = np.random.default_rng(seed)
    kept: dict[str, Kept] = {stage: [] for stage in contract.encoder_stages}

    def answer(requests: Sequence[Request]) -> list[Array]:
        for request in requests:
            if request.stage in kept:
                # The smallest of independent random numbers: a uniform sample without knowing how many there will be.
                kept[request.stage].append((float(rng.random()), request.step, request.feeds))
        for stage, rows in kept.items():
            kept[stage] = sorted(rows, key=lambda row: row[:2])[:per_stage]
        return [np.zeros(contract.stage_output(r.stage).shape, np.float32) for r in requests]

    replay(contract, source, answer, gather=GATHER)
    return {stage: [feeds for _, _, feeds in sorted(rows, key=lambda row: row[1])] for stage, rows in kept.items()}
