"""The simulated builder demands what the real one does, and tells of its progress in the same way."""

from __future__ import annotations

import pytest
import tensorrt as trt
from doubles.nvidia import faults
from doubles.nvidia.small_plan import Listener, build

ELEVEN = trt.__version__.startswith("11.")


def test_a_dynamic_input_needs_a_profile_that_fits():
    assert build(batches=())[0] is None

    def wrong_rank(builder, config):
        profile = builder.create_optimization_profile()
        profile.set_shape("frames", *[(1, 8, 8)] * 3)
        config.add_optimization_profile(profile)

    plan, logger = build(change=wrong_rank)
    assert plan is None and "frames" in logger.errors[-1]


def test_minimum_above_maximum_is_no_profile():
    builder = trt.Builder(Listener())
    profile = builder.create_optimization_profile()
    profile.set_shape("frames", (4, 8, 8, 3), (2, 8, 8, 3), (1, 8, 8, 3))
    assert not profile
    assert builder.create_builder_config().add_optimization_profile(profile) == -1


def test_a_precision_flag_on_a_strongly_typed_network_fails_where_it_exists():
    if ELEVEN:
        assert not hasattr(trt.BuilderFlag, "FP16")
        return
    plan, logger = build(change=lambda _, config: config.set_flag(trt.BuilderFlag.FP16))
    assert plan is None and "kFP16" in logger.errors[-1]


@pytest.mark.may_misuse
def test_a_weakly_typed_network_is_noted_where_it_exists():
    assert build(flags=0)[0]
    assert faults.tensorrt.misuses == ([] if ELEVEN else ["a weakly typed network was built"])


def test_too_small_a_workspace_fails():
    def shrink(_, config):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 16)

    assert build(change=shrink)[0] is None


def test_a_level_outside_its_range_is_refused():
    logger = Listener()
    config = trt.Builder(logger).create_builder_config()
    config.builder_optimization_level = 6
    assert config.builder_optimization_level == 3 and logger.errors


class Monitor(trt.IProgressMonitor):
    def __init__(self, stop_at: int = -1) -> None:
        super().__init__()
        self.stop_at, self.said = stop_at, []

    def phase_start(self, phase_name, parent_phase, num_steps):
        self.said.append(("start", phase_name, parent_phase))

    def step_complete(self, phase_name, step):
        return step != self.stop_at

    def phase_finish(self, phase_name):
        self.said.append(("finish", phase_name))


def with_monitor(monitor):
    def change(_, config):
        config.progress_monitor = monitor

    return change


def test_progress_comes_in_nested_phases():
    monitor = Monitor()
    assert build(change=with_monitor(monitor))[0]
    (_, outer, nobody), (_, inner, parent), first_end, last_end = monitor.said
    assert nobody is None and parent == outer
    assert (first_end, last_end) == (("finish", inner), ("finish", outer))


def test_a_monitor_that_answers_false_ends_the_build():
    plan, logger = build(change=with_monitor(Monitor(stop_at=0)))
    assert plan is None and "cancelled" in logger.errors[-1]


@pytest.mark.may_misuse
def test_a_monitor_that_raises_is_noted():
    class Bad(Monitor):
        def phase_start(self, phase_name, parent_phase, num_steps):
            raise RuntimeError("no")

    build(change=with_monitor(Bad()))
    assert faults.tensorrt.misuses


def with_timings(stored: bytes, caches: list):
    def change(_, config):
        caches.append(config.create_timing_cache(stored))
        assert config.set_timing_cache(caches[0], False)

    return change


def test_a_timing_cache_spares_the_second_build_its_timing():
    caches: list = []
    build(change=with_timings(b"", caches))
    build(change=with_timings(bytes(caches[0].serialize()), []))
    first, second = faults.tensorrt.builds
    assert first["timed"] > 0 and second["timed"] == 0


def test_a_timing_cache_of_another_device_or_none_at_all_is_refused():
    logger = Listener()
    config = trt.Builder(logger).create_builder_config()
    foreign = bytes(config.create_timing_cache(b"").serialize()).replace(b"Simulated", b"Different")
    assert not config.set_timing_cache(config.create_timing_cache(foreign), False)
    assert config.set_timing_cache(config.create_timing_cache(foreign), True)
    assert config.create_timing_cache(b"rubbish") is None and logger.errors


def test_a_build_can_be_made_to_fail_once():
    faults.tensorrt.fail("Builder.build_serialized_network")
    plan, logger = build()
    assert plan is None and "injected" in logger.errors[-1]
    assert build()[0]


def test_faults_are_refused_that_no_call_could_meet():
    with pytest.raises(ValueError, match="no"):
        faults.tensorrt.fail("Builder.build_engine_quickly")
    with pytest.raises(ValueError, match="no"):
        faults.cuda.fail("cuMemAllocate", code=2)
