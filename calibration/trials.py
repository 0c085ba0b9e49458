"""Measures candidates, each once in all the runs of a search: what its features are worth, and its estimates."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import numpy.typing as npt

from affectrt.runtime.engines.base import Engine

from .judging import Comparison, Judge, Played
from .record import SearchRecord
from .remembered import Remembered
from .stage import StageSource

__all__ = ["Feeds", "OpenGraph", "Trials", "lost_estimates", "search_key"]

Feeds = Mapping[str, npt.NDArray[np.generic]]
OpenGraph = Callable[[str, bytes], Engine]
ROWS = 8  # of recorded inputs, a call


@dataclass(frozen=True)
class _Held:
    graph: bytes
    engine: Engine
    remembered: Remembered


class Trials:
    """Use in a `with` block. It holds one candidate's engine per stage, so that a stage that did not change is not
    computed again; `engines`, of FP32, stay the caller's to close.
    """

    def __init__(
        self,
        judge: Judge,
        reference: Played,
        itself: Mapping[str, Comparison],
        engines: Mapping[str, Engine],
        open_graph: OpenGraph,
        feeds: Mapping[str, Feeds],
        remembered: SearchRecord,
    ) -> None:
        self._judge, self._reference, self._itself = judge, reference, itself
        self._fp32, self._open_graph, self._feeds, self._remembered = engines, open_graph, feeds, remembered
        self._held: dict[str, _Held] = {}
        self._wanted: dict[str, npt.NDArray[np.float64]] = {}

    def score(self, graphs: Mapping[str, bytes]) -> tuple[int, Mapping[str, Comparison]]:
        """How many estimates were lost, and the comparisons if none was; stages without a graph run FP32."""
        if not graphs:
            return 0, self._itself
        of = _digest("".join(f"{stage} {_digest(graphs[stage])}\n" for stage in sorted(graphs)).encode())
        found = self._remembered.score(of)
        if found is None:
            opened = {stage: self._hold(stage, graph).remembered for stage, graph in graphs.items()}
            played = self._judge.play({**self._fp32, **opened})
            lost = lost_estimates(self._reference, played)
            found = (lost, {} if lost else self._judge.compare(self._reference, played))
            self._remembered.put_score(of, *found)
        return found

    def error(self, stage: str, graph: bytes) -> float:
        """Relative L2 error of the stage's output on its recorded inputs; infinite where the output is not finite."""
        of = _digest(graph)
        error = self._remembered.error(of)
        if error is None:
            if stage not in self._wanted:
                self._wanted[stage] = _run(self._fp32[stage], self._feeds[stage])
            wanted = self._wanted[stage]
            # Not the remembering engine: its answers would then depend on whether this was measured before the videos
            # were played or in an earlier run, by the last bits that a batch's company decides.
            given = _run(self._hold(stage, graph).engine, self._feeds[stage])
            error = float(np.linalg.norm(given - wanted) / max(np.linalg.norm(wanted), 1e-12))
            error = error if math.isfinite(error) else math.inf
            self._remembered.put_error(of, error)
        return error

    def _hold(self, stage: str, graph: bytes) -> _Held:
        held = self._held.get(stage)
        if held is None or held.graph != graph:
            if held is not None:
                self._held.pop(stage).remembered.close()
            engine = self._open_graph(stage, graph)
            held = self._held[stage] = _Held(graph, engine, Remembered(engine))
        return held

    def __enter__(self) -> Trials:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._held:
            self._held.popitem()[1].remembered.close()


def search_key(
    sources: Mapping[str, StageSource],
    judge: Judge,
    reference: Played,
    itself: Mapping[str, Comparison],
    engines: Mapping[str, Engine],
    feeds: Mapping[str, Feeds],
) -> str:
    """The hash of everything besides a candidate's graphs that decides what is measured of it.

    The judge's media are in `reference`, its truth in `itself`; ONNX Runtime's version and the hashes of the bundle's
    graphs are in the provenance of the engines. The guard is not in it: it judges measurements and decides none.
    """
    known = {
        "sources": {stage: [_digest(of.fp32), _digest(of.ranges.as_json())] for stage, of in sources.items()},
        "engines": {stage: dict(engine.provenance) for stage, engine in engines.items()},
        "feeds": {
            stage: {name: [str(rows.dtype), rows.shape, _digest(rows.tobytes())] for name, rows in of.items()}
            for stage, of in feeds.items()
        },
        "judge": [judge.kind, judge.corpus, judge.videos, judge.outputs],
        "reference": [[rows.shape, _digest(rows.tobytes())] for rows in reference],
        "itself": {name: of.model_dump() for name, of in itself.items()},
        "machine": platform.machine(),
    }
    return _digest(json.dumps(known, sort_keys=True).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def lost_estimates(reference: Played, candidate: Played) -> int:
    """Estimates that FP32 gives and the candidate does not: left out of a CCC, they would count for nothing."""
    return sum(
        int((np.isfinite(rows) & ~np.isfinite(found)).sum()) if rows.shape == found.shape else rows.size
        for rows, found in zip(reference, candidate, strict=True)
    )


def _run(engine: Engine, feeds: Feeds) -> npt.NDArray[np.float64]:
    """The output of an engine for all rows, a few at a time."""
    rows = len(next(iter(feeds.values())))
    (output,) = engine.outputs
    batches = ({name: array[start : start + ROWS] for name, array in feeds.items()} for start in range(0, rows, ROWS))
    return np.concatenate([np.asarray(engine.infer(batch)[output], np.float64) for batch in batches])
