"""doctor says what is missing, names the command that brings it, and its exit code can be believed."""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from affectrt.cli import machine
from affectrt.training.synthetic import espeak

from .conftest import Ran

Run = Callable[..., Ran]


def by_name(ran: Ran, tier: str, name: str) -> dict[str, Any]:
    found = [f for f in json.loads(ran.out)["findings"] if (f["tier"], f["name"]) == (tier, name)]
    assert len(found) == 1, found
    return dict(found[0])


def test_a_machine_that_lacks_nothing_needed_exits_with_0(run: Run) -> None:
    pytest.importorskip("gi")
    ran = run("doctor", "--json")
    record = json.loads(ran.out)
    assert ran.code == 0, ran.out
    assert record["runtime_works"] is True
    assert by_name(ran, "runtime", "onnxruntime")["found"].endswith("CPUExecutionProvider")
    for finding in record["findings"]:
        if finding["ok"]:
            assert finding["fix"] is None
        elif finding["tier"] not in {"cpu", "accelerator"}:
            assert finding["fix"]


def test_gstreamer_without_plugins_names_the_packages(tmp_path: Path) -> None:
    pytest.importorskip("gi")
    bare = {"GST_REGISTRY": str(tmp_path / "registry"), "GST_PLUGIN_SYSTEM_PATH_1_0": str(tmp_path)}
    answer = subprocess.run(
        [sys.executable, "-m", "affectrt.cli.main", "doctor"],
        env={**os.environ, **bare},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1, answer.stderr
    assert "no uridecodebin" in answer.stdout
    lines = [line.split() for line in answer.stdout.splitlines() if "→ sudo apt-get install" in line]
    packages = {word for line in lines for word in line if word.startswith("gstreamer1.0-")}
    assert packages == {
        "gstreamer1.0-plugins-base",
        "gstreamer1.0-plugins-good",
        "gstreamer1.0-libav",
        "gstreamer1.0-plugins-ugly",
        "gstreamer1.0-alsa",
    }


def test_without_the_binding_the_runtime_does_not_work(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    ran = run("doctor", "--json")
    finding = by_name(ran, "runtime", "gstreamer")
    assert ran.code == 1
    assert finding["ok"] is False
    assert "python3-gi" in finding["fix"]


def test_a_base_package_that_does_not_load_is_told_with_its_reason(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    ran = run("doctor", "--json")
    assert ran.code == 1
    assert by_name(ran, "runtime", "onnxruntime")["fix"].endswith("-m pip install 'affectrt'")


def test_an_extra_is_not_needed_for_the_runtime(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = machine.version

    def version(distribution: str) -> str:
        if distribution == "torch":
            raise PackageNotFoundError(distribution)
        return real(distribution)

    monkeypatch.setattr(machine, "version", version)
    ran = run("doctor", "--json")
    finding = by_name(ran, "export", "extra export")
    assert finding["ok"] is False
    assert finding["found"] == "no torch"
    assert "pip install 'affectrt[export]'" in finding["fix"]
    assert json.loads(ran.out)["runtime_works"] == (ran.code == 0)


def test_voices_of_drawn_people_are_optional_and_their_package_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.SPEECH_LIBRARIES == espeak.LIBRARIES
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object() if name == "libespeak-ng.so" else absent(name))
    finding = by_name(run("doctor", "--json"), "demo", "espeak-ng")
    assert finding["ok"] is True and finding["found"].startswith("libespeak-ng.so, ") and finding["fix"] is None
    monkeypatch.setattr(ctypes, "CDLL", absent)
    ran = run("doctor", "--json")
    finding = by_name(ran, "demo", "espeak-ng")
    assert finding["ok"] is False and finding["required"] is False and "(optional)" in finding["found"]
    assert finding["fix"].endswith("install --no-install-recommends espeak-ng")
    assert json.loads(ran.out)["runtime_works"] == (ran.code == 0)


def absent(name: str) -> Any:
    raise OSError(f"{name}: cannot open shared object file")


@pytest.mark.parametrize(
    ("cpuinfo", "ok", "words"),
    [
        ("model name\t: Fast\nflags\t\t: fpu avx2 avx512_vnni\n", True, "Fast, "),
        ("model name\t: Old\nflags\t\t: fpu avx2\n", False, "no INT8 dot products"),
        ("Features\t: fp asimd asimddp i8mm\n", True, "i8mm, asimddp"),
    ],
)
def test_int8_speed_is_read_off_the_processor(
    cpuinfo: str, ok: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: cpuinfo)
    finding = machine._cpu()
    assert finding.ok is ok
    assert words in finding.found
