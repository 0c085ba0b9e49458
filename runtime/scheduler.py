"""Owns the engines and computes the requests of many tracks, streams and files in batches."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from time import perf_counter

import numpy as np

from affectrt.bundle.contract import Contract

from .engines.base import Array, Engine
from .session import Request

__all__ = ["Scheduler", "full_batches"]


class Scheduler:
    """Batches requests by stage. Not thread-safe; the engines stay the caller's to close.

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
        by_stage: dict[str, list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            by_stage[request.stage].append(index)
        for stage, indices in by_stage.items():
            for start in range(0, len(indices), self.max_batch):
                chunk = indices[start : start + self.max_batch]
                for index, row in zip(chunk, self._run(stage, [requests[i] for i in chunk]), strict=True):
                    results[index] = row
        return [result for result in results if result is not None]

    def _run(self, stage: str, requests: Sequence[Request]) -> Array:
        begin = perf_counter()
        feeds = {name: np.stack([r.feeds[name] for r in requests]) for name in requests[0].feeds}
        rows = self._engines[stage].infer(feeds)[self._outputs[stage]]
        self.seconds[stage] += perf_counter() - begin
        self.calls[stage] += 1
        self.rows[stage] += len(requests)
        return rows


def full_batches(pending: Sequence[Request], contract: Contract, size: int) -> list[Request]:
    """The requests worth computing now, oldest first: encoders wait for a full batch, the fusion never does."""
    waiting = Counter(request.stage for request in pending)
    room = {stage: waiting[stage] // size * size for stage in contract.encoder_stages}
    due = []
    for request in pending:
        if request.stage in room:
            room[request.stage] -= 1
            if room[request.stage] < 0:
                continue
        due.append(request)
    return due
