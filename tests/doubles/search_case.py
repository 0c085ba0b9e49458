"""All that a search over the bundle damaged on purpose needs, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from doubles.array_judge import ArrayJudge
from doubles.outlier_bundle import OUTLIER, frames_with_flashes, make_outlier_bundle

from affectrt.bundle import Bundle, open_bundle
from affectrt.calibration.guard import Guard
from affectrt.calibration.placement import Int8Target
from affectrt.calibration.search import Found, search
from affectrt.calibration.stage import StageSource, prepare_stage
from affectrt.runtime.engines import Engine, open_engines
from affectrt.runtime.engines.onnxruntime_engine import OnnxRuntimeEngine

__all__ = ["LAYERS", "PLAYS", "Case", "Told", "opened_case"]

# the convolutions; the last product gives the features, which TensorRT's rules leave alone
LAYERS = 4
# everything INT8, each layer alone, and everything but the one that is kept
PLAYS = 1 + LAYERS + 1


@dataclass
class Case:
    """A bundle with its engines, recorded inputs and videos. `opened` lists the graphs of which engines were made."""

    bundle: Bundle
    engines: Mapping[str, Engine]
    feeds: dict[str, dict[str, np.ndarray]]
    source: StageSource
    videos: list[np.ndarray]
    opened: list[bytes] = field(default_factory=list)

    def judge(self, before_play: Callable[[int], None] = lambda number: None) -> ArrayJudge:
        return ArrayJudge(self.videos, self.engines, before_play=before_play)

    def open_graph(self, target: Int8Target, graph: bytes) -> Engine:
        self.opened.append(graph)
        return OnnxRuntimeEngine(graph, threads=1, provenance={}, integer_kernels=target == "cpu")

    def search(
        self,
        judge: ArrayJudge,
        *,
        target: Int8Target = "tensorrt",
        guard: Guard | None = None,
        record: Path | None = None,
        **options: object,
    ) -> Found:
        return search(
            {"video": self.source},
            judge,
            judge.reference,
            guard or Guard(),
            engines=self.engines,
            open_graph=lambda _, graph: self.open_graph(target, graph),
            feeds=self.feeds,
            target=target,
            record=record,
            **options,  # type: ignore[arg-type]
        )


@contextmanager
def opened_case(path: Path, outlier: float = OUTLIER) -> Iterator[Case]:
    """Of the bundle at `path`, which is made if need be."""
    bundle = open_bundle(path) if path.exists() else make_outlier_bundle(path, outlier=outlier)
    feeds = {"video": {"frames": np.concatenate([frames_with_flashes(20, seed) for seed in (101, 102)])}}
    source = prepare_stage(bundle, "video", feeds["video"], method="minmax", seed=0)
    assert source is not None
    with ExitStack() as stack:
        engines = open_engines(bundle, "fp32", stack, threads=1)
        yield Case(bundle, engines, feeds, source, [frames_with_flashes(20, seed) for seed in range(6)])


class Told:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.pieces: dict[str, tuple[int, int]] = {}

    def say(self, line: str) -> None:
        self.lines.append(line)

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        self.pieces[what] = (0, total)

        def done() -> None:
            self.pieces[what] = (self.pieces[what][0] + 1, total)

        yield done
