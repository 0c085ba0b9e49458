"""Both demo bundles on the simulated TensorRT: every graph, then the way from the cache of engines to the estimates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.demo_bundles import demo_bundles, drawn_clip
from doubles.nvidia import faults
from doubles.nvidia.prepare import ROOT
from doubles.static_plans import plan_from_graph, record_of

from affectrt.bundle.errors import BundleError, EngineError
from affectrt.bundle.manifest import Graph, Precision
from affectrt.bundle.store import Bundle
from affectrt.cli.build_engines import batches_of
from affectrt.cli.main import main
from affectrt.export.engines import build_bundle
from affectrt.runtime.engines import EngineCache, choose_backend, open_engine, open_engines
from affectrt.runtime.engines.base import Array
from affectrt.runtime.engines.gpu import find_gpu
from affectrt.runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from affectrt.runtime.engines.tensorrt_engine import TensorrtEngine

BATCHES = (1, 8)
GRAPHS = [
    (system, stage, precision)
    for system in ("rcma", "cav")
    for stage, precisions in {"video": ("fp32", "int8"), "audio": ("fp32", "int8"), "fusion": ("fp32",)}.items()
    for precision in precisions
]
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")


@pytest.fixture(scope="session")
def demos() -> dict[str, Bundle]:
    return dict(demo_bundles(ROOT / "build" / "doubles"))


@pytest.fixture(scope="session")
def cache(demos: dict[str, Bundle], tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    """Engines of both bundles in all their precisions, built by the project's own builder."""
    kept = EngineCache(tmp_path_factory.mktemp("cache") / "engines")
    for bundle in demos.values():
        for precision in PRECISIONS:
            build_bundle(bundle, precision, batches=batches_of(bundle, BATCHES), cache=kept, strict=True)
    return kept


def keep_engines(bundle: Bundle, precision: Precision, cache: EngineCache, **given: Any) -> None:
    for stage in bundle.contract.stages:
        graph = bundle.graph_for(stage, precision, "tensorrt")
        plan = plan_from_graph(bundle.read(graph), BATCHES)
        facts = {"graph_sha256": graph.sha256, "stage": stage, "precision": graph.precision, "batches": BATCHES}
        cache.store(plan, record_of(plan, gpu=find_gpu(), **{**facts, **given}))


def feeds_of(bundle: Bundle, stage: str, rows: int) -> dict[str, Array]:
    rng = np.random.default_rng(7)
    feeds: dict[str, Array] = {}
    for tensor in bundle.contract.stage_inputs(stage):
        shape = (rows, *tensor.shape)
        if tensor.dtype == "uint8":
            feeds[tensor.name] = rng.integers(0, 256, shape, dtype=np.uint8)
        else:
            feeds[tensor.name] = (0.1 * rng.standard_normal(shape)).astype(tensor.dtype)
    return feeds


def graph_of(bundle: Bundle, stage: str, precision: str) -> Graph:
    return next(
        graph
        for target in ("tensorrt", "any")
        for graph in bundle.manifest.graphs
        if (graph.stage, graph.precision, graph.target) == (stage, precision, target)
    )


@pytest.mark.parametrize(("system", "stage", "precision"), GRAPHS, ids=["-".join(words) for words in GRAPHS])
def test_every_graph_of_the_demos_gives_what_onnx_runtime_gives(
    demos: dict[str, Bundle], system: str, stage: str, precision: str
) -> None:
    """Captured with copies, and not captured in mapped memory; small graphs are held to every pair of the two."""
    bundle = demos[system]
    content = bundle.read(graph_of(bundle, stage, precision))
    batches = (1, 2)
    plan = plan_from_graph(content, batches)
    rows = feeds_of(bundle, stage, 3)
    # Two rows fill the larger batch, one the smaller: no padding, so that ONNX Runtime sees the same batches.
    with OnnxRuntimeEngine(content, threads=1, provenance={}, integer_kernels=False) as reference:
        parts = [reference.infer({name: feed[part] for name, feed in rows.items()}) for part in (slice(2), slice(2, 3))]
    wanted = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for integrated, cuda_graph in ((0, True), (1, False)):
        faults.cuda.set_attribute("integrated", integrated)
        with TensorrtEngine(plan, batches=batches, provenance={}, cuda_graph=cuda_graph) as engine:
            assert engine.provenance["memory"] == ("mapped" if integrated else "copied")
            assert engine.provenance["cuda_graph"] == ("captured" if cuda_graph else "off")
            found = engine.infer(rows)
        assert found.keys() == wanted.keys()
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("system", ["rcma", "cav"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_engines_from_the_cache_are_taken_for_all_stages(
    demos: dict[str, Bundle], cache: EngineCache, system: str, precision: Precision
) -> None:
    bundle = demos[system]
    with ExitStack() as stack:
        engines = open_engines(bundle, precision, stack, cache=cache)
        for stage, engine in engines.items():
            facts = engine.provenance
            assert (facts["backend"], facts["precision"]) == ("tensorrt", bundle.plan(precision, "tensorrt")[stage])
            assert "engines built on this machine" in facts["chosen"] and find_gpu().name in facts["chosen"]


def test_one_missing_engine_sends_all_stages_to_onnx_runtime(demos: dict[str, Bundle], tmp_path: Path) -> None:
    bundle, cache = demos["rcma"], EngineCache(tmp_path / "engines")
    keep_engines(bundle, "fp32", cache)
    assert choose_backend(bundle, "fp32", cache=cache).backend == "tensorrt"
    folder = tmp_path / "engines" / bundle.graph_for("fusion", "fp32", "tensorrt").sha256
    for file in folder.iterdir():
        file.unlink()
    choice = choose_backend(bundle, "fp32", cache=cache)
    assert choice.backend == "onnxruntime" and "no engine was built" in choice.why
    with ExitStack() as stack:
        engines = open_engines(bundle, "fp32", stack, cache=cache)
        assert {engine.provenance["backend"] for engine in engines.values()} == {"onnxruntime"}
    with pytest.raises(EngineError) as caught:
        open_engine(bundle, "fusion", "fp32", "tensorrt", cache=cache)
    assert caught.value.fix == f"affectrt build {bundle.path} --precision fp32"


def test_an_engine_of_another_driver_is_not_run(
    demos: dict[str, Bundle], cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from affectrt.runtime.engines import backend_choice

    other = replace(find_gpu(), driver="999.1 (CUDA 14.0)")
    monkeypatch.setattr(backend_choice, "find_gpu", lambda: other)
    with pytest.raises(EngineError, match=r"driver: the engine has .*, needed is 999\.1"):
        open_engine(demos["rcma"], "video", "fp32", "tensorrt", cache=cache)
    assert choose_backend(demos["rcma"], "fp32", cache=cache).backend == "onnxruntime"


def test_a_tampered_engine_never_reaches_tensorrt(demos: dict[str, Bundle], tmp_path: Path) -> None:
    bundle, cache = demos["cav"], EngineCache(tmp_path / "engines")
    keep_engines(bundle, "fp32", cache)
    (plan,) = (tmp_path / "engines" / bundle.graph_for("video", "fp32", "tensorrt").sha256).glob("*.plan")
    content = bytearray(plan.read_bytes())
    content[len(content) // 2] ^= 1
    plan.write_bytes(content)
    faults.reset()
    with pytest.raises(EngineError, match="an engine is refused"):
        open_engine(bundle, "video", "fp32", cache=cache)
    assert not [name for _, name, _, _ in faults.tensorrt.calls if name == "deserialize_cuda_engine"]


def test_an_engine_of_another_graph_than_its_record_says_is_caught_by_its_tensors(
    demos: dict[str, Bundle], tmp_path: Path
) -> None:
    bundle, cache = demos["cav"], EngineCache(tmp_path / "engines")
    audio = bundle.read(bundle.graph_for("audio", "fp32", "tensorrt"))
    plan, graph = plan_from_graph(audio, BATCHES), bundle.graph_for("video", "fp32", "tensorrt")
    facts = {"graph_sha256": graph.sha256, "stage": "video", "precision": "fp32", "batches": BATCHES}
    cache.store(plan, record_of(plan, gpu=find_gpu(), **facts))
    with pytest.raises(BundleError, match="has inputs waveform"):
        open_engine(bundle, "video", "fp32", "tensorrt", cache=cache)


# -- affectrt run ----------------------------------------------------------------------------------------------------


@pytest.fixture
def clip() -> Path:
    return drawn_clip(ROOT / "build" / "doubles")


@pytest.fixture
def in_cache(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AFFECTRT_CACHE_DIR", str(cache.root.parent))
    yield


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.usefixtures("in_cache")
@pytest.mark.parametrize("system", ["rcma", "cav"])
def test_run_gives_the_estimates_that_onnx_runtime_gives(
    demos: dict[str, Bundle], clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], system: str
) -> None:
    path = str(demos[system].path)
    for name, words in {"tensorrt": [], "onnxruntime": ["--backend", "onnxruntime"]}.items():
        assert main(["run", path, str(clip), str(tmp_path / f"{name}.jsonl"), *words]) == 0
        told = capsys.readouterr().err
        assert ("with engines built on this machine" in told) == (name == "tensorrt")
    found, wanted = (records(tmp_path / f"{name}.jsonl") for name in ("tensorrt", "onnxruntime"))
    assert len(found) == len(wanted) > 5
    for one, other in zip(found, wanted, strict=True):
        assert (one.pop("backend", None), other.pop("backend", None)) in {("tensorrt", "onnxruntime"), (None, None)}
        numbers = {name for name, value in one.items() if isinstance(value, float)}
        assert {k: v for k, v in one.items() if k not in numbers} == {
            k: v for k, v in other.items() if k not in numbers
        }
        for name in numbers:  # batches differ, and with them the order of sums; six decimals are written
            assert one[name] == pytest.approx(other[name], abs=2e-6)


@pytest.mark.usefixtures("in_cache")
def test_quiet_runs_say_nothing_of_their_backend(
    demos: dict[str, Bundle], clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", str(demos["rcma"].path), str(clip), str(tmp_path / "out.jsonl"), "--quiet", "--no-cuda-graph"]
    assert main(words) == 0
    assert capsys.readouterr().err == ""
    assert faults.cuda.counters()["captures"] == 0


def test_a_fallback_of_the_builder_is_told_by_every_run(
    demos: dict[str, Bundle],
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """INT8 was asked for and FP32 is what could be built: the engine lies under the INT8 graph, and says so."""
    bundle, cache = demos["rcma"], EngineCache(tmp_path / "engines")
    keep_engines(bundle, "int8", cache)
    asked, built = (graph_of(bundle, "video", precision) for precision in ("int8", "fp32"))
    plan = plan_from_graph(bundle.read(built), BATCHES)
    facts = {"graph_sha256": asked.sha256, "stage": "video", "precision": "fp32", "batches": BATCHES, "asked": "int8"}
    fallen = {"built_graph_sha256": built.sha256, "fallbacks": ("int8: no implementation for node x",)}
    cache.store(plan, record_of(plan, gpu=find_gpu(), built_at="2026-02-01T00:00:00Z", **facts, **fallen))
    monkeypatch.setenv("AFFECTRT_CACHE_DIR", str(tmp_path))
    with open_engine(bundle, "video", "int8") as engine:
        assert engine.provenance["precision"] == "fp32"
        assert engine.provenance["fallback"] == "fp32 rather than int8: int8: no implementation for node x"
    words = ["run", str(bundle.path), str(clip), str(tmp_path / "out.jsonl"), "--precision", "int8", "--quiet"]
    assert main(words) == 0
    assert "warning: video runs in fp32 rather than int8" in capsys.readouterr().err
