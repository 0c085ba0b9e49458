"""The simulated driver checks memory and handles, counts what is left behind, and fails where a test says so."""

from __future__ import annotations

import gc

import pytest
import tensorrt as trt
from cuda.bindings import driver as cu
from doubles.nvidia import faults
from doubles.nvidia.behaviour import NotSimulatedError
from doubles.nvidia.primary import check
from doubles.nvidia.rig import plan_for_two, rigged


@pytest.fixture
def rig():
    with rigged() as made:
        yield made


def test_copies_outside_of_live_memory_are_refused(rig):
    big = 1 << 20
    assert int(cu.cuMemcpyHtoD(rig.memory["scores"], rig.host["frames"], big)[0]) == 1
    assert int(cu.cuMemFree(rig.memory["scores"] + 1)[0]) == 1


def test_only_memory_made_for_mapping_has_an_address_on_the_device(rig):
    assert int(cu.cuMemHostGetDevicePointer(rig.host["scores"], 0)[0]) == 1
    mapped = check(cu.cuMemHostAlloc(64, cu.CU_MEMHOSTALLOC_DEVICEMAP))
    assert rig.context.set_tensor_address("scores", int(check(cu.cuMemHostGetDevicePointer(mapped, 0))))
    check(cu.cuMemFreeHost(mapped))


def test_events_measure_what_lies_between_them_once_it_ran(rig):
    first, last = check(cu.cuEventCreate(0)), check(cu.cuEventCreate(0))
    for event in (first, last):
        check(cu.cuEventRecord(event, rig.stream))
    assert int(cu.cuEventElapsedTime(first, last)[0]) == 600
    check(cu.cuEventSynchronize(last))
    assert check(cu.cuEventElapsedTime(first, last)) >= 0
    for event in (first, last):
        check(cu.cuEventDestroy(event))
    assert int(cu.cuEventQuery(first)[0]) == 400


def test_leaks_are_counted(rig):
    before = faults.cuda.leaks()
    address = check(cu.cuMemAlloc(16))
    assert faults.cuda.leaks()["device_allocations"] == before["device_allocations"] + 1
    check(cu.cuMemFree(address))
    assert faults.cuda.leaks() == before


def test_the_driver_fails_where_a_test_says_so(rig):
    faults.cuda.fail("cuMemAlloc_v2", code=2, skip=1, times=1)
    codes = []
    for _ in range(3):
        failure, address = cu.cuMemAlloc(16)
        codes.append(int(failure))
        if not codes[-1]:
            check(cu.cuMemFree(address))
    assert codes == [0, 2, 0]


def test_an_engine_or_context_fails_where_its_memory_does(rig):
    runtime = trt.Runtime(rig.logger)
    faults.cuda.fail("tensorrt_allocation", code=2, skip=1)
    engine = runtime.deserialize_cuda_engine(plan_for_two())
    assert engine is not None and engine.create_execution_context() is None
    assert engine.create_execution_context() is not None


def test_an_enqueue_fails_where_a_test_says_so(rig):
    rig.prepare()
    faults.tensorrt.fail("IExecutionContext.execute_async_v3")
    assert rig.context.execute_async_v3(int(rig.stream)) is False
    assert "injected" in rig.logger.errors[-1]
    assert rig.put()
    rig.wait()
    assert ("IExecutionContext", "execute_async_v3", (int(rig.stream),), {}) in faults.tensorrt.calls


@pytest.mark.may_misuse
def test_an_engine_destroyed_without_a_current_context_is_noted(rig):
    context = cu.cuCtxPopCurrent()[1]
    rig.context = None
    gc.collect()
    cu.cuCtxPushCurrent(context)
    assert "without a current CUDA context" in faults.tensorrt.misuses[0]


def test_attributes_can_be_changed_and_come_back():
    def integrated() -> int:
        return check(cu.cuDeviceGetAttribute(cu.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED, 0))

    check(cu.cuInit(0))
    faults.cuda.set_attribute("integrated", 1)
    assert integrated() == 1
    faults.reset()
    assert integrated() == 0


def test_what_is_not_simulated_is_refused(rig, capfd):
    assert int(cu.cuLaunchKernel(0, 1, 1, 1, 1, 1, 1, 0, rig.stream, 0, 0)[0]) in {400, 801}
    with pytest.raises(NotSimulatedError):
        _ = rig.context.execute_v2([1, 2])
