"""What candidates are measured with: one judge, one set of recorded inputs, one machine, for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from affectrt.bundle.manifest import Precision
from affectrt.runtime.engines.base import Engine
from affectrt.runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from affectrt.runtime.scheduler import batch_rows

from .guard import Guard
from .judging import Comparison, Judge, Played
from .placement import Int8Target
from .progress import Progress, Silence
from .speed import Cost, time_in_turns
from .trials import Feeds, lost_estimates

__all__ = ["Conditions", "Difference", "Quantiser", "ShareOfPeak", "open_candidate"]

BATCH = 8  # as `affectrt run` makes them by default

Quantiser = Literal["affectrt", "modelopt"]

ShareOfPeak = Callable[[str, Precision, float], float]
"""Stage, precision, seconds of a row → share of the machine's matrix peak."""


@dataclass(frozen=True)
class Difference:
    """Of a stage's output from FP32's on the recorded inputs: ‖x − y‖ / ‖y‖, and the largest |x − y|."""

    relative: float
    largest: float


@dataclass(frozen=True)
class Conditions:
    """`engines`: FP32, one per stage of the model, which played `reference`. `feeds`: stage → recorded inputs, of every
    stage that has candidates. `record`: a folder for what a search measures, so that a killed one goes on. `force`:
    take INT8 whatever is measured. `rank`: measure each layer alone even where everything passes at once.
    `quantiser`: who makes INT8 for TensorRT.
    """

    judge: Judge
    guard: Guard
    engines: Mapping[str, Engine]
    reference: Played
    feeds: Mapping[str, Feeds]
    machine: str
    threads: int | None = None
    share_of_peak: ShareOfPeak | None = None
    record: Path | None = None
    force: bool = False
    rank: bool = False
    quantiser: Quantiser = "affectrt"
    progress: Progress = field(default_factory=Silence)

    def judged(self, target: Int8Target, graphs: Mapping[str, bytes]) -> tuple[Mapping[str, Comparison], list[str]]:
        """The judge's word on the model with these graphs and FP32 for the rest, and what the guard says against it."""
        with ExitStack() as stack:
            opened = {
                stage: stack.enter_context(open_candidate(target, graph, self.threads))
                for stage, graph in graphs.items()
            }
            played = self.judge.play({**self.engines, **opened})
        if lost := lost_estimates(self.reference, played):
            return {}, [f"{lost} estimates that FP32 gives are missing or not finite"]
        compared = self.judge.compare(self.reference, played)
        return compared, self.guard.problems(compared)

    def timed(self, stage: str, candidates: Mapping[Precision, bytes]) -> dict[Precision, Cost]:
        """Graphs of a stage for CPUs, in turns on a batch of its recorded inputs."""
        self.progress.say(f"timing {stage} in {', '.join(candidates)}")
        feeds = {name: rows[: self.batch(stage)] for name, rows in self.feeds[stage].items()}
        with ExitStack() as stack:
            engines = {
                precision: stack.enter_context(open_candidate("cpu", graph, self.threads))
                for precision, graph in candidates.items()
            }
            return time_in_turns(engines, feeds)

    def difference(self, stage: str, target: Int8Target, graph: bytes) -> Difference:
        feeds = self.feeds[stage]
        rows, size = len(next(iter(feeds.values()))), self.batch(stage)
        wanted, found = [], []
        with open_candidate(target, graph, self.threads) as engine:
            (output,) = engine.outputs
            for start in range(0, rows, size):
                batch = {name: array[start : start + size] for name, array in feeds.items()}
                wanted.append(np.asarray(self.engines[stage].infer(batch)[output], np.float64))
                found.append(np.asarray(engine.infer(batch)[output], np.float64))
        before, after = np.concatenate(wanted), np.concatenate(found)
        relative = float(np.linalg.norm(after - before) / max(np.linalg.norm(before), 1e-12))
        return Difference(relative, float(np.abs(after - before).max()))

    def batch(self, stage: str) -> int:
        """Rows of a call, as a run would make it."""
        return batch_rows(sum(rows[0].nbytes for rows in self.feeds[stage].values()), BATCH)


def open_candidate(target: Int8Target, graph: bytes, threads: int | None) -> Engine:
    """A graph on ONNX Runtime; one for TensorRT is computed as written, without kernels that saturate."""
    return OnnxRuntimeEngine(graph, threads=threads, provenance={}, integer_kernels=target == "cpu")
