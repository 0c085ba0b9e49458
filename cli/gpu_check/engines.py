"""A bundle's graphs on a GPU's backends: built, held against ONNX Runtime's CPU kernels, timed in every way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from affectrt.benchmarks.stages import batches_of, lengths_of, stage_feeds
from affectrt.bundle import Asked, Bundle, Precision, open_bundle
from affectrt.runtime.engines.base import Array, Engine
from affectrt.runtime.engines.onnxruntime_engine import OnnxRuntimeEngine

from .figures import Build, Clock, Latency, Parity, Timed
from .latency import latency_of, time_calls
from .steps import Absent, Collector, Settings

if TYPE_CHECKING:
    from affectrt.runtime.engines.engine_record import EngineRecord
    from affectrt.runtime.engines.tensorrt_engine import TensorrtEngine

__all__ = ["TOLERANCES", "check_onnxruntime_cuda", "check_tensorrt", "measure_parity"]

# Largest difference over the largest output. FP32 adds in another order; FP16 rounds to 11 bits in every layer; in INT8
# a value that lies between two steps may fall on either side in each layer, which then moves what follows by a step.
TOLERANCES: Mapping[Precision, float] = {"fp32": 1e-3, "fp16": 3e-2, "int8": 1e-1, "int8-fp16": 1e-1}
MEMORIES: tuple[Literal["copied", "mapped"], ...] = ("copied", "mapped")
REBUILD = "make gpu-check"


def check_tensorrt(found: Collector, settings: Settings, *, bundle: str, precision: str) -> None:
    """Build every stage, then each engine with and without CUDA graphs, in copied and in mapped memory."""
    from affectrt.export.engines import build_bundle
    from affectrt.runtime.engines.engine_cache import EngineCache
    from affectrt.runtime.engines.engine_record import BuildOptions
    from affectrt.runtime.engines.nvidia import import_tensorrt

    tensorrt = import_tensorrt()
    opened = open_bundle(bundle)
    cache = EngineCache(Path(settings.work) / "engines")
    records = build_bundle(
        opened,
        cast("Asked", precision),
        batches={stage: _batches(opened, stage) for stage in opened.contract.stages},
        options=BuildOptions(),
        cache=cache,
        strict=False,
    )
    backend = f"tensorrt {tensorrt.__version__}"
    for record in records:
        found.add(_build(opened, record))
        plan = cache.read(record, rebuild=REBUILD)
        _each_alone(found, record.stage, partial(_check_engine, found, settings, opened, record, plan, backend))


def check_onnxruntime_cuda(found: Collector, settings: Settings, *, bundle: str, precision: str) -> None:
    """The CUDA provider through the same engine: parity, and the caller's time."""
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise Absent(f"ONNX Runtime {onnxruntime.__version__} has no CUDA provider")
    from affectrt.runtime.engines import open_engine

    opened = open_bundle(bundle)
    asked = cast("Asked", precision)
    backend = f"onnxruntime-cuda {onnxruntime.__version__}"

    def check(stage: str) -> None:
        with ExitStack() as stack:
            engine = stack.enter_context(open_engine(opened, stage, asked, "onnxruntime-cuda"))
            ran = cast("Precision", engine.provenance["precision"])
            names = (opened.manifest.name, stage, precision, ran, backend, "session")
            graph = next(g for g in opened.manifest.graphs if g.sha256 == engine.provenance["graph_sha256"])
            reference = stack.enter_context(_reference(opened.read(graph)))
            lengths = lengths_of(opened.contract, stage)
            for length in lengths:
                feeds = stage_feeds(opened, stage, settings.parity_rows, length=length)
                found.add(measure_parity(names, engine, reference, feeds, length))
            for batch, length in product(_batches(opened, stage), lengths):
                rows = stage_feeds(opened, stage, batch, length=length)
                latency = time_calls(partial(engine.infer, rows), settings)
                found.add(_timed(names, batch, length, "wall clock", True, latency))

    for stage in opened.contract.stages:
        _each_alone(found, stage, partial(check, stage))


def _batches(bundle: Bundle, stage: str) -> list[int]:
    """As a run would make them; sentences, of which every length is measured, come one at a time."""
    return [1] if bundle.contract.lengths(stage) else batches_of(bundle.contract, stage)


Names = tuple[str, str, str, Precision, str, str]  # bundle, stage, asked, precision, backend, variant


def measure_parity(
    names: Names, engine: Engine, reference: Engine, feeds: Mapping[str, Array], length: int | None = None
) -> Parity:
    """Largest difference of all outputs, absolute and over the reference's scale, against the precision's tolerance.

    A value that is not finite is a difference of all of the scale and more.
    """
    wanted, got = reference.infer(feeds), engine.infer(feeds)
    largest, scale, limit = 0.0, 0.0, float(np.finfo(np.float64).max)
    for name, values in wanted.items():
        difference = np.abs(np.asarray(got[name], np.float64) - np.asarray(values, np.float64))
        difference[~np.isfinite(difference)] = limit
        largest = max(largest, float(difference.max()))
        scale = max(scale, float(np.abs(np.asarray(values, np.float64)).max()))
    bundle, stage, asked, precision, backend, variant = names
    relative = min(largest / max(scale, 1e-6), limit)
    return Parity(
        bundle=bundle,
        stage=stage,
        asked=asked,
        precision=precision,
        backend=backend,
        variant=variant,
        length=length,
        rows=len(next(iter(feeds.values()))),
        max_abs=largest,
        relative=relative,
        tolerance=TOLERANCES[precision],
        passed=relative <= TOLERANCES[precision],
    )


def _check_engine(
    found: Collector, settings: Settings, bundle: Bundle, record: EngineRecord, plan: bytes, backend: str
) -> None:
    from affectrt.runtime.engines.tensorrt_engine import TensorrtEngine

    graph = next(g for g in bundle.manifest.graphs if g.sha256 == record.built_graph_sha256)
    with _reference(bundle.read(graph)) as reference:
        for memory in MEMORIES:
            for captured in (True, False):
                provenance = {"stage": record.stage, "precision": record.precision}
                with TensorrtEngine(
                    plan,
                    batches=record.key.batches,
                    lengths=record.key.lengths,
                    provenance=provenance,
                    memory=memory,
                    cuda_graph=captured,
                ) as engine:
                    told = engine.provenance["cuda_graph"]
                    if captured and told != "captured":
                        found.problems.append(f"{record.stage}: capture {told}")
                    variant = f"{memory}, {'captured' if told == 'captured' else 'not captured'}"
                    names = (bundle.manifest.name, record.stage, record.asked, record.precision, backend, variant)
                    lengths = record.key.lengths or (None,)
                    for length in lengths:
                        feeds = stage_feeds(bundle, record.stage, settings.parity_rows, length=length)
                        found.add(measure_parity(names, engine, reference, feeds, length))
                    sizes = product(record.key.batches, lengths)
                    for timed in _times(names, engine, bundle, sizes, settings, memory == "copied"):
                        found.add(timed)


def _times(
    names: Names,
    engine: TensorrtEngine,
    bundle: Bundle,
    sizes: Iterable[tuple[int, int | None]],
    settings: Settings,
    copied: bool,
) -> Iterator[Timed]:
    """The caller's time of whole calls; the device's time with the copies, where there are any, and without."""
    for batch, length in sizes:
        feeds = stage_feeds(bundle, names[1], batch, length=length)
        latency = time_calls(partial(engine.infer, feeds), settings)
        yield _timed(names, batch, length, "wall clock", True, latency)
        # So many that it takes as long again.
        count = max(settings.calls, int(1000 * settings.seconds / max(latency.p50_ms, 1e-3)))
        for transfers in (True, False) if copied else (False,):
            seconds = engine.time_runs(batch, count, length=length, transfers=transfers)
            yield _timed(names, batch, length, "cuda events", transfers, latency_of(seconds, settings.warmups))


def _timed(names: Names, batch: int, length: int | None, clock: Clock, transfers: bool, latency: Latency) -> Timed:
    bundle, stage, asked, precision, backend, variant = names
    return Timed(
        bundle=bundle,
        stage=stage,
        asked=asked,
        precision=precision,
        backend=backend,
        variant=variant,
        batch=batch,
        length=length,
        clock=clock,
        transfers=transfers,
        latency=latency,
    )


def _build(bundle: Bundle, record: EngineRecord) -> Build:
    return Build(
        bundle=bundle.manifest.name,
        stage=record.stage,
        asked=record.asked,
        precision=record.precision,
        batches=record.key.batches,
        lengths=record.key.lengths,
        build_s=record.build_s,
        size_bytes=record.size_bytes,
        layers=dict(record.layers),
        fallbacks=record.fallbacks,
    )


def _reference(graph: bytes) -> OnnxRuntimeEngine:
    """Computed in floats as it is written: the CPU's integer kernels may saturate, which no GPU does."""
    return OnnxRuntimeEngine(graph, threads=None, provenance={}, integer_kernels=False)


def _each_alone(found: Collector, what: str, work: Callable[[], None]) -> None:
    """A stage that fails is a problem, and the next one is tried."""
    try:
        work()
    except Exception as error:
        found.problems.append(f"{what}: {type(error).__name__}: {' '.join(str(error).split())}")
