"""These tests run in the child of `tests/test_simulated_nvidia.py` alone; elsewhere nothing here is collected."""

import gc
import importlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

IN_CHILD = "SIMULATED_TENSORRT" in os.environ

if not IN_CHILD:
    collect_ignore_glob = ["*"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "may_leak: this simulated test leaves device objects behind on purpose")
    config.addinivalue_line("markers", "may_misuse: this simulated test misuses TensorRT on purpose")
    config.addinivalue_line("markers", "one_version: what this simulated test is about is the same in all versions")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from doubles.nvidia.prepare import VERSIONS

    first = VERSIONS[0]
    if not IN_CHILD or Path(os.environ["SIMULATED_TENSORRT"]).parent.name == f"description-{first}":
        return
    for item in items:
        if item.get_closest_marker("one_version"):
            item.add_marker(pytest.mark.skip(reason=f"the same in all versions, and proved on {first}"))


@pytest.fixture(scope="session", autouse=IN_CHILD)
def frozen_libraries() -> None:
    """The libraries' own objects are out of the garbage collector's way, which runs after every test."""
    for name in ("onnx.shape_inference", "onnxruntime", "pycuda.driver", "tensorrt"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=IN_CHILD)
def clean_simulation(request: pytest.FixtureRequest, frozen_libraries: None) -> Iterator[None]:
    """Every test starts without faults, and must leave no memory, stream, event, graph or context behind."""
    from doubles.nvidia import faults

    faults.reset()
    yield
    gc.collect()
    leaks, misuses = faults.cuda.leaks(), list(faults.tensorrt.misuses)
    faults.reset()
    if not request.node.get_closest_marker("may_leak"):
        assert not leaks, f"left behind (made minus given back): {leaks}"
    if not request.node.get_closest_marker("may_misuse"):
        assert not misuses
