"""A bundle's graphs made into engines over a simulated TensorRT: what is kept, what falls back, what a person sees."""

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.demo_bundles import demo_bundles
from doubles.nvidia import faults
from doubles.nvidia.prepare import ROOT
from doubles.precisions_bundle import BATCHES, Told, build, first_product, half_written, make_precisions_bundle, plans

from affectrt.bundle import Bundle, EngineError, UsageError
from affectrt.cli.main import main
from affectrt.export.engines import build_bundle
from affectrt.export.engines.progress import Pulse
from affectrt.runtime.engines import EngineCache, choose_backend, open_engine
from affectrt.runtime.engines.engine_record import BuildOptions
from affectrt.runtime.engines.gpu import Gpu, find_gpu
from affectrt.runtime.engines.onnxruntime_engine import OnnxRuntimeEngine

NARROW = {"FP16", "BF16", "INT8", "FP8", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_precisions_bundle(tmp_path_factory.mktemp("bundle") / "residual.affect")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineCache:
    monkeypatch.setenv("AFFECTRT_CACHE_DIR", str(tmp_path / "cache"))
    return EngineCache()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int8-fp16"])
def test_every_precision_is_built_proved_recorded_and_read_back(
    precision: Any, made: Bundle, cache: EngineCache
) -> None:
    import tensorrt as trt

    records = build(made, precision)
    gpu = find_gpu()
    assert list(records) == ["video", "audio", "fusion"]
    for stage, record in records.items():
        graph = made.graph_for(stage, precision, "tensorrt")
        assert (record.asked, record.precision) == (graph.precision, graph.precision)
        assert record.key.graph_sha256 == record.built_graph_sha256 == graph.sha256
        assert (record.key.tensorrt, record.key.gpu, record.key.driver) == (trt.__version__, gpu.name, gpu.driver)
        assert record.key.batches == BATCHES[stage]
        assert record.fallbacks == record.notes == ()
        assert record.build_s >= 0 and record.versions["polygraphy"]
        found = cache.find(graph.sha256, tensorrt=trt.__version__, gpu=gpu, rebuild="x")
        assert found == record
        assert len(cache.read(found, rebuild="x")) == record.size_bytes
    low = {"fp32": None, "fp16": "fp16", "int8": "int8", "int8-fp16": "int8"}[precision]
    assert records["fusion"].layers == {}  # its fp32 graph is not looked into
    assert (low is None) == (records["video"].layers == {})
    assert low is None or records["video"].layers[low] > 5
    assert half_written(cache) == []


def test_networks_are_strongly_typed_static_and_without_any_precision_flag(made: Bundle) -> None:
    for precision in ("fp32", "fp16", "int8", "int8-fp16"):
        build(made, precision)
    assert len(faults.tensorrt.builds) == 3 + 3 * 4  # both encoders with their twins thrice, the fusion kept
    for facts in faults.tensorrt.builds:
        assert facts["strongly_typed"]
        assert not NARROW & set(facts["flags"])
        assert "TF32" not in facts["flags"]
        assert (facts["workspace_bytes"], facts["optimization_level"], facts["max_aux_streams"]) == (1 << 30, 3, 0)
        for shapes in facts["profiles"]:
            for least, best, most in shapes.values():
                assert least == best == most


def test_the_timing_cache_makes_the_next_build_measure_nothing(made: Bundle, cache: EngineCache) -> None:
    build(made, "fp32")
    (timings,) = (cache.root / "timing").glob("*.cache")
    assert timings.stat().st_mode & 0o777 == 0o600
    faults.tensorrt.builds.clear()
    build(made, "fp32", force=True)
    assert [facts["timed"] for facts in faults.tensorrt.builds] == [0, 0, 0]


def test_int8_that_cannot_be_had_falls_back_to_fp16_and_says_why(made: Bundle, cache: EngineCache) -> None:
    name, told = first_product(made, "int8"), Told()
    faults.tensorrt.build_as({name: "Half"})
    record = build(made, "int8", told)["video"]
    assert (record.asked, record.precision) == ("int8", "fp16")
    (reason,) = record.fallbacks
    assert f"{name}: asked int8, got fp16" in reason
    assert record.key.graph_sha256 == made.graph_for("video", "int8", "tensorrt").sha256
    assert record.built_graph_sha256 == made.graph_for("video", record.precision, "tensorrt").sha256
    assert any(line.startswith("video falls back: int8 was not built") for line in told.lines)
    assert cache.read(record, rebuild="x")


def test_a_failed_build_falls_back_with_tensorrts_own_words(made: Bundle) -> None:
    faults.tensorrt.fail("Builder.build_serialized_network", times=2)
    records = build(made, "int8-fp16")
    assert (records["video"].precision, records["audio"].precision) == ("fp32", "int8-fp16")
    assert [reason.split(" ", 1)[0] for reason in records["video"].fallbacks] == ["int8-fp16", "fp16"]
    assert all("could not build" in reason and "Error" in reason for reason in records["video"].fallbacks)


def test_a_build_that_fails_throughout_tells_every_attempt_and_keeps_nothing(made: Bundle, cache: EngineCache) -> None:
    faults.tensorrt.fail("Builder.build_serialized_network", times=-1)
    with pytest.raises(EngineError, match="could not build video fp32") as caught:
        build(made, "int8")
    assert "before that: int8 was not built" in str(caught.value)
    assert "before that: fp16 was not built" in str(caught.value)
    assert plans(cache) == half_written(cache) == []


def test_strict_refuses_to_fall_back(made: Bundle, cache: EngineCache) -> None:
    faults.tensorrt.build_as({first_product(made, "int8"): "Float"})
    with pytest.raises(EngineError, match="in another precision") as caught:
        build(made, "int8", strict=True)
    assert "without --strict" in str(caught.value.fix)
    assert plans(cache) == []


def test_strict_does_not_take_an_engine_that_fell_back_before(made: Bundle) -> None:
    faults.tensorrt.build_as({first_product(made, "int8"): "Float"})
    assert build(made, "int8")["video"].precision != "int8"
    faults.tensorrt.build_as({})
    assert build(made, "int8")["video"].precision != "int8"  # kept, as long as nobody asks for more
    assert build(made, "int8", strict=True)["video"].precision == "int8"


def test_an_engine_that_is_there_is_not_built_again(made: Bundle) -> None:
    first = build(made, "int8")
    faults.tensorrt.builds.clear()
    told = Told()
    assert build(made, "int8", told) == first
    assert faults.tensorrt.builds == []
    assert [line.split(" is built already")[0] for line in told.lines] == ["video int8", "audio int8", "fusion fp32"]
    assert build(made, "int8", force=True)["video"].built_at > first["video"].built_at


def test_other_batches_or_options_are_another_engine(made: Bundle, cache: EngineCache) -> None:
    build(made, "fp32")
    build(made, "fp32", options=BuildOptions(tf32=True))
    assert len(plans(cache)) == 6


def test_a_damaged_engine_is_built_again_and_it_says_so(made: Bundle, cache: EngineCache) -> None:
    record = build(made, "fp32")["video"]
    cache.place(record.key).write_bytes(b"damaged")
    told = Told()
    again = build(made, "fp32", told)["video"]
    assert "video fp32 is built again: an engine is refused" in told.lines[0]
    assert cache.read(again, rebuild="x")


@pytest.fixture
def ctrl_c(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A person presses Ctrl-C in the first step of a build; TensorRT goes on until its monitor says no."""
    pressed: list[int] = []
    real = Pulse.step_complete

    def step_complete(self: Pulse, name: str, step: int) -> bool:
        if not pressed:
            pressed.append(step)
            os.kill(os.getpid(), signal.SIGINT)
        deadline = time.monotonic() + 10
        while (goes_on := real(self, name, step)) and time.monotonic() < deadline:
            time.sleep(0.01)
        return goes_on

    monkeypatch.setattr(Pulse, "step_complete", step_complete)
    yield pressed


def test_ctrl_c_cancels_cleanly_and_keeps_what_was_finished_before(
    made: Bundle, cache: EngineCache, ctrl_c: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    with pytest.raises(KeyboardInterrupt):
        build(made, "int8", told)
    assert ctrl_c == [0]
    assert faults.tensorrt.builds == []
    assert plans(cache) == half_written(cache) == []
    assert told.open == 0
    monkeypatch.undo()
    monkeypatch.setenv("AFFECTRT_CACHE_DIR", str(cache.root.parent))
    assert build(made, "int8")["video"].precision == "int8"  # nothing holds the lock


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_the_verb_with_130(made: Bundle, cache: EngineCache) -> None:
    assert main(["build", str(made.path), "--backend", "tensorrt"]) == 130
    assert plans(cache) == []


def test_a_dla_core_that_is_not_there_is_wrong_use_and_no_reason_to_fall_back(made: Bundle) -> None:
    told = Told()
    with pytest.raises(UsageError, match="there is no DLA core 0") as caught:
        build(made, "int8", told, options=BuildOptions(dla_core=0))
    assert caught.value.fix == "leave --dla out"
    assert not any("falls back" in line for line in told.lines)
    assert faults.tensorrt.builds == []


def test_the_command_that_a_mismatch_names_builds_what_was_missing(
    made: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", str(made.path), "--precision", "int8"]) == 0
    assert choose_backend(made, "int8", "tensorrt").backend == "tensorrt"
    newer = replace(find_gpu(), driver="999.1 (CUDA 99.0)")
    real = find_gpu

    def find_newer(ordinal: int = 0) -> Gpu:
        assert real(ordinal)
        return newer

    for module in ("gpu", "backend_choice"):
        monkeypatch.setattr(f"affectrt.runtime.engines.{module}.find_gpu", find_newer)
    monkeypatch.setattr("affectrt.export.engines.bundle_builder.find_gpu", find_newer)
    with pytest.raises(EngineError, match="driver: the engine has") as caught:
        choose_backend(made, "int8", "tensorrt")
    assert "999.1" in str(caught.value)
    words = str(caught.value.fix).split()
    assert words[0] == "affectrt"
    assert main(words[1:]) == 0
    assert choose_backend(made, "int8", "tensorrt").backend == "tensorrt"


def test_the_verb_shows_a_table_of_what_was_asked_and_built(
    made: Bundle, cache: EngineCache, capsys: pytest.CaptureFixture[str]
) -> None:
    name = first_product(made, "int8", "audio")
    faults.tensorrt.build_as({name: "Float"})
    assert main(["build", str(made.path), "--precision", "int8", "--backend", "tensorrt", "--batch", "2"]) == 0
    told = capsys.readouterr()
    head, video, audio, fusion, *reasons = told.out.splitlines()
    assert head.split() == ["stage", "asked", "built", "layers", "seconds", "size", "file"]
    assert video.split()[:3] == ["video", "int8", "int8"] and " int8, " in video
    assert audio.split()[:2] == ["audio", "int8"] and audio.split()[2] != "int8"
    assert fusion.split()[:3] == ["fusion", "fp32", "fp32"]
    assert f"{name}: asked int8, got fp32" in reasons[0]
    assert "building video int8 to look into" in told.err and "audio falls back" in told.err
    assert video.split()[-1] in {str(path) for path in plans(cache)}
    records = [json.loads(path.read_bytes()) for path in cache.root.rglob("*.json")]
    assert sorted(record["key"]["batches"] for record in records) == [[1], [2], [2]]
    assert main(["build", str(made.path), "--precision", "int8", "--batch", "2"]) == 0
    assert capsys.readouterr().err.count("is built already") == 3


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_what_was_built_runs_and_answers_like_onnx_runtime(precision: Any, made: Bundle) -> None:
    assert main(["build", str(made.path), "--precision", precision]) == 0
    rng = np.random.default_rng(1)
    for stage in made.contract.stages:
        feeds = {}
        for info in made.contract.stage_inputs(stage):
            shape = (3, *info.shape)
            noise = rng.integers(0, 256, shape) if info.dtype == "uint8" else 0.3 * rng.standard_normal(shape)
            feeds[info.name] = noise.astype(info.dtype)
        with open_engine(made, stage, precision, "tensorrt") as built:
            assert built.provenance["backend"] == "tensorrt"
            answers = dict(built.infer(feeds))
        graph = made.read(made.graph_for(stage, precision, "tensorrt"))
        with OnnxRuntimeEngine(graph, threads=1, provenance={}, integer_kernels=False) as reference:
            for name, wanted in reference.infer(feeds).items():
                np.testing.assert_allclose(answers[name], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("system", ["rcma", "cav"])
def test_every_graph_of_the_demo_models_is_built_in_the_precision_it_asks_for(system: str) -> None:
    bundle = demo_bundles(ROOT / "build" / "doubles")[system]
    stages = bundle.contract.stages
    plans: dict[tuple[str, ...], Any] = {tuple(bundle.plan(p, "tensorrt").values()): p for p in bundle.precisions()}
    assert len(plans) > 1
    for precision in plans.values():
        records = build_bundle(bundle, precision, batches=dict.fromkeys(stages, (1, 2)), strict=True, progress=Told())
        for record in records:
            assert record.precision == record.asked == bundle.plan(precision, "tensorrt")[record.stage]
            assert not [note for note in record.notes if "not proved" in note]
