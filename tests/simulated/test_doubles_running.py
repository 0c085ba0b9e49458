"""The simulated execution context and driver hold callers to the order, lifetimes and threads of the real ones."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from cuda.bindings import driver as cu
from doubles.nvidia import faults
from doubles.nvidia.primary import check, primary_context
from doubles.nvidia.rig import BYTES, FRAMES, rigged
from doubles.nvidia.small_graph import small_graph

THREAD_LOCAL = cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL


@pytest.fixture
def rig():
    with rigged() as made:
        yield made


def expected(frames: np.ndarray) -> np.ndarray:
    import onnxruntime as ort

    return ort.InferenceSession(small_graph(), providers=["CPUExecutionProvider"]).run(None, {"frames": frames})[0]


# --- order ------------------------------------------------------------------------------------------------------------


def test_results_are_there_after_the_wait_and_not_before(rig):
    rig.prepare()
    rig.array("frames")[...] = np.random.default_rng(1).integers(0, 255, FRAMES)
    rig.array("scores")[...] = -1
    assert rig.put()
    assert (rig.array("scores") == -1).all()
    rig.wait()
    np.testing.assert_array_equal(rig.array("scores"), expected(rig.array("frames")))


def test_an_input_refilled_before_the_wait_changes_the_result(rig):
    rig.prepare()
    rig.array("frames")[...] = 1
    wanted = expected(rig.array("frames"))
    assert rig.put()
    rig.array("frames")[...] = 200
    rig.wait()
    assert not np.array_equal(rig.array("scores"), wanted)


def test_a_dynamic_shape_must_be_set_and_fit_the_profile(rig):
    assert rig.context.infer_shapes() == ["frames"]
    assert not rig.put() and "shapes of frames" in rig.logger.errors[-1]
    assert not rig.context.set_input_shape("frames", FRAMES)  # profile 0 is for one frame
    assert not rig.context.set_optimization_profile_async(2, int(rig.stream))
    rig.prepare()
    assert rig.context.infer_shapes() == [] and tuple(rig.context.get_tensor_shape("scores")) == (2, 2)


def test_every_tensor_needs_an_address(rig):
    rig.prepare()
    assert rig.context.set_tensor_address("scores", 0)
    assert not rig.put() and "scores" in rig.logger.errors[-1]
    assert not rig.context.set_tensor_address("score", rig.memory["scores"])
    assert not rig.context.set_tensor_address("scores", rig.memory["scores"] + 4)


@pytest.mark.may_misuse
def test_an_address_of_the_host_is_noted(rig):
    assert not rig.context.set_tensor_address("scores", rig.host["scores"])
    assert faults.tensorrt.misuses


@pytest.mark.may_misuse
def test_memory_freed_before_the_enqueue_is_noted(rig):
    rig.prepare()
    check(cu.cuMemFree(rig.memory["scores"]))
    assert not rig.context.execute_async_v3(int(rig.stream))
    rig.memory["scores"] = int(check(cu.cuMemAlloc(BYTES["scores"])))
    assert "scores" in faults.tensorrt.misuses[0]


def test_a_wrong_stream_is_refused(rig):
    rig.prepare()
    with pytest.raises(TypeError):
        rig.context.execute_async_v3("stream")
    assert not rig.context.execute_async_v3(12345) and "400" in rig.logger.errors[-1]


def test_a_thread_without_a_current_context_cannot_enqueue(rig):
    rig.prepare()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(rig.context.execute_async_v3(int(rig.stream))))
    thread.start()
    thread.join()
    assert answers == [False] and "201" in rig.logger.errors[-1]


@pytest.mark.may_misuse
def test_one_context_in_two_threads_is_noted(rig):
    rig.prepare()
    assert rig.context.execute_async_v3(int(rig.stream))

    def enqueue() -> None:
        with primary_context():
            rig.context.execute_async_v3(int(rig.stream))

    thread = threading.Thread(target=enqueue)
    thread.start()
    thread.join()
    rig.wait()
    assert "two threads" in faults.tensorrt.misuses[0]


def test_two_contexts_share_a_profile(rig):
    rig.prepare()
    other = rig.context.engine.create_execution_context()
    assert other.set_optimization_profile_async(1, int(rig.stream)) and other.set_input_shape("frames", FRAMES)
    for name, address in rig.memory.items():
        assert other.set_tensor_address(name, address)
    assert rig.put() and other.execute_async_v3(int(rig.stream))
    rig.wait()


# --- capture ----------------------------------------------------------------------------------------------------------


def capture(rig) -> tuple[bool, int, object]:
    check(cu.cuStreamBeginCapture(rig.stream, THREAD_LOCAL))
    fine = rig.context.execute_async_v3(int(rig.stream))
    failure, graph = cu.cuStreamEndCapture(rig.stream)
    return fine, int(failure), graph


def test_the_first_enqueue_after_a_change_cannot_be_captured(rig):
    rig.prepare()
    assert capture(rig)[:2] == (False, 901)
    assert rig.put()
    rig.wait()
    fine, failure, graph = capture(rig)
    assert (fine, failure) == (True, 0)
    check(cu.cuGraphDestroy(graph))
    assert rig.context.set_optimization_profile_async(0, int(rig.stream))
    assert rig.context.set_input_shape("frames", (1, 8, 8, 3))
    assert capture(rig)[:2] == (False, 901)


def test_a_captured_graph_computes_at_every_launch(rig):
    rig.prepare()
    assert rig.put()
    rig.wait()
    check(cu.cuStreamBeginCapture(rig.stream, THREAD_LOCAL))
    assert rig.put()
    graph = check(cu.cuStreamEndCapture(rig.stream))
    replay = check(cu.cuGraphInstantiate(graph, 0))
    check(cu.cuGraphDestroy(graph))
    for seed in range(3):
        rig.array("frames")[...] = np.random.default_rng(seed).integers(0, 255, FRAMES)
        check(cu.cuGraphLaunch(replay, rig.stream))
        rig.wait()
        np.testing.assert_array_equal(rig.array("scores"), expected(rig.array("frames")))
    assert faults.cuda.counters()["graph_launches"] == 3
    check(cu.cuGraphExecDestroy(replay))


def test_allocating_or_waiting_spoils_a_capture(rig):
    for forbidden in (
        lambda: cu.cuMemAlloc(16)[0],
        lambda: cu.cuStreamSynchronize(rig.stream)[0],
        lambda: cu.cuCtxSynchronize()[0],
    ):
        check(cu.cuStreamBeginCapture(rig.stream, THREAD_LOCAL))
        assert int(forbidden()) == 900
        assert int(cu.cuStreamEndCapture(rig.stream)[0]) == 901


def test_another_thread_may_allocate_during_a_thread_local_capture(rig):
    check(cu.cuStreamBeginCapture(rig.stream, THREAD_LOCAL))
    ended = []

    def allocate() -> None:
        with primary_context():
            check(cu.cuMemFree(check(cu.cuMemAlloc(16))))
            ended.append(int(cu.cuStreamEndCapture(rig.stream)[0]))

    thread = threading.Thread(target=allocate)
    thread.start()
    thread.join()
    assert ended == [908]
    check(cu.cuGraphDestroy(check(cu.cuStreamEndCapture(rig.stream))))


def test_capture_states_answer_with_the_drivers_codes(rig):
    assert int(cu.cuStreamEndCapture(rig.stream)[0]) == 401
    assert int(cu.cuStreamBeginCapture(cu.CUstream(0), THREAD_LOCAL)[0]) == 900
    check(cu.cuStreamBeginCapture(rig.stream, THREAD_LOCAL))
    assert int(cu.cuStreamBeginCapture(rig.stream, THREAD_LOCAL)[0]) == 401
    pageable = np.zeros(BYTES["frames"], np.uint8)
    assert int(cu.cuMemcpyHtoDAsync(rig.memory["frames"], pageable.ctypes.data, pageable.nbytes, rig.stream)[0]) == 900
    check(cu.cuGraphDestroy(check(cu.cuStreamEndCapture(rig.stream))))


@pytest.mark.may_misuse
def test_replaying_after_the_execution_context_is_gone_is_noted(rig):
    rig.prepare()
    assert rig.put()
    rig.wait()
    _, _, graph = capture(rig)
    replay = check(cu.cuGraphInstantiate(graph, 0))
    rig.context = None
    gc.collect()
    check(cu.cuGraphLaunch(replay, rig.stream))
    rig.wait()
    cu.cuGraphExecDestroy(replay)
    cu.cuGraphDestroy(graph)
    assert "destroyed" in faults.tensorrt.misuses[0]
