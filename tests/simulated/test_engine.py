"""The TensorRT engine on simulated hardware: its answers, what it allocates and frees, and what it says when it fails.

TensorRT is the strict fake, CUDA runs on the processor; PyCUDA and cuda-bindings are the real ones.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import pytest
from doubles.nvidia import faults
from doubles.static_plans import plan_from_graph
from doubles.tiny_bundle import make_tiny_bundle

from affectrt.bundle.errors import EngineError
from affectrt.bundle.store import Bundle
from affectrt.runtime.engines.base import Array, TensorSpec
from affectrt.runtime.engines.gpu import find_gpu
from affectrt.runtime.engines.onnxruntime_engine import OnnxRuntimeEngine
from affectrt.runtime.engines.padding import parts_of
from affectrt.runtime.engines.tensorrt_engine import Memory, TensorrtEngine

BATCHES = (1, 8)
STAGES = ("video", "audio", "fusion")
PAST_EVERY_CALL = 200


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny") / "tiny.affect")


@pytest.fixture(scope="module")
def graphs(tiny: Bundle) -> dict[str, bytes]:
    return {stage: tiny.read(tiny.graph_for(stage, "fp32")) for stage in STAGES}


@pytest.fixture(scope="module")
def plans(graphs: dict[str, bytes]) -> dict[str, bytes]:
    return {stage: plan_from_graph(graph, BATCHES) for stage, graph in graphs.items()}


def opened(plan: bytes, **given: Any) -> TensorrtEngine:
    return TensorrtEngine(plan, **{"batches": BATCHES, "provenance": {"stage": "tiny"}, **given})


def feeds_for(inputs: Mapping[str, TensorSpec], rows: int, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        name: rng.integers(0, 256, (rows, *spec.shape)).astype(spec.dtype)
        if spec.dtype == "uint8"
        else rng.standard_normal((rows, *spec.shape)).astype(spec.dtype)
        for name, spec in inputs.items()
    }


def expected(graph: bytes, feeds: Mapping[str, Array], batches: tuple[int, ...] = BATCHES) -> dict[str, Array]:
    """What ONNX Runtime makes of the same rows in the same batches, padding included."""
    rows = len(next(iter(feeds.values())))
    parts: list[Mapping[str, Array]] = []
    with OnnxRuntimeEngine(graph, threads=1, provenance={}, integer_kernels=False) as engine:
        for start, stop, batch in parts_of(rows, batches):
            padded = {
                name: np.concatenate([feed[start:stop], np.zeros((batch - stop + start, *feed.shape[1:]), feed.dtype)])
                for name, feed in feeds.items()
            }
            parts.append({name: out[: stop - start] for name, out in engine.infer(padded).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def assert_right(engine: TensorrtEngine, graph: bytes, rows: int, seed: int = 0) -> None:
    feeds = feeds_for(engine.inputs, rows, seed)
    found = engine.infer(feeds)
    wanted = expected(graph, feeds)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)


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
        for host in (engine._profiles[8].host[name] for name in engine.inputs):
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


def test_a_damaged_plan_is_refused_with_tensorrts_reason(plans: dict[str, bytes]) -> None:
    damaged = bytearray(plans["audio"])
    damaged[-1] ^= 1
    for plan, reason in ((bytes(damaged), "corrupt"), (b"no plan", "magicTag")):
        with pytest.raises(EngineError, match=reason) as caught:
            opened(plan)
        assert "affectrt build" in str(caught.value.fix)


def test_a_plan_of_another_version_is_refused_with_both_versions(plans: dict[str, bytes]) -> None:
    import hashlib

    import tensorrt

    version = tensorrt.__version__.encode()
    body = plans["audio"][:-32].replace(version, version[:-1] + b"9", 1)
    with pytest.raises(EngineError, match="not compatible with this version of TensorRT"):
        opened(body + hashlib.sha256(body).digest())


def test_a_dla_core_that_is_not_there_is_refused(plans: dict[str, bytes]) -> None:
    with pytest.raises(EngineError, match="there is no DLA core 0"):
        opened(plans["audio"], dla_core=0)


# -- failures of CUDA and TensorRT -----------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", ["mapped", "copied"])
@pytest.mark.parametrize(
    "function",
    ["cuDevicePrimaryCtxRetain", "cuStreamCreate", "cuMemHostAlloc", "cuMemAlloc_v2", "tensorrt_allocation"],
)
def test_an_allocation_that_fails_at_any_point_frees_all_before_it(
    graphs: dict[str, bytes], plans: dict[str, bytes], function: str, memory: Memory
) -> None:
    """PyCUDA tries a failed allocation again after collecting garbage; the failure must last to be one."""
    failed = 0
    for skip in range(PAST_EVERY_CALL):
        faults.reset()
        faults.cuda.fail(function, code=2, skip=skip, times=-1)
        try:
            engine = opened(plans["fusion"], memory=memory)
        except EngineError:
            failed += 1
            assert faults.cuda.leaks() == {}, f"{function} call {skip}"
            continue
        faults.cuda.fail(function, code=0, times=0)
        with engine:
            assert_right(engine, graphs["fusion"], 2)
        break
    else:
        pytest.fail("opening never succeeded")
    tensors, profiles = 3, len(BATCHES)
    least = {"cuMemHostAlloc": tensors * profiles, "cuMemAlloc_v2": tensors * profiles * (memory == "copied")}
    assert failed >= least.get(function, 1)


@pytest.mark.parametrize(
    ("method", "skip"),
    [
        ("Runtime.__init__", 0),
        ("Runtime.deserialize_cuda_engine", 0),
        *(
            (method, skip)
            for method in (
                "ICudaEngine.create_execution_context",
                "IExecutionContext.set_optimization_profile_async",
                "IExecutionContext.set_input_shape",
                "IExecutionContext.set_tensor_address",
                "IExecutionContext.execute_async_v3",
            )
            for skip in (0, 1)
        ),
    ],
)
def test_whatever_tensorrt_refuses_while_opening_is_told_in_its_own_words(
    plans: dict[str, bytes], method: str, skip: int
) -> None:
    faults.tensorrt.fail(method, skip=skip)
    with pytest.raises(EngineError, match="TensorRT failed at") as caught:
        opened(plans["audio"], cuda_graph=False)
    if method != "Runtime.__init__":
        assert "injected by a test" in caught.value.found
    assert faults.cuda.leaks() == {}


@pytest.mark.parametrize("memory", ["mapped", "copied"])
def test_a_failed_enqueue_gives_no_rows_and_the_next_call_is_right_again(
    graphs: dict[str, bytes], plans: dict[str, bytes], memory: Memory
) -> None:
    with opened(plans["audio"], cuda_graph=False, memory=memory) as engine:
        assert_right(engine, graphs["audio"], 2, seed=1)
        faults.tensorrt.fail("IExecutionContext.execute_async_v3")
        with pytest.raises(EngineError, match="injected by a test"):
            engine.infer(feeds_for(engine.inputs, 2, seed=2))
        assert_right(engine, graphs["audio"], 2, seed=3)


@pytest.mark.parametrize("function", ["cuGraphLaunch", "cuStreamSynchronize"])
def test_a_failed_replay_gives_no_rows_and_everything_is_captured_anew(
    graphs: dict[str, bytes], plans: dict[str, bytes], function: str
) -> None:
    with opened(plans["audio"]) as engine:
        assert_right(engine, graphs["audio"], 2, seed=1)
        captures = faults.cuda.counters()["captures"]
        faults.cuda.fail(function, code=719)
        with pytest.raises(EngineError, match="CUDA"):
            engine.infer(feeds_for(engine.inputs, 2, seed=2))
        assert_right(engine, graphs["audio"], 2, seed=3)
        assert faults.cuda.counters()["captures"] == captures + 1
        assert engine.provenance["cuda_graph"] == "captured"


def test_an_engine_whose_every_call_fails_can_still_be_closed(plans: dict[str, bytes]) -> None:
    with opened(plans["audio"]) as engine:
        feeds = feeds_for(engine.inputs, 1)
        faults.cuda.fail("cuGraphLaunch", code=719, times=-1)
        faults.tensorrt.fail("IExecutionContext.execute_async_v3", times=-1)
        for _ in range(3):
            with pytest.raises(EngineError):
                engine.infer(feeds)


@pytest.mark.parametrize("function", ["cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2"])
def test_a_failed_copy_is_an_error_too(graphs: dict[str, bytes], plans: dict[str, bytes], function: str) -> None:
    with opened(plans["audio"], cuda_graph=False, memory="copied") as engine:
        faults.cuda.fail(function, code=1)
        with pytest.raises(EngineError, match="CUDA failed at running an engine"):
            engine.infer(feeds_for(engine.inputs, 1))
        assert_right(engine, graphs["audio"], 1)


# -- capture ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", ["mapped", "copied"])
@pytest.mark.parametrize(
    "function",
    ["cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags", "cuGraphUpload", "enqueue"],
)
def test_where_capture_fails_the_engine_goes_on_and_says_so_once(
    graphs: dict[str, bytes],
    plans: dict[str, bytes],
    caplog: pytest.LogCaptureFixture,
    function: str,
    memory: Memory,
) -> None:
    if function == "enqueue":  # the first is the real one; the second is inside the capture
        faults.tensorrt.fail("IExecutionContext.execute_async_v3", skip=1)
    else:
        faults.cuda.fail(function, code=900)
    with opened(plans["audio"], memory=memory) as engine:
        assert engine.provenance["cuda_graph"].startswith("failed: ")
        for rows in (1, 3, 9):
            assert_right(engine, graphs["audio"], rows)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "without a CUDA graph" in caplog.text


def test_a_capture_that_something_spoils_ends_and_leaves_the_stream_usable(
    graphs: dict[str, bytes], plans: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An allocation while a capture goes on, as code that nobody warned may make it."""
    from pycuda import driver

    from affectrt.runtime.engines.device_buffers import DeviceBuffers

    copy_out = DeviceBuffers.copy_out
    calls = []

    def meddle(self: DeviceBuffers, stream: Any) -> None:
        calls.append(1)
        if len(calls) % 2 == 0:  # the second of each profile is the captured one
            driver.mem_alloc(64).free()
        copy_out(self, stream)

    with monkeypatch.context() as patch:
        patch.setattr(DeviceBuffers, "copy_out", meddle)
        engine = opened(plans["audio"], memory="copied")
    with engine:
        assert engine.provenance["cuda_graph"].startswith("failed: ")
        assert_right(engine, graphs["audio"], 9)


def test_a_change_of_shapes_or_addresses_is_captured_anew(graphs: dict[str, bytes], plans: dict[str, bytes]) -> None:
    with opened(plans["audio"]) as engine:
        before = faults.cuda.counters()
        with engine._context:
            engine._profiles[8].prepare()
        after = faults.cuda.counters()
        assert after["captures"] == before["captures"] + 1
        assert after["graph_execs_destroyed"] == before["graph_execs_destroyed"] + 1
        assert after["device_allocations"] == before["device_allocations"]
        assert_right(engine, graphs["audio"], 8)
