"""Runs tests/simulated once per TensorRT version, each in a process whose TensorRT and CUDA are *simulated*.

There the API is that of the real bindings, PyCUDA and cuda-bindings are the real ones, the driver is the CPU and ONNX
Runtime does the arithmetic. It proves order, lifetimes, errors and results; it says nothing about kernels or speed.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
from doubles.nvidia.child import child_command, child_environment
from doubles.nvidia.prepare import ROOT, VERSIONS, UnpreparedError

# Fewer means that some were not collected.
LEAST = 200
# The first run builds PyCUDA.
pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize("version", VERSIONS)
def test_all_that_needs_tensorrt_holds_on_the_simulated_one(
    version: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        environment = child_environment(version)
    except UnpreparedError as error:
        pytest.skip(f"no simulated TensorRT on this machine: {error}")
    report = tmp_path / "report.xml"
    chosen = request.config.getoption("markexpr")
    arguments = ["tests/simulated", "-q", f"--junitxml={report}", *(["-m", chosen] if chosen else [])]
    start = time.monotonic()
    done = subprocess.run(
        child_command(arguments), cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    said = "\n".join((done.stdout + done.stderr).splitlines()[-80:])
    assert done.returncode == 0, said
    (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    skipped = [case.attrib["message"] for case in suite.iter("skipped")]
    ran = int(suite.attrib["tests"]) - len(skipped)
    assert ran >= LEAST, said
    with capsys.disabled():
        print(f"\nsimulated TensorRT {version}: {ran} tests passed in {time.monotonic() - start:.0f} s", end="")
        print(f", {len(skipped)} skipped: {'; '.join(sorted(set(skipped)))}" if skipped else "")
