"""The file that a check leaves: whole or not there, held to its format, and never a simulated one among real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from affectrt.bundle.errors import UsageError
from affectrt.cli.gpu_check import Findings, GpuCheck, read_check, save_check
from affectrt.cli.gpu_check.__main__ import main
from affectrt.cli.gpu_check.figures import Copy, MatrixPeak, Timed
from affectrt.cli.gpu_check.latency import latency_of, time_calls
from affectrt.cli.gpu_check.record import Outcome, check_place, file_name
from affectrt.cli.gpu_check.steps import Settings
from affectrt.cli.gpu_check.table import outcome_line, print_check

FAKE = "CPU-backed fake device"


def make_check(gpu: str = "NVIDIA H200", **changes: object) -> GpuCheck:
    timed = Timed(
        bundle="rcma-demo",
        stage="video",
        asked="int8",
        precision="fp16",
        backend="tensorrt 10.3.0",
        variant="mapped, captured",
        batch=1,
        clock="cuda events",
        transfers=False,
        latency=latency_of([0.001 * n for n in range(1, 1001)], 200),
    )
    facts: dict[str, object] = {
        "made_at": "2026-11-21T10:00:00+00:00",
        "simulated": "fake" in gpu,
        "revision": "abc",
        "settings": {},
        "machine": {"CPU": "some"},
        "gpu": gpu,
        "before": {"clocks.sm": "345 MHz"},
        "after": {},
        "outcomes": (Outcome(step="copies", status="passed", seconds=1.0),),
        "findings": Findings(
            copies=(Copy(kind="device to device", size_bytes=1, gbyte_per_s=2.0),),
            peaks=(MatrixPeak(precision="fp16", library="x", shape="1×1×1", gmac_per_s=5.0),),
            timed=(timed,),
        ),
    }
    return GpuCheck.model_validate(facts | changes)


def test_what_is_saved_is_read_back_as_it_was(tmp_path: Path) -> None:
    check = make_check()
    path = save_check(check, tmp_path / "results")
    assert path.name == "nvidia-h200-gpu-check-2026-11-21.json"
    assert read_check(path) == check
    assert list(path.parent.iterdir()) == [path]


def test_nothing_half_written_stays_when_saving_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, text: str, encoding: str) -> int:
        self.touch()
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space"):
        save_check(make_check(), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gpu": ""}, "gpu"),
        ({"findings": {"copies": [{"kind": "sideways", "size_bytes": 1, "gbyte_per_s": 1.0}]}}, "kind"),
        ({"findings": {"copies": [{"kind": "device to device", "size_bytes": 1, "gbyte_per_s": -1.0}]}}, "gbyte_per_s"),
        ({"speed": "fast"}, "speed"),
        ({"format_version": 2}, "format_version"),
        ({"simulated": True}, "simulated"),
    ],
)
def test_a_file_that_breaks_the_format_is_refused(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(json.loads(make_check().model_dump_json()) | changes))
    with pytest.raises(UsageError, match=told):
        read_check(path)


def test_results_of_a_simulated_device_are_refused_among_real_ones(tmp_path: Path) -> None:
    results = tmp_path / "benchmarks" / "results"
    check = make_check(FAKE)
    with pytest.raises(UsageError, match="simulated"):
        save_check(check, results)
    assert not results.exists()
    linked = tmp_path / "elsewhere"
    results.mkdir(parents=True)
    linked.symlink_to(results)
    with pytest.raises(UsageError, match="simulated"):
        check_place(linked, FAKE)
    assert save_check(check, tmp_path).name == "simulated-cpu-backed-fake-device-gpu-check-2026-11-21.json"
    assert save_check(make_check(), results).parent == results


def test_a_simulated_check_cannot_pass_for_a_real_one(tmp_path: Path) -> None:
    path = save_check(make_check(FAKE), tmp_path)
    path.write_text(path.read_text().replace('"simulated": true', '"simulated": false'))
    with pytest.raises(UsageError, match="simulated"):
        read_check(path)


def test_simulated_stands_over_every_table_of_a_simulated_check() -> None:
    console = Console(record=True, width=160)
    print_check(make_check(FAKE), console)
    text = console.export_text()
    assert "SIMULATED" in text
    for title in ("copies", "matrix peak", "latency, ms a call"):
        assert f"{title}, simulated" in text
    console = Console(record=True, width=160)
    print_check(make_check(), console)
    assert "simulated" not in console.export_text().lower()


def test_the_table_says_what_ran_in_place_of_what_was_asked_for() -> None:
    console = Console(record=True, width=160)
    print_check(make_check(), console)
    text = console.export_text()
    assert "int8→fp16" in text and "mapped, captured" in text and "without" in text
    assert "501.000  901.000  991.000  1000.000  1000.000" in text


def test_file_names_hold_nothing_but_letters_digits_and_dashes() -> None:
    assert file_name("NVIDIA Jetson AGX Orin (64 GB)/..", "2026-01-02") == (
        "nvidia-jetson-agx-orin-64-gb-gpu-check-2026-01-02.json"
    )
    assert file_name("///", "2026-01-02") == "gpu-gpu-check-2026-01-02.json"


def test_percentiles_are_calls_that_were_made() -> None:
    latency = latency_of([0.001 * n for n in range(1000, 0, -1)], 7)
    assert (latency.calls, latency.warmups) == (1000, 7)
    assert latency.p50_ms == pytest.approx(501)
    assert (latency.p90_ms, latency.p99_ms) == (pytest.approx(901), pytest.approx(991))
    assert (latency.p999_ms, latency.max_ms) == (pytest.approx(1000), pytest.approx(1000))
    assert latency.mean_ms == pytest.approx(500.5)


def test_warm_ups_are_made_and_not_counted() -> None:
    made = []
    latency = time_calls(lambda: made.append(1), Settings(warmups=200, calls=30, seconds=0))
    assert len(made) == 230
    assert (latency.calls, latency.warmups) == (30, 200)


def test_an_outcome_is_one_line() -> None:
    outcome = Outcome(step="copies", status="failed", reason="no memory", seconds=2.25)
    assert outcome_line(outcome).split() == ["FAILED", "2.2", "s", "copies:", "no", "memory"]


@pytest.mark.parametrize(("status", "code"), [("passed", 0), ("failed", 1)])
def test_the_command_keeps_what_was_found_and_its_exit_code_tells_whether_all_passed(
    status: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = Outcome.model_validate({"step": "copies", "status": status, "seconds": 1.0})
    check = make_check(outcomes=(outcome,))

    def run(settings: Settings, gpu: str, **options: Any) -> GpuCheck:
        assert (gpu, settings.warmups, settings.bundles) == (check.gpu, 7, ("x.affect",))
        options["begin"]("a step [of some kind]")
        options["tell"](outcome)
        return check

    monkeypatch.setattr("affectrt.cli.gpu_check.__main__.first_gpu", lambda: check.gpu)
    monkeypatch.setattr("affectrt.cli.gpu_check.__main__.run_check", run)
    out = tmp_path / "results"
    assert main(["--bundle", "x.affect", "--warmups", "7", "--out", str(out)]) == code
    (path,) = out.iterdir()
    assert read_check(path) == check
    told = capsys.readouterr().out
    assert outcome_line(outcome) in told and path.name in told.replace("\n", "")
