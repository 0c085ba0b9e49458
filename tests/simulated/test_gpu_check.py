"""The whole of `make gpu-check` on simulated hardware: its way through every part, and that it says *simulated*."""

from __future__ import annotations

import ctypes
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.nvidia import faults
from doubles.tiny_bundle import make_tiny_bundle

from affectrt.bundle.errors import UsageError
from affectrt.cli.gpu_check import Findings, GpuCheck, Settings, read_check, run_check, save_check
from affectrt.cli.gpu_check.__main__ import main
from affectrt.cli.gpu_check.check import FIRST, WORK
from affectrt.cli.gpu_check.kernel import Launch
from affectrt.cli.gpu_check.memory import check_memory
from affectrt.cli.gpu_check.state import first_gpu
from affectrt.cli.gpu_check.steps import Absent, Collector, Step, run_in_child

DEVICE = "Simulated GPU"
CHEAP = ("software", "memory", "copies")


class HostKernel:
    """y = 2 x + 1 on the processor, when the stream comes to it: the simulated device has no kernels."""

    def __init__(self, slope: float = 2.0) -> None:
        self._slope, self._kept = slope, []  # type: ignore[var-annotated]

    def __call__(self, capability: str) -> tuple[Launch, str]:
        return self._launch, "the processor"

    def _launch(self, stream: Any, source: int, target: int, count: int) -> None:
        def run(_: object) -> None:
            x, y = (
                np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_float)), (count,))
                for address in (source, target)
            )
            y[:] = self._slope * x + 1

        callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(run)
        self._kept.append(callback)
        cuda = ctypes.CDLL("libcuda.so.1")
        handle = ctypes.c_void_p(stream.handle)
        assert cuda.cuLaunchHostFunc(handle, ctypes.cast(callback, ctypes.c_void_p), None) == 0


def nothing(found: Collector, settings: Settings, **arguments: str) -> None:
    raise Absent("left out of this test")


def settings_in(folder: Path) -> Settings:
    bundle = make_tiny_bundle(folder / "tiny.affect")
    return Settings(
        work=str(folder / "work"),
        bundles=(str(bundle.path),),
        seconds=0,
        warmups=2,
        calls=5,
        parity_rows=3,
        copy_bytes=1 << 16,
        matrix_sides=(64,),
        paper=False,
        in_process=True,
    )


def run_simulated(folder: Path, kernel: HostKernel | None = None) -> GpuCheck:
    work = {**WORK, "memory": partial(check_memory, compiled=kernel or HostKernel()), "roofline": nothing}
    gpu = first_gpu()
    assert gpu == DEVICE
    return run_check(settings_in(folder), gpu, work=work)


def outcomes(check: GpuCheck) -> dict[str, tuple[str, str]]:
    return {outcome.step: (outcome.status, outcome.reason) for outcome in check.outcomes}


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> GpuCheck:
    return run_simulated(tmp_path_factory.mktemp("gpu-check"))


def test_every_step_that_can_run_passes(check: GpuCheck) -> None:
    failed = {step: reason for step, (status, reason) in outcomes(check).items() if status == "failed"}
    assert not failed
    assert check.passed and check.simulated
    passed = {step for step, (status, _) in outcomes(check).items() if status == "passed"}
    assert {*FIRST.values(), "tensorrt, tiny, fp32"} <= passed


def test_memory_is_copied_mapped_and_captured_with_the_host_s_numbers(check: GpuCheck) -> None:
    seen = {found.name: found.passed for found in check.findings.checks}
    for name in ("pinned memory, copies", "mapped memory, no copies", "captured on PyCUDA's stream, replayed"):
        assert seen[name]


@pytest.mark.one_version
def test_a_kernel_that_computes_wrongly_is_found_in_every_way_and_hides_no_other_step(tmp_path: Path) -> None:
    check = run_simulated(tmp_path, HostKernel(slope=3.0))
    status, reason = outcomes(check)["memory and capture"]
    assert status == "failed"
    for way in ("pinned memory", "pageable memory", "mapped memory", "captured on PyCUDA's stream"):
        assert way in reason
    assert outcomes(check)["copy bandwidth"][0] == outcomes(check)["tensorrt, tiny, fp32"][0] == "passed"
    assert not check.passed


def test_every_way_of_every_copy_is_timed(check: GpuCheck) -> None:
    assert len({copy.kind for copy in check.findings.copies}) == len(check.findings.copies) == 4


def test_the_peak_is_measured_with_tensorrt_where_pytorch_sees_no_gpu(check: GpuCheck) -> None:
    assert {peak.precision for peak in check.findings.peaks} >= {"fp32", "tf32"}
    assert all(peak.library.startswith("TensorRT") for peak in check.findings.peaks)


def test_each_stage_equals_onnx_runtime_in_each_memory_captured_and_not(check: GpuCheck) -> None:
    variants = {f"{memory}, {how}" for memory in ("copied", "mapped") for how in ("captured", "not captured")}
    stages = ("video", "audio", "fusion")
    assert {(p.stage, p.variant) for p in check.findings.parities} == {(s, v) for s in stages for v in variants}
    assert all(parity.passed and parity.rows == 3 for parity in check.findings.parities)


def test_latencies_are_taken_by_both_clocks_with_and_without_transfers(check: GpuCheck) -> None:
    timed = [t for t in check.findings.timed if (t.stage, t.batch) == ("fusion", 1)]
    ways = {(t.variant, t.clock, t.transfers) for t in timed}
    for how in ("captured", "not captured"):
        assert {way for way in ways if way[0] == f"copied, {how}"} == {
            (f"copied, {how}", "wall clock", True),
            (f"copied, {how}", "cuda events", True),
            (f"copied, {how}", "cuda events", False),
        }
        assert {way[1:] for way in ways if way[0] == f"mapped, {how}"} == {("wall clock", True), ("cuda events", False)}
    assert all(t.latency.calls >= 5 and t.latency.p50_ms <= t.latency.p99_ms <= t.latency.max_ms for t in timed)
    assert {t.batch for t in check.findings.timed if t.stage == "fusion"} == {1, 8}


def test_a_capture_that_fails_is_told_and_the_figures_are_still_taken(tmp_path: Path) -> None:
    faults.cuda.fail("cuStreamBeginCapture_v2", code=901, times=-1)
    check = run_simulated(tmp_path)
    faults.reset()
    status, reason = outcomes(check)["tensorrt, tiny, fp32"]
    assert status == "failed" and "capture failed" in reason
    assert len(check.findings.parities) == 12 and all(parity.passed for parity in check.findings.parities)
    assert {timed.variant for timed in check.findings.timed} == {"copied, not captured", "mapped, not captured"}


def test_one_engine_that_fails_does_not_hide_the_other_stages(tmp_path: Path) -> None:
    faults.tensorrt.fail("IExecutionContext.execute_async_v3", times=1)
    work = dict.fromkeys(WORK, nothing) | {"tensorrt": WORK["tensorrt"]}
    check = run_check(settings_in(tmp_path), DEVICE, work=work)
    status, reason = outcomes(check)["tensorrt, tiny, fp32"]
    assert status == "failed" and reason.startswith("video: EngineError")
    assert {parity.stage for parity in check.findings.parities} == {"audio", "fusion"}


def test_simulated_results_are_kept_apart_and_say_what_they_are(check: GpuCheck, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="simulated"):
        save_check(check, tmp_path / "benchmarks" / "results")
    path = save_check(check, tmp_path)
    assert path.name.startswith("simulated-") and read_check(path).simulated


def test_the_command_refuses_a_simulated_device_for_the_project_s_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    assert DEVICE in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.one_version
def test_steps_run_in_processes_of_their_own_on_the_doubles_too(tmp_path: Path) -> None:
    settings = settings_in(tmp_path).model_copy(update={"in_process": False, "limit_s": 60.0})
    steps = {name: run_in_child(Step(name, nothing, {}), settings, Findings(), work=name) for name in CHEAP}
    # The simulated device runs no kernels: the one step that compiles one says so.
    assert {name for name, done in steps.items() if done.outcome.status == "failed"} == {"memory"}
    assert "no compiler makes a kernel" in steps["memory"].outcome.reason
    engines = Step("engines", nothing, {"bundle": settings.bundles[0], "precision": "fp32"})
    done = run_in_child(engines, settings, Findings(), work="tensorrt")
    assert done.outcome.status == "passed"
    assert {parity.stage for parity in done.findings.parities} == {"video", "audio", "fusion"}


def test_a_text_encoder_is_compared_and_timed_at_every_length(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "spoken.affect", text_lengths=(8, 16))
    work = dict.fromkeys(WORK, nothing) | {"tensorrt": WORK["tensorrt"]}
    settings = settings_in(tmp_path).model_copy(update={"bundles": (str(bundle.path),)})
    check = run_check(settings, DEVICE, work=work)
    assert outcomes(check)["tensorrt, spoken, fp32"][0] == "passed"
    (built,) = [build for build in check.findings.builds if build.stage == "text"]
    assert (built.batches, built.lengths) == ((1,), (8, 16))
    parities = [parity for parity in check.findings.parities if parity.stage == "text"]
    assert {(p.length, p.passed) for p in parities} == {(8, True), (16, True)} and len(parities) == 8
    timed = [t for t in check.findings.timed if t.stage == "text"]
    assert {(t.batch, t.length) for t in timed} == {(1, 8), (1, 16)}
    assert {p.length for p in check.findings.parities if p.stage != "text"} == {None}
