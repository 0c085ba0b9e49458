"""A step says what it found, that it failed, or that what it looks at is not there; none hides another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from affectrt.bundle.errors import EngineError, MissingDependency
from affectrt.cli.gpu_check import Findings, Settings, run_check
from affectrt.cli.gpu_check.check import FIRST, WORK
from affectrt.cli.gpu_check.figures import Check, Copy, Parity
from affectrt.cli.gpu_check.steps import Absent, Collector, Step, run_in_child, run_step

COPY = Copy(kind="device to device", size_bytes=1, gbyte_per_s=100.0)


def done(work: Callable[..., None], settings: Settings | None = None, **arguments: str) -> tuple[str, str, Findings]:
    end = run_step(Step("a step", work, arguments), settings or Settings(), Findings())
    return end.outcome.status, end.outcome.reason, end.findings


def test_what_was_found_before_a_failure_is_kept() -> None:
    def work(found: Collector, settings: Settings) -> None:
        found.add(COPY)
        raise EngineError("the device is gone", fix="plug it in")

    status, reason, findings = done(work)
    assert (status, findings.copies) == ("failed", (COPY,))
    assert reason == "the device is gone fix: plug it in"


def test_what_is_not_on_this_machine_is_no_failure() -> None:
    def absent(found: Collector, settings: Settings) -> None:
        raise Absent("no such thing")

    def missing(found: Collector, settings: Settings) -> None:
        raise MissingDependency("TensorRT is not installed")

    assert done(absent)[:2] == ("absent", "no such thing")
    assert done(missing)[:2] == ("absent", "TensorRT is not installed")


def test_a_check_that_does_not_hold_fails_its_step_and_the_next_checks_are_made() -> None:
    def work(found: Collector, settings: Settings) -> None:
        found.add(Check(name="first", passed=False, seen="3 of 4 numbers differ"))
        found.add(Check(name="second", passed=True, seen="fine"))

    status, reason, findings = done(work)
    assert (status, reason) == ("failed", "first: 3 of 4 numbers differ")
    assert [check.name for check in findings.checks] == ["first", "second"]


def test_an_engine_that_computes_otherwise_fails_its_step() -> None:
    def work(found: Collector, settings: Settings) -> None:
        found.add(
            Parity(
                bundle="demo",
                stage="video",
                asked="fp16",
                precision="fp16",
                backend="tensorrt",
                variant="mapped, captured",
                rows=1,
                max_abs=1.0,
                relative=0.5,
                tolerance=0.03,
                passed=False,
            )
        )

    status, reason, _ = done(work)
    assert status == "failed"
    assert "demo video fp16 (mapped, captured)" in reason and "0.5" in reason and "0.03" in reason


def test_a_later_step_knows_what_earlier_ones_measured() -> None:
    seen = []
    step = Step("later", lambda found, settings: seen.append(found.known.bandwidth()), {})
    run_step(step, Settings(), Findings(copies=(COPY,)))
    assert seen == [200e9]  # read and written


def test_every_step_is_tried_whatever_becomes_of_the_others() -> None:
    def broken(found: Collector, settings: Settings, **arguments: str) -> None:
        raise RuntimeError("a library threw")

    told = []
    check = run_check(
        Settings(in_process=True),
        "some GPU",
        work=dict.fromkeys(WORK, broken),
        tell=lambda outcome: told.append((outcome.step, outcome.status)),
        state=dict,
    )
    assert [outcome.step for outcome in check.outcomes] == [name for name, _ in told]
    tried = dict(told)
    assert all(tried[name] == "failed" for name in FIRST.values())
    assert tried["PyTorch, IR-50"] == tried["PyTorch, CAV fusion"] == tried["GStreamer elements"] == "failed"
    assert not check.passed


def test_a_check_passes_when_every_step_that_could_run_did() -> None:
    def fine(found: Collector, settings: Settings, **arguments: str) -> None:
        pass

    def nothing(found: Collector, settings: Settings, **arguments: str) -> None:
        raise Absent("not here")

    work = {**dict.fromkeys(WORK, nothing), "copies": fine}
    assert run_check(Settings(in_process=True), "some GPU", work=work, state=dict).passed
    work["copies"] = nothing
    assert not run_check(Settings(in_process=True), "some GPU", work=work, state=dict).passed


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(work=str(tmp_path), limit_s=20)


def child(settings: Settings, source: str) -> tuple[str, str]:
    """The outcome of a step whose process runs `source`."""
    settings.site.mkdir(parents=True)
    (settings.site / "stand_in.py").write_text(source)
    end = run_in_child(Step("a step", lambda: None, {}), settings, Findings(), work="copies", module="stand_in")
    return end.outcome.status, end.outcome.reason


def test_a_library_that_crashes_takes_only_its_own_step(settings: Settings) -> None:
    source = "import os, sys\nprint('about to crash', file=sys.stderr, flush=True)\nos.kill(os.getpid(), 11)"
    assert child(settings, source) == ("failed", "killed by SIGSEGV: about to crash")


def test_a_library_that_hangs_is_given_up_with_what_it_started(settings: Settings, tmp_path: Path) -> None:
    mark = tmp_path / "still-there"
    source = f"import subprocess, time\nsubprocess.Popen(['sh', '-c', 'sleep 2; touch {mark}'])\ntime.sleep(60)"
    status, reason = child(settings.model_copy(update={"limit_s": 0.5}), source)
    assert (status, reason) == ("failed", "did not end within 0.5 s")
    import time

    time.sleep(2.2)
    assert not mark.exists()


def test_a_process_that_ends_without_an_answer_failed(settings: Settings) -> None:
    assert child(settings, "raise SystemExit(0)") == ("failed", "exit code 0: it said nothing")


def test_a_step_in_a_process_of_its_own_hands_over_what_it_found(settings: Settings) -> None:
    end = run_in_child(Step("copies", WORK["copies"], {}), settings, Findings(), work="copies")
    assert end.outcome.status in ("absent", "failed")  # without cuda-bindings, or without a driver
    assert "cuda" in end.outcome.reason.lower()
