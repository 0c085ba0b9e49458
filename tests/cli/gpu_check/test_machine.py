"""What is read off a machine: its GPU's state, NVIDIA's libraries, archives that were brought along."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from affectrt.bundle.errors import EngineError
from affectrt.cli.gpu_check.__main__ import main
from affectrt.cli.gpu_check.parts import find_cuda, provide_parts
from affectrt.cli.gpu_check.software import find_libraries
from affectrt.cli.gpu_check.state import first_gpu, gpu_state
from affectrt.cli.gpu_check.steps import Collector, Settings

ROOT = Path(__file__).parents[3]


def smi(answers: dict[str, str], *, strict: bool = False) -> Callable[[Sequence[str]], str]:
    """A stand-in for nvidia-smi that knows `answers`; a `strict` one answers nothing where one field is unknown."""

    def tell(command: Sequence[str]) -> str:
        if command[0] != "nvidia-smi":
            return ""
        fields = next(word for word in command if word.startswith("--query-gpu=")).partition("=")[2].split(",")
        if strict and not all(field in answers for field in fields):
            return ""
        return ", ".join(answers.get(field, "[N/A]") for field in fields) + "\n"

    return tell


def test_the_state_holds_clocks_power_and_what_holds_them_back(tmp_path: Path) -> None:
    answers = {"clocks.sm": "1980 MHz", "power.draw": "310.22 W", "clocks_event_reasons.active": "0x0000000000000024"}
    state = gpu_state(smi(answers), tmp_path)
    assert state == {
        "clocks.sm": "1980 MHz",
        "power.draw": "310.22 W",
        "held back by": "power cap, thermal slowdown (software)",
    }


def test_a_driver_that_does_not_know_one_field_still_tells_the_others(tmp_path: Path) -> None:
    answers = {"clocks.sm": "345 MHz", "clocks_throttle_reasons.active": "0x0000000000000000"}
    assert gpu_state(smi(answers, strict=True), tmp_path) == {"clocks.sm": "345 MHz", "held back by": "nothing"}


def test_reasons_that_are_not_known_are_told_as_they_are(tmp_path: Path) -> None:
    state = gpu_state(smi({"clocks_event_reasons.active": "0x8000"}), tmp_path)
    assert state["held back by"] == "0x8000"


def test_a_jetson_tells_its_power_mode_clocks_and_heat(tmp_path: Path) -> None:
    for name, text in {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic\n",
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano\0",
        "sys/class/devfreq/17000000.gpu/cur_freq": "624750000\n",
        "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
        "sys/class/thermal/thermal_zone1/temp": "48312\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    said = {
        "nvpmodel": "NV Power Mode: MAXN_SUPER\n2\n",
        "jetson_clocks": "SOC family\nGPU MinFreq=306 CurrentFreq=624\n",
    }
    state = gpu_state(lambda command: said.get(command[0], ""), tmp_path)
    assert state == {
        "L4T": "36.4.3",
        "board": "NVIDIA Jetson Orin Nano",
        "nvpmodel": "MAXN_SUPER",
        "jetson_clocks": "GPU MinFreq=306 CurrentFreq=624",
        "GPU cur_freq": "625 MHz",
        "gpu-thermal": "48.3 °C",
    }


def test_one_line_is_taken_of_a_program_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3, GCID: 1")
    program = tmp_path / "tegrastats"
    program.write_text("#!/bin/sh\necho '11-21-2026 10:00:00 RAM 1/7620MB GR3D_FREQ 0%'\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert gpu_state(lambda command: "", tmp_path)["tegrastats"] == "RAM 1/7620MB GR3D_FREQ 0%"


def test_a_library_is_told_once_by_name_and_kind_of_place_never_by_path(tmp_path: Path) -> None:
    for name in (
        "mine/libnvinfer.so.10",
        "usr/lib/aarch64-linux-gnu/libnvinfer.so.10",
        "usr/lib/aarch64-linux-gnu/libnvinfer.so.10.3.0",
        "usr/lib/aarch64-linux-gnu/libnvinferno.so",
        "usr/local/cuda-13.0/lib64/libnvrtc.so.13",
        "site/nvidia/cublas/lib/libcublas.so.13",
        "site/tensorrt_libs/libnvonnxparser.so.10",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {
        library.name: library.where
        for library in find_libraries(tmp_path, str(tmp_path / "mine"), [str(tmp_path / "site"), ""])
    }
    assert found == {
        "libnvinfer.so.10": "LD_LIBRARY_PATH",
        "libnvinfer.so.10.3.0": "system",
        "libnvrtc.so.13": "system",
        "libcublas.so.13": "Python package",
        "libnvonnxparser.so.10": "Python package",
    }


def test_headers_of_cuda_are_taken_from_where_the_user_says(tmp_path: Path) -> None:
    for name in ("a/include/cuda.h", "b/include/cuda.h"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert find_cuda({"CUDA_ROOT": str(tmp_path / "b")}, [tmp_path / "a"]) == tmp_path / "b"
    assert find_cuda({}, [tmp_path / "none", tmp_path / "a"]) == tmp_path / "a"
    with pytest.raises(EngineError, match=r"cuda\.h"):
        find_cuda({}, [tmp_path])


def test_an_archive_that_writes_beside_its_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "pycuda-1.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        member = tarfile.TarInfo("../escaped")
        member.size = 1
        packed.addfile(member, io.BytesIO(b"x"))
    monkeypatch.setenv("PYCUDA_SDIST", str(archive))
    (tmp_path / "cuda/include").mkdir(parents=True)
    (tmp_path / "cuda/include/cuda.h").touch()
    monkeypatch.setenv("CUDA_ROOT", str(tmp_path / "cuda"))
    monkeypatch.setattr("affectrt.cli.gpu_check.parts.is_there", lambda module: module != "pycuda")
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = Collector()
    provide_parts(found, Settings(work=str(tmp_path / "work")))
    assert len(found.problems) == 1 and "../escaped" in found.problems[0]
    assert [check.passed for check in found.findings().checks] == [True, False]


def test_without_pycuda_and_its_archive_the_fix_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYCUDA_SDIST", raising=False)
    monkeypatch.setattr("affectrt.cli.gpu_check.parts.is_there", lambda module: module != "pycuda")
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = Collector()
    provide_parts(found, Settings(work=str(tmp_path)))
    assert "scripts/gpu-check.sh --fetch" in found.problems[0]


def test_without_a_driver_there_is_no_gpu() -> None:
    assert first_gpu("libcuda-that-is-not-there.so.1") is None


def test_without_a_gpu_one_message_and_exit_code_1_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("affectrt.cli.gpu_check.__main__.first_gpu", lambda: None)
    assert main([]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("gpu-check: there is no NVIDIA GPU")
    assert "expected:" in told.err and "fix:" in told.err and "Traceback" not in told.err
    assert list(tmp_path.iterdir()) == []


def test_a_simulated_device_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("affectrt.cli.gpu_check.__main__.first_gpu", lambda: "CPU-backed fake device")
    monkeypatch.setattr("affectrt.cli.gpu_check.__main__.run_check", lambda *_, **__: pytest.fail("it was measured"))
    assert main([]) == 2
    assert "simulated" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_script_takes_the_interpreter_that_it_is_given(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "gpu-check.sh"
    stand_in = tmp_path / "python3"
    stand_in.write_text('#!/bin/sh\ncase "$*" in *affectrt.cli.gpu_check*) printf "%s\\n" "$*" "$PYTHONPATH";; esac\n')
    stand_in.chmod(0o755)
    told = subprocess.run(
        [script, "--seconds", "3"],
        env={**os.environ, "PYTHON": str(stand_in)},
        capture_output=True,
        text=True,
        check=True,
    )
    command, path = told.stdout.splitlines()
    assert command == "-m affectrt.cli.gpu_check --seconds 3"
    assert path.split(os.pathsep)[0] == str(ROOT / "build/gpu-check/site")


def test_the_script_names_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHON": str(tmp_path / "none")}
    told = subprocess.run([ROOT / "scripts/gpu-check.sh"], env=env, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert "PYTHON=/path/to/python3" in told.stderr
