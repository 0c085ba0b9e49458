"""Real inputs of every stage: what a session asks it to compute when media is played through it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import MediaError
from affectrt.runtime import Request, Scheduler
from affectrt.runtime.engines.base import Array, Engine
from affectrt.runtime.replay import replay
from affectrt.runtime.sampling import RowSample, rows_within
from affectrt.runtime.sources import Source, open_source
from affectrt.runtime.words.choosing import choose_transcriber
from affectrt.runtime.words.pieces import Pieces, padded
from affectrt.runtime.words.spoken import with_words

from .tapped import Tapped

__all__ = ["OpenMedia", "open_with_words", "record_fusion_windows", "record_windows", "source_windows", "stacked"]

Windows = dict[str, dict[str, Array]]
OpenMedia = Callable[[Contract, Path], Source]
_KINDS = {"video": "picture", "audio": "sound", "text": "words (a transcript beside it, or a recogniser)"}
# A corpus may have hundreds of files, each of which has to be decoded to its end; these many say enough.
MAX_FILES = 16


def open_with_words(contract: Contract, path: Path) -> Source:
    """A file as a run opens it; for a model of words with those of the transcript beside it, else recognised ones."""
    transcriber = choose_transcriber("auto", contract, str(path))
    if transcriber is None:
        return open_source(str(path), contract)
    return with_words(open_source(str(path), contract, words_rate_hz=transcriber.sample_rate_hz), transcriber)


def record_windows(
    contract: Contract,
    media: Sequence[Path],
    *,
    per_stage: int,
    seed: int,
    pieces: Pieces | None = None,
    opened: OpenMedia = open_with_words,
    progress: Callable[[str], None] | None = None,
    read: Callable[[Path, float], None] = lambda path, seconds: None,
) -> Windows:
    """Encoder stage → input → rows, at most `per_stage` and 128 MiB in all, the same number from each file.

    Of more than `MAX_FILES` files, so many are read, evenly spread. Within a file the rows are a uniform sample over
    all its steps, of text over all its sentences, cut into `pieces`; the same files and seed give the same rows. `read`
    is told of each file that was read how many seconds of it. Raises MediaError when some stage was never asked for,
    because no file has its modality.
    """
    tell = progress or (lambda _: None)
    media = _spread(media, min(MAX_FILES, per_stage))
    totals = {stage: rows_within(contract, stage, per_stage) for stage in contract.encoder_stages}
    for stage, total in totals.items():
        if total < per_stage:
            tell(f"{stage}: {total} inputs instead of {per_stage}, which is as many as fit into 128 MiB")
    windows: dict[str, list[Mapping[str, Array]]] = {stage: [] for stage in totals}
    for index, path in enumerate(media):
        share = {stage: _share(total, index, len(media)) for stage, total in totals.items()}
        with opened(contract, path) as source:
            found = source_windows(contract, source, rows=share, seed=(seed, index), pieces=pieces)
            read(path, max(source.outcome.decoded_s.values(), default=0.0))
        for stage, rows in found.items():
            windows[stage] += rows
        tell(f"{path.name}: {', '.join(f'{len(rows)} {stage}' for stage, rows in found.items())}")
    missing = [stage for stage, rows in windows.items() if not rows]
    if missing:
        raise MediaError(
            f"no input for stage {', '.join(missing)} in {len(media)} file{'s' if len(media) > 1 else ''}",
            expected=f"media with {', '.join(_KINDS[name] for name in contract.modalities)}, as the model takes them",
            fix="name other media",
        )
    return {stage: stacked(contract, stage, rows) for stage, rows in windows.items()}


def record_fusion_windows(
    contract: Contract,
    media: Sequence[Path],
    engines: Mapping[str, Engine],
    *,
    per_stage: int,
    seed: int,
    pieces: Pieces | None = None,
    opened: OpenMedia = open_with_words,
) -> Windows:
    """Fusion stage → input → rows, from as few files as show `per_stage` windows: here the encoders have to run."""
    rng = np.random.default_rng(seed)
    stages = [stage for stage in contract.stages if stage not in contract.encoder_stages]
    samples = {stage: RowSample(rows_within(contract, stage, per_stage), rng) for stage in stages}
    tapped = {stage: Tapped(engines[stage], stage, sample) for stage, sample in samples.items()}
    scheduler = Scheduler(contract, {**engines, **tapped})
    for path in media:
        with opened(contract, path) as source:
            replay(contract, source, scheduler.infer, pieces=pieces)
        if all(engine.rows >= per_stage for engine in tapped.values()):
            break
    rows = {stage: sample.rows() for stage, sample in samples.items()}
    return {stage: stacked(contract, stage, of) for stage, of in rows.items()}


def stacked(contract: Contract, stage: str, rows: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Input → all rows; sentences as long as the stage's longest, which changes no vector of their words."""
    if lengths := contract.lengths(stage):
        rows = [padded(row, lengths[-1]) for row in rows]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _share(total: int, index: int, count: int) -> int:
    """How many of `total` rows the file number `index` of `count` gives."""
    return math.ceil(total * (index + 1) / count) - math.ceil(total * index / count)


def _spread(media: Sequence[Path], count: int) -> Sequence[Path]:
    if len(media) <= count:
        return media
    return [media[index * len(media) // count] for index in range(count)]


def source_windows(
    contract: Contract,
    source: Source,
    *,
    rows: Mapping[str, int],
    seed: tuple[int, ...],
    pieces: Pieces | None = None,
) -> dict[str, list[Mapping[str, Array]]]:
    """At most so many `rows` of each encoder stage of one entered source, in order of time.

    No engine runs: what an encoder is asked does not depend on any answer, so every answer is zeros.
    """
    rng = np.random.default_rng(seed)
    samples = {stage: RowSample(count, rng) for stage, count in rows.items()}

    def answer(requests: Sequence[Request]) -> list[Array]:
        for request in requests:
            if request.stage in samples:
                samples[request.stage].offer(request)
        return [np.zeros(contract.stage_output(r.stage).shape, np.float32) for r in requests]

    # Where windows leave steps out, a hop of one step shows every span that the encoder may ever be asked for.
    hop = 1 if contract.fusion.stride_steps > 1 else None
    replay(contract, source, answer, pieces=pieces, hop_steps=hop)
    return {stage: sample.rows() for stage, sample in samples.items()}
