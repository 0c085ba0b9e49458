"""Owns the engines and computes the requests of many tracks, streams and files in batches."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from time import perf_counter

import numpy as np

from affectrt.bundle.contract import Contract

from .engines.base import Array, Engine
from .session import Request

__all__ = ["Scheduler", "batch_rows", "full_batches", "stacked"]

# Inputs beyond this gain nothing from company: clips of 16 × 224 × 224 pixels (2.4 MB) through 28 GMAC of convolutions
# took 0.40 s each alone and 0.42 s in eights, on two cores, and each row more of a batch cost 100 MB of memory.
_BATCH_BYTES = 4 << 20


class Scheduler:
    """Batches requests by stage and length, at most `max_batch` rows a call, fewer of large inputs. Not thread-safe.

    The engines stay the caller's to close.

    `seconds`, `calls` and `rows` count per stage what was spent, batches stacked included.
    """

    def __init__(self, contract: Contract, engines: Mapping[str, Engine], max_batch: int = 8) -> None:
        if max_batch < 1:
            raise ValueError(f"max_batch is {max_batch}, it must be at least 1")
        self._outputs = {stage: contract.stage_output(stage).name for stage in contract.stages}
        self._engines = engines
        self.max_batch = max_batch
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self.rows: dict[str, int] = defaultdict(int)

    def infer(self, requests: Sequence[Request]) -> list[Array]:
        """One result per request, in order, without batch axis."""
        results: list[Array | None] = [None] * len(requests)
        groups: dict[tuple[str, tuple[int, ...]], list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            # Sentences of different lengths are no rows of one batch.
            groups[request.stage, next(iter(request.feeds.values())).shape].append(index)
        for (stage, _), indices in groups.items():
            size = batch_rows(requests[indices[0]].nbytes, self.max_batch)
            for start in range(0, len(indices), size):
                chunk = indices[start : start + size]
                for index, row in zip(chunk, self._run(stage, [requests[i] for i in chunk]), strict=True):
                    results[index] = row
        return [result for result in results if result is not None]

    def _run(self, stage: str, requests: Sequence[Request]) -> Array:
        begin = perf_counter()
        feeds = stacked(requests)
        rows = self._engines[stage].infer(feeds)[self._outputs[stage]]
        self.seconds[stage] += perf_counter() - begin
        self.calls[stage] += 1
        self.rows[stage] += len(requests)
        return rows


def batch_rows(row_bytes: int, max_batch: int) -> int:
    """How many rows of so large inputs make a call: `max_batch`, or fewer of large ones."""
    return max(1, min(max_batch, _BATCH_BYTES // max(1, row_bytes)))


def stacked(requests: Sequence[Request]) -> dict[str, Array]:
    """The feeds of one call, with a leading batch axis; of a single request they are not copied."""
    first = requests[0].feeds
    if len(requests) == 1:
        return {name: feed[None] for name, feed in first.items()}
    return {name: np.stack([r.feeds[name] for r in requests]) for name in first}


def full_batches(pending: Sequence[Request], contract: Contract, max_batch: int) -> list[Request]:
    """The requests worth computing now, oldest first: encoders of spans, which come at every step, wait for a full
    batch; sentences, which come seldom, and the fusion never do.
    """
    encoders = {stage for stage in contract.encoder_stages if not contract.lengths(stage)}
    waiting = Counter(request.stage for request in pending)
    room: dict[str, int] = {}
    due = []
    for request in pending:
        stage = request.stage
        if stage in encoders:
            if stage not in room:
                size = batch_rows(request.nbytes, max_batch)
                room[stage] = waiting[stage] // size * size
            room[stage] -= 1
            if room[stage] < 0:
                continue
        due.append(request)
    return due
