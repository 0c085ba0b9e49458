"""Runs tests/simulated once per TensorRT version, each in a process whose TensorRT and CUDA are *simulated*.

There the API is that of the real bindings, PyCUDA and cuda-bindings are the real ones, the driver is the CPU and ONNX
Runtime does the arithmetic. It proves order, lifetimes, errors and results; it says nothing about kernels or speed.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
from doubles.nvidia.child import child_command, child_environment
from doubles.nvidia.prepare import ROOT, VERSIONS, UnpreparedError

# Fewer means that some were not collected.
LEAST = 230
# The first run builds PyCUDA.
pytestmark = pytest.mark.timeout(1800)


@dataclass(frozen=True)
class Ran:
    done: subprocess.CompletedProcess[str]
    report: Path
    seconds: float


def run_child(version: str, chosen: str, report: Path) -> Ran:
    """Raises UnpreparedError."""
    arguments = ["tests/simulated", "-q", f"--junitxml={report}", *(["-m", chosen] if chosen else [])]
    environment, start = child_environment(version), time.monotonic()
    done = subprocess.run(
        child_command(arguments), cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return Ran(done, report, time.monotonic() - start)


@pytest.fixture(scope="module")
def children(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Ran]]]:
    """Of all versions that were asked for, as many at once as there are cores: each computes on one."""
    asked = [item.callspec.params["version"] for item in request.session.items if item.path == request.path]
    folder, chosen = tmp_path_factory.mktemp("simulated"), request.config.getoption("markexpr")
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        yield {version: pool.submit(run_child, version, chosen, folder / f"{version}.xml") for version in asked}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_all_that_needs_tensorrt_holds_on_the_simulated_one(
    version: str, children: dict[str, Future[Ran]], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        ran_child = children[version].result()
    except UnpreparedError as error:
        pytest.skip(f"no simulated TensorRT on this machine: {error}")
    done = ran_child.done
    said = "\n".join((done.stdout + done.stderr).splitlines()[-80:])
    assert done.returncode == 0, said
    (suite,) = ElementTree.parse(ran_child.report).getroot().iter("testsuite")
    skipped = [case.attrib["message"] for case in suite.iter("skipped")]
    ran = int(suite.attrib["tests"]) - len(skipped)
    assert ran >= LEAST, said
    with capsys.disabled():
        print(f"\nsimulated TensorRT {version}: {ran} tests passed in {ran_child.seconds:.0f} s", end="")
        print(f", {len(skipped)} skipped: {'; '.join(sorted(set(skipped)))}" if skipped else "")
