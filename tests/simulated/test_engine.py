"""The TensorRT engine on simulated hardware: its answers, what it allocates, its threads, and wrong use.

TensorRT is the strict fake, CUDA runs on the processor; PyCUDA and cuda-bindings are the real ones.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Any, get_args

import numpy as np
import pytest
from doubles.engine_checks import (
    BATCHES,
    STAGES,
    assert_right,
    expected,
    feeds_for,
    opened,
    tiny_graphs,
    tiny_plans,
)
from doubles.nvidia import faults
from doubles.static_plans import plan_from_graph

from affectrt.bundle.errors import EngineError
from affectrt.runtime.engines.gpu import find_gpu
from affectrt.runtime.engines.tensorrt_engine import Memory
from affectrt.runtime.engines.tensorrt_tensors import ProfileSize


@pytest.fixture(scope="module")
def graphs() -> dict[str, bytes]:
    return tiny_graphs()


@pytest.fixture(scope="module")
def plans() -> dict[str, bytes]:
    return tiny_plans()


# -- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", get_args(Memory))
@pytest.mark.parametrize("cuda_graph", [True, False])
@pytest.mark.parametrize("stage", STAGES)
def test_any_number_of_rows_gives_what_onnx_runtime_gives(
    graphs: dict[str, bytes], plans: dict[str, bytes], stage: str, cuda_graph: bool, memory: Memory
) -> None:
    with opened(plans[stage], cuda_graph=cuda_graph, memory=memory) as engine:
        for rows in range(1, 11):
            assert_right(engine, graphs[stage], rows, seed=rows)
        assert engine.provenance["cuda_graph"] == ("captured" if cuda_graph else "off")
        assert faults.cuda.counters()["captures"] == (len(BATCHES) if cuda_graph else 0)


def test_provenance_tells_device_memory_and_version(plans: dict[str, bytes]) -> None:
    import tensorrt

    with opened(plans["audio"]) as engine:
        facts = engine.provenance
    assert (facts["backend"], facts["backend_version"]) == ("tensorrt", tensorrt.__version__)
    assert find_gpu().name in facts["device"] and facts["stage"] == "tiny"


@pytest.mark.parametrize(("integrated", "memory"), [(1, "mapped"), (0, "copied")])
def test_an_integrated_gpu_reads_the_processors_memory_and_others_are_sent_copies(
    graphs: dict[str, bytes], plans: dict[str, bytes], integrated: int, memory: str
) -> None:
    faults.cuda.set_attribute("integrated", integrated)
    with opened(plans["fusion"]) as engine:
        assert engine.provenance["memory"] == memory
        assert_right(engine, graphs["fusion"], 3)
        counters = faults.cuda.counters()
    assert bool(counters["copies"]) == bool(counters["device_allocations"]) == (memory == "copied")


def test_padding_is_zeros_whatever_was_computed_before(graphs: dict[str, bytes], plans: dict[str, bytes]) -> None:
    with opened(plans["fusion"]) as engine:
        assert_right(engine, graphs["fusion"], 8)
        assert_right(engine, graphs["fusion"], 3)
        for host in (engine._profiles[ProfileSize(8)].host[name] for name in engine.inputs):
            assert host[:3].any() and not host[3:].any()


def test_results_are_the_callers_to_keep(plans: dict[str, bytes]) -> None:
    with opened(plans["audio"]) as engine:
        first = engine.infer(feeds_for(engine.inputs, 2, seed=1))["features"]
        kept = first.copy()
        engine.infer(feeds_for(engine.inputs, 2, seed=2))
    np.testing.assert_array_equal(first, kept)


def test_feeds_that_are_not_contiguous_are_read_right(graphs: dict[str, bytes], plans: dict[str, bytes]) -> None:
    with opened(plans["audio"]) as engine:
        whole = feeds_for(engine.inputs, 6)["waveform"]
        found = engine.infer({"waveform": whole[::2]})
    np.testing.assert_array_equal(found["features"], expected(graphs["audio"], {"waveform": whole[::2]})["features"])


def test_profiles_are_quiet_towards_profilers(plans: dict[str, bytes]) -> None:
    with opened(plans["audio"]):
        told = [args for kind, name, args, _ in faults.tensorrt.calls if name == "nvtx_verbosity="]
    assert len(told) == len(BATCHES) and all("NONE" in str(args[0]) for args in told)


# -- nothing in steady state -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuda_graph", [True, False])
@pytest.mark.parametrize("memory", ["mapped", "copied"])
def test_a_thousand_calls_allocate_nothing(plans: dict[str, bytes], cuda_graph: bool, memory: Memory) -> None:
    with opened(plans["audio"], cuda_graph=cuda_graph, memory=memory) as engine:
        one, nine = feeds_for(engine.inputs, 1), feeds_for(engine.inputs, 9)
        before = faults.cuda.counters()
        for _ in range(500):
            engine.infer(one)
            engine.infer(nine)
        after = faults.cuda.counters()
    changed = {name for name, value in after.items() if value != before[name]}
    assert changed <= {"copies", "host_functions", "graph_launches", "synchronisations"}
    assert ("graph_launches" in changed) == cuda_graph


def test_engines_of_one_thread_close_in_any_order(graphs: dict[str, bytes], plans: dict[str, bytes]) -> None:
    engines = {stage: opened(plans[stage]) for stage in STAGES}
    for stage in STAGES:  # first opened, first closed
        assert_right(engines[stage], graphs[stage], 2)
        engines.pop(stage).close()
    assert faults.cuda.counters()["contexts_released"] == len(STAGES)


def test_closing_twice_is_closing_once_and_a_closed_engine_computes_nothing(plans: dict[str, bytes]) -> None:
    engine = opened(plans["audio"])
    feeds = feeds_for(engine.inputs, 1)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer(feeds)


def test_a_context_that_somebody_else_uses_stays_theirs(plans: dict[str, bytes]) -> None:
    """torch, for one, leaves the primary context current in every thread that it is used in."""
    from pycuda import driver

    driver.init()
    theirs = driver.Device(0).retain_primary_context()
    theirs.push()
    try:
        opened(plans["audio"]).close()
        assert faults.cuda.counters()["context_depth"] == 1
        driver.mem_alloc(64).free()
    finally:
        driver.Context.pop()
        theirs.detach()
        from cuda.bindings import driver as cuda

        cuda.cuCtxPopCurrent()  # PyCUDA leaves it on the stack: see PrimaryContext


# -- threads ---------------------------------------------------------------------------------------------------------


def in_thread(work: Any) -> Any:
    """What `work` gives, or raises, in a thread of its own."""
    result: list[Any] = []

    def run() -> None:
        try:
            result.append((work(), None))
        except BaseException as error:
            result.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    value, error = result[0]
    if error is not None:
        raise error
    return value


def test_another_thread_may_neither_compute_nor_close(graphs: dict[str, bytes], plans: dict[str, bytes]) -> None:
    with opened(plans["audio"]) as engine:
        feeds = feeds_for(engine.inputs, 1)
        for work in (lambda: engine.infer(feeds), engine.close):
            with pytest.raises(EngineError, match="belongs to another thread"):
                in_thread(work)
        assert_right(engine, graphs["audio"], 1)


def test_two_engines_in_two_threads_compute_at_once(graphs: dict[str, bytes], plans: dict[str, bytes]) -> None:
    ready = threading.Barrier(2, timeout=60)
    failures: list[BaseException] = []

    def work(stage: str) -> None:
        try:
            with opened(plans[stage]) as engine:
                feeds = feeds_for(engine.inputs, 9)
                wanted = expected(graphs[stage], feeds)
                ready.wait()
                for _ in range(50):
                    for name, array in engine.infer(feeds).items():
                        np.testing.assert_array_equal(array, wanted[name])
            assert faults.cuda.counters()["context_depth"] == 0
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(stage,)) for stage in ("audio", "fusion")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# -- wrong use -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feeds", "found"),
    [
        ({}, "inputs none"),
        ({"video": np.zeros((1, 10, 3), np.float32)}, "inputs video"),
        ({"video": np.zeros((1, 10, 4), np.float32), "audio": np.zeros((1, 10, 2), np.float32)}, "[1, 10, 4]"),
        ({"video": np.zeros((1, 10, 3), np.float64), "audio": np.zeros((1, 10, 2), np.float32)}, "float64"),
        ({"video": np.zeros((1, 10, 3), np.float32), "audio": [[0.0]]}, "'audio' is list"),
        ({"video": np.zeros((2, 10, 3), np.float32), "audio": np.zeros((1, 10, 2), np.float32)}, "[1, 2] rows"),
        ({"video": np.zeros((0, 10, 3), np.float32), "audio": np.zeros((0, 10, 2), np.float32)}, "[0] rows"),
        ({"video": np.zeros((), np.float32), "audio": np.zeros((1, 10, 2), np.float32)}, "float32 []"),
    ],
)
def test_wrong_feeds_are_told_with_what_is_expected(
    graphs: dict[str, bytes], plans: dict[str, bytes], feeds: dict[str, Any], found: str
) -> None:
    with opened(plans["fusion"]) as engine:
        with pytest.raises(EngineError) as caught:
            engine.infer(feeds)
        assert found in caught.value.found and caught.value.expected
        assert_right(engine, graphs["fusion"], 1)


@pytest.mark.parametrize("batches", [(1,), (1, 4), (1, 8, 16)])
def test_an_engine_of_other_batches_than_its_record_says_is_refused(
    plans: dict[str, bytes], batches: tuple[int, ...]
) -> None:
    with pytest.raises(EngineError, match=r"profiles for batches \[1, 8\]") as caught:
        opened(plans["audio"], batches=batches)
    assert str(list(batches)) in str(caught.value.expected)


def test_an_engine_of_a_range_of_batches_is_refused(graphs: dict[str, bytes]) -> None:
    """Its graphs could not be captured once for all."""
    with pytest.raises(EngineError, match=r"profile 0 has batches \[1, 4, 8\]"):
        opened(plan_from_graph(graphs["audio"], [(1, 4, 8)]), batches=(8,))


def test_a_damaged_plan_is_refused_with_tensorrts_reason(plans: dict[str, bytes]) -> None:
    damaged = bytearray(plans["audio"])
    damaged[-1] ^= 1
    for plan, reason in ((bytes(damaged), "corrupt"), (b"no plan", "magicTag")):
        with pytest.raises(EngineError, match=reason) as caught:
            opened(plan)
        assert "affectrt build" in str(caught.value.fix)


def test_a_plan_of_another_version_is_refused_with_both_versions(plans: dict[str, bytes]) -> None:
    import tensorrt

    version = tensorrt.__version__.encode()
    body = plans["audio"][:-32].replace(version, version[:-1] + b"9", 1)
    with pytest.raises(EngineError, match="not compatible with this version of TensorRT"):
        opened(body + hashlib.sha256(body).digest())


def test_a_dla_core_that_is_not_there_is_refused(plans: dict[str, bytes]) -> None:
    with pytest.raises(EngineError, match="there is no DLA core 0"):
        opened(plans["audio"], dla_core=0)
