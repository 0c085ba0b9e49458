"""Facts are read off files and packages as they are; what crashes on import takes doctor nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from affectrt.cli.nvidia import Facts, gather_facts, traps_from_facts
from affectrt.cli.nvidia.gathering import import_in_child

from .conftest import Ran

Run = Callable[..., Ran]


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_jetsons_files_say_what_it_is(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
            "etc/nv_tegra_release": "# R39 (release), REVISION: 2.1, GCID: 1, BOARD: generic",
            "usr/local/cuda/version.json": '{"cuda": {"name": "CUDA SDK", "version": "13.2.20"}}',
            "usr/lib/python3.12/dist-packages/tensorrt/__init__.py": "",
            "proc/meminfo": "MemTotal:        7990000 kB\nSwapTotal:             0 kB\n",
            "dev/nvgpu": "",
            ".dockerenv": "",
        },
    )
    facts = gather_facts(root)
    assert facts.board == "NVIDIA Jetson Orin Nano Developer Kit"
    assert (facts.l4t, facts.toolkit, facts.swap_bytes, facts.memory_bytes) == ("39.2.1", "13.2.20", 0, 7990000 * 1024)
    assert facts.container and facts.device_files and facts.orin and facts.nvidia
    assert facts.system_tensorrt == str(root / "usr/lib/python3.12/dist-packages/tensorrt")
    assert {"no DLA", "no swap"} <= {finding.name for finding in traps_from_facts(facts)}


def test_files_that_are_not_there_or_broken_are_no_error(tmp_path: Path) -> None:
    broken = {"usr/local/cuda/version.json": "{", "proc/meminfo": "?", "proc/device-tree/model": "Raspberry Pi 5\0"}
    facts = gather_facts(write(tmp_path, broken))
    assert (facts.board, facts.l4t, facts.memory_bytes, facts.swap_bytes) == (None, None, None, None)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("raise ImportError('libnvdla_compiler.so: cannot open shared object file')", "libnvdla_compiler.so: cannot"),
        ("import os; os.abort()", "ended Python with code"),
        ("import absent_helper", "absent_helper"),
    ],
)
def test_a_tensorrt_that_breaks_is_told_with_its_reason(
    code: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"tensorrt/__init__.py": code})
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    loaded, library = import_in_child("tensorrt")
    assert (loaded.version, library) == (None, None)
    assert problem in (loaded.problem or "")


def test_two_tensorrts_are_found_in_the_order_of_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("second", "first"):
        write(tmp_path / name, {"tensorrt/__init__.py": f"__version__ = '10.{len(name)}.0'"})
        monkeypatch.syspath_prepend(str(tmp_path / name))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(tmp_path / name) for name in ("first", "second")))
    facts = gather_facts()
    assert facts.tensorrt_places[:2] == tuple(str(tmp_path / name / "tensorrt") for name in ("first", "second"))
    assert facts.tensorrt.version == "10.5.0"
    assert "TensorRT installed twice" in {finding.name for finding in traps_from_facts(facts)}


def test_doctor_carries_every_fact_in_json(run: Run) -> None:
    record = json.loads(run("doctor", "--json").out)
    assert record["nvidia"].keys() == Facts.__dataclass_fields__.keys()
    assert {"accelerator", "cpu"} <= {finding["tier"] for finding in record["findings"]}


def test_doctor_says_nothing_of_being_unused(run: Run) -> None:
    told = run("doctor").out
    assert "not used by this version" not in told
    assert "NVIDIA GPU and TensorRT" in told


def test_doctor_works_where_tensorrt_kills_the_process(tmp_path: Path) -> None:
    pytest.importorskip("gi")
    write(tmp_path, {"tensorrt/__init__.py": "import os; os.abort()"})
    answer = subprocess.run(
        [sys.executable, "-m", "affectrt.cli.main", "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    (found,) = (f for f in json.loads(answer.stdout)["findings"] if f["name"] == "tensorrt")
    assert found["ok"] is False
    assert "ended Python with code" in found["found"]
