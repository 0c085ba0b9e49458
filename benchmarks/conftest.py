"""The suites take bundles and a clip from the command line; `affectrt bench` without a bundle makes and passes them.

pytest benchmarks --bundle demo=rcma-demo.affect --media clip.mp4
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from affectrt.benchmarks.machine import machine_facts
from affectrt.benchmarks.peak import Peak, measure_peak
from affectrt.benchmarks.results import BenchResults, print_results, save_results
from affectrt.benchmarks.stages import batches_of
from affectrt.bundle.store import Bundle, open_bundle

RESULTS = pytest.StashKey[BenchResults]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("affectrt")
    group.addoption(
        "--bundle", action="append", default=[], metavar="NAME=PATH", help="a bundle to measure; repeatable"
    )
    group.addoption("--media", metavar="FILE", help="a clip for whole-pipeline runs")
    group.addoption("--engine-threads", type=int, metavar="N", help="threads of the engines (default: all cores)")
    group.addoption("--repeats", type=int, default=3, metavar="N", help="repeats of whole-pipeline runs")
    group.addoption("--results", metavar="PATH", help="write JSON to this file, or into this folder")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = BenchResults(machine_facts())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a bundle, precision, stage and batch, as far as a test names them."""
    wanted = [name for name in ("model", "stage", "precision", "batch") if name in metafunc.fixturenames]
    if "model" not in wanted:
        return
    rows: dict[tuple[object, ...], str] = {}
    for name, path in _bundles(metafunc.config).items():
        bundle = _open(path)
        for stage in bundle.contract.stages if "stage" in wanted else ("",):
            for precision in bundle.precisions() if "precision" in wanted else ("fp32",):
                for batch in batches_of(bundle.contract, stage) if "batch" in wanted else (1,):
                    row = {"model": name, "stage": stage, "precision": precision, "batch": batch}
                    values = tuple(row[key] for key in wanted)
                    rows[values] = "-".join(str(value) for value in values)
    if rows:
        metafunc.parametrize(wanted, list(rows), ids=list(rows.values()))
    else:
        reason = "needs --bundle NAME=PATH; `affectrt bench` makes and passes bundles"
        metafunc.parametrize(wanted, [pytest.param(*[None] * len(wanted), marks=pytest.mark.skip(reason=reason))])


@pytest.fixture
def results(request: pytest.FixtureRequest) -> BenchResults:
    return request.config.stash[RESULTS]


@pytest.fixture
def bundle(request: pytest.FixtureRequest, model: str, results: BenchResults) -> Bundle:
    opened = _open(_bundles(request.config)[model])
    results.bundles[model] = opened.fingerprint
    return opened


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> int | None:
    given: int | None = request.config.getoption("--engine-threads")
    return given


@pytest.fixture
def media(request: pytest.FixtureRequest) -> Path:
    given: str | None = request.config.getoption("--media")
    if given is None:
        pytest.skip("needs --media FILE")
    return Path(given)


@pytest.fixture(scope="session")
def peak(request: pytest.FixtureRequest) -> Iterator[Peak]:
    """Measured once, in the same run and with the same threads as what is held to it."""
    found = measure_peak(threads=request.config.getoption("--engine-threads"))
    request.config.stash[RESULTS].peak = found
    yield found


def pytest_terminal_summary(config: pytest.Config) -> None:
    results = config.stash[RESULTS]
    if not (results.stages or results.pipelines or results.session_ms_per_step):
        return
    from rich.console import Console

    print_results(results, Console() if sys.stdout.isatty() else Console(width=120))
    target: str | None = config.getoption("--results")
    if target is not None:
        print(f"saved {save_results(results, target)}")


def _bundles(config: pytest.Config) -> dict[str, str]:
    named = [given.partition("=") for given in config.getoption("--bundle")]
    if any(not path for _, _, path in named):
        raise pytest.UsageError("--bundle takes NAME=PATH")
    return {name: path for name, _, path in named}


@cache
def _open(path: str) -> Bundle:
    return open_bundle(path)
