"""The TensorRT engine where simulated calls fail: what is freed, what is told, what works afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from doubles.engine_checks import BATCHES, assert_right, feeds_for, opened, tiny_graphs, tiny_plans
from doubles.nvidia import faults

from affectrt.bundle.errors import EngineError
from affectrt.runtime.engines.tensorrt_engine import Memory
from affectrt.runtime.engines.tensorrt_tensors import ProfileSize

PAST_EVERY_CALL = 200


@pytest.fixture(scope="module")
def graphs() -> dict[str, bytes]:
    return tiny_graphs()


@pytest.fixture(scope="module")
def plans() -> dict[str, bytes]:
    return tiny_plans()


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


def test_a_wait_that_fails_while_opening_leaves_nothing_running(
    graphs: dict[str, bytes], plans: dict[str, bytes]
) -> None:
    for skip in range(PAST_EVERY_CALL):
        faults.reset()
        faults.cuda.fail("cuStreamSynchronize", code=719, skip=skip)
        try:
            engine = opened(plans["audio"], cuda_graph=False)
        except EngineError:
            assert faults.cuda.leaks() == {} and faults.tensorrt.misuses == []
            continue
        break
    engine.close()
    assert skip == 2 * len(BATCHES)  # each profile waits for its choice and for its first run


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
        for seed in (1, 2):
            assert_right(engine, graphs["audio"], 2, seed=seed)
            faults.tensorrt.fail("IExecutionContext.execute_async_v3")
            with pytest.raises(EngineError) as caught:
                engine.infer(feeds_for(engine.inputs, 2, seed=9))
            assert caught.value.found.count("injected by a test") == 1  # nothing of what was logged before
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
            engine._profiles[ProfileSize(8)].prepare()
        after = faults.cuda.counters()
        assert after["captures"] == before["captures"] + 1
        assert after["graph_execs_destroyed"] == before["graph_execs_destroyed"] + 1
        assert after["device_allocations"] == before["device_allocations"]
        assert_right(engine, graphs["audio"], 8)
