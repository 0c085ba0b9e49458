"""A bundle's graphs made into engines: what is there already is kept, what cannot be built falls back, and says so.

A stage that asks for int8 or int8-fp16 falls back to the bundle's fp16 graph and then to its fp32 graph, one that asks
for fp16 to fp32; each step is told, and stands in the engine's record with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from affectrt.bundle.errors import AffectError, EngineError, ParityError
from affectrt.bundle.manifest import Asked, Graph, Precision
from affectrt.bundle.strict_json import plain_text
from affectrt.runtime.engines.engine_cache import EngineCache
from affectrt.runtime.engines.engine_record import BuildOptions, EngineKey, EngineRecord
from affectrt.runtime.engines.gpu import Gpu, find_gpu
from affectrt.runtime.engines.nvidia import import_polygraphy, import_tensorrt

from .build_lock import build_lock
from .builder import Built, build_engine
from .progress import BuildProgress, Silence
from .timing_cache import timing_cache_path

if TYPE_CHECKING:
    from affectrt.bundle.store import Bundle

__all__ = ["FALLBACKS", "build_bundle"]

FALLBACKS: dict[Precision, tuple[Precision, ...]] = {
    "int8-fp16": ("fp16", "fp32"),
    "int8": ("fp16", "fp32"),
    "fp16": ("fp32",),
    "fp32": (),
}
MAX_REASON_CHARS = 1000


def build_bundle(
    bundle: Bundle,
    precision: Asked,
    *,
    batches: Mapping[str, Sequence[int]],
    options: BuildOptions | None = None,
    cache: EngineCache | None = None,
    strict: bool = False,
    force: bool = False,
    timing_cache: Path | None = None,
    progress: BuildProgress | None = None,
) -> list[EngineRecord]:
    """One engine per stage, in data order, for this machine; those that are there and match are not built again.

    `batches` gives the batch sizes of each stage. With `strict` a graph that cannot be built is an error at once; with
    `force` all are built anew. `timing_cache` None: the cache's own, one per device and TensorRT.

    Raises MissingDependency without TensorRT, EngineError without a GPU or where even fp32 cannot be built, and what
    `build_engine` raises. What was finished before stays.
    """
    trt = import_tensorrt()
    import_polygraphy()
    gpu = find_gpu()
    cache = cache or EngineCache()
    maker = _Maker(
        bundle,
        str(trt.__version__),
        gpu,
        options or BuildOptions(),
        cache,
        strict,
        timing_cache or timing_cache_path(cache.root, str(trt.__version__), gpu),
        progress or Silence(),
    )
    records = []
    for stage in bundle.contract.stages:
        graph = bundle.graph_for(stage, precision, "tensorrt")
        with build_lock(cache.root, f"{stage} {graph.precision} of {bundle.path}", maker.progress.say):
            # Looked up under the lock: whoever held it may have built just this.
            found = None if force else maker.found(graph, batches[stage])
            records.append(found or maker.made(graph, batches[stage]))
    return records


@dataclass(frozen=True)
class _Maker:
    bundle: Bundle
    tensorrt: str
    gpu: Gpu
    options: BuildOptions
    cache: EngineCache
    strict: bool
    timing_cache: Path
    progress: BuildProgress

    def found(self, graph: Graph, batches: Sequence[int]) -> EngineRecord | None:
        """The engine that is there, whole and fit, for an asked graph."""
        name = f"{graph.stage} {graph.precision}"
        try:
            record = self.cache.find(
                graph.sha256,
                tensorrt=self.tensorrt,
                gpu=self.gpu,
                batches=batches,
                lengths=self.bundle.contract.lengths(graph.stage),
                options=self.options,
                rebuild="affectrt build",
            )
            self.cache.read(record, rebuild="affectrt build")
        except EngineError as error:
            if not error.found.startswith("no engine was built"):
                self.progress.say(f"{name} is built again: {error.found}")
            return None
        if self.strict and record.precision != record.asked:
            self.progress.say(f"{name} is built again: the engine that is there fell back to {record.precision}")
            return None
        self.progress.say(f"{name} is built already: {self.cache.place(record.key)}")
        return record

    def made(self, asked: Graph, batches: Sequence[int]) -> EngineRecord:
        """Build the asked graph, or what it falls back to, and keep the engine with its record."""
        fallbacks: list[str] = []
        for graph in self._candidates(asked):
            try:
                built = self._built(graph, batches)
            except (EngineError, ParityError) as error:
                fallbacks.append(f"{graph.precision} was not built: {_in_one_line(error.found)}")
                if self.strict or graph.precision == "fp32":
                    raise _told_whole(error, asked, fallbacks, strict=self.strict) from error
                self.progress.say(f"{asked.stage} falls back: {fallbacks[-1]}")
                continue
            return self._kept(asked, graph, batches, built, fallbacks)
        raise AssertionError("every bundle has an fp32 graph of every stage")

    def _candidates(self, asked: Graph) -> list[Graph]:
        others = (self.bundle.graph_in(asked.stage, lower, "tensorrt") for lower in FALLBACKS[asked.precision])
        return [asked, *(graph for graph in others if graph is not None)]

    def _built(self, graph: Graph, batches: Sequence[int]) -> Built:
        return build_engine(
            self.bundle.read(graph),
            name=f"{graph.stage} {graph.precision}",
            batches=batches,
            lengths=self.bundle.contract.lengths(graph.stage),
            options=self.options,
            expected=graph.precision,
            timing_cache=self.timing_cache,
            progress=self.progress,
            gpu=self.gpu,
        )

    def _kept(
        self, asked: Graph, graph: Graph, batches: Sequence[int], built: Built, fallbacks: list[str]
    ) -> EngineRecord:
        record = EngineRecord(
            key=EngineKey(
                graph_sha256=asked.sha256,
                tensorrt=self.tensorrt,
                gpu=self.gpu.name,
                compute_capability=self.gpu.compute_capability,
                driver=self.gpu.driver,
                l4t=self.gpu.l4t,
                batches=tuple(sorted(set(batches))),
                lengths=self.bundle.contract.lengths(asked.stage),
                options=self.options,
            ),
            engine_sha256=hashlib.sha256(built.plan).hexdigest(),
            size_bytes=len(built.plan),
            stage=asked.stage,
            asked=asked.precision,
            precision=graph.precision,
            built_graph_sha256=graph.sha256,
            layers=built.layers,
            build_s=round(built.build_s, 3),
            built_at=datetime.now(timezone.utc).isoformat(timespec="microseconds"),
            fallbacks=tuple(fallbacks),
            notes=tuple(plain_text(note) for note in built.notes),
            versions=_versions(),
        )
        self.cache.store(built.plan, record)
        for note in record.notes:
            self.progress.say(f"{asked.stage} {graph.precision}: {note}")
        return record


def _in_one_line(text: str) -> str:
    """A reason for a record and a screen, from an error that may list much."""
    line = "; ".join(part.strip().removeprefix("- ") for part in text.splitlines()).replace(":;", ":")
    return plain_text(line if len(line) <= MAX_REASON_CHARS else line[:MAX_REASON_CHARS] + "…")


def _told_whole(error: AffectError, asked: Graph, fallbacks: list[str], *, strict: bool) -> AffectError:
    """The error that ends a build, with what was tried before it, or with the way round strictness."""
    if strict and asked.precision != "fp32":
        fix = "without --strict the next lower precision would be built, and the table would say so"
        return type(error)(error.found, expected=error.expected, fix=fix)
    if len(fallbacks) == 1:
        return error
    tried = "".join(f"\n  before that: {reason}" for reason in fallbacks[:-1])
    return type(error)(error.found + tried, expected=error.expected, fix=error.fix)


def _versions() -> dict[str, str]:
    found = {}
    for name in ("affectrt", "polygraphy", "onnx"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
