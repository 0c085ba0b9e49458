"""The builder: what it demands of profiles and flags, how it tells of its progress, and the plan it writes."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from types import ModuleType
from typing import Any

from doubles.nvidia.behaviour import Behaviour, HostMemory
from doubles.nvidia.faults import tensorrt as injected
from doubles.nvidia.layers import engine_layers
from doubles.nvidia.network import Network
from doubles.nvidia.plan import write_plan

DEVICE = "Simulated GPU"
LEAST_WORKSPACE = 1 << 10


class TimingCache(Behaviour):
    """What was timed before, by layer; bound to a version and a device."""

    stands_behind = "ITimingCache"

    def __init__(self, trt: ModuleType, logger: Any, content: dict[str, Any] | None = None) -> None:
        super().__init__(trt, logger)
        self.content = content or {"version": self.trt.__version__, "device": DEVICE, "timed": []}

    def serialize(self) -> HostMemory:
        return HostMemory(self.trt, b"simulated-timings" + json.dumps(self.content, sort_keys=True).encode())

    def matches(self) -> bool:
        return (self.content["version"], self.content["device"]) == (self.trt.__version__, DEVICE)

    def combine(self, input_cache: TimingCache, ignore_mismatch: bool) -> bool:
        if not ignore_mismatch and not input_cache.matches():
            self.log_error("ITimingCache::combine: Error Code 4: the caches are of different versions or devices")
            return False
        self.content["timed"] = sorted({*self.content["timed"], *input_cache.content["timed"]})
        return True

    def reset(self) -> bool:
        self.content["timed"] = []
        return True


class OptimizationProfile(Behaviour):
    stands_behind = "IOptimizationProfile"

    def __init__(self, trt: ModuleType) -> None:
        super().__init__(trt)
        self.shapes: dict[str, tuple[tuple[int, ...], ...]] = {}
        self.extra_memory_target = 1.0

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002 - the API's own names
        self.shapes[input] = (tuple(min), tuple(opt), tuple(max))

    def get_shape(self, input: str) -> list[tuple[int, ...]]:  # noqa: A002
        return list(self.shapes[input])

    def __bool__(self) -> bool:
        return all(
            len({len(sizes) for sizes in shapes}) == 1 and all(a <= b <= c for a, b, c in zip(*shapes, strict=True))
            for shapes in self.shapes.values()
        )


class BuilderConfig(Behaviour):
    stands_behind = "IBuilderConfig"

    def __init__(self, trt: ModuleType, logger: Any, builder: Behaviour) -> None:
        super().__init__(trt, logger)
        self.builder = builder
        self.flags = 1 << int(self.trt.BuilderFlag.TF32)
        self.profiles: list[OptimizationProfile] = []
        self.progress_monitor: Any = None
        self.int8_calibrator = self.algorithm_selector = None
        self.profiling_verbosity = self.trt.ProfilingVerbosity.LAYER_NAMES_ONLY
        self.engine_capability = self.trt.EngineCapability.STANDARD
        self.hardware_compatibility_level = self.trt.HardwareCompatibilityLevel.NONE
        self.default_device_type = self.trt.DeviceType.GPU
        self.DLA_core = -1
        self.avg_timing_iterations = 1
        self.max_aux_streams = 7
        self.max_num_tactics = -1
        self.profile_stream = 0
        self._level = 3
        self._pools: dict[Any, int] = {self.trt.MemoryPoolType.WORKSPACE: 8 << 30}
        self._tactics = 0
        self._previews: dict[Any, bool] = {}
        self._timing_cache: TimingCache | None = None

    def set_flag(self, flag: Any) -> None:
        self.flags |= 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        self.flags &= ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        return bool(self.flags & 1 << int(flag))

    def flag_names(self) -> set[str]:
        return {name for name, flag in self.trt.BuilderFlag.__members__.items() if self.get_flag(flag)}

    @property
    def builder_optimization_level(self) -> int:
        return self._level

    @builder_optimization_level.setter
    def builder_optimization_level(self, level: int) -> None:
        if not 0 <= level <= 5:
            self.log_error(f"IBuilderConfig::setBuilderOptimizationLevel: Error Code 3: {level} is not in [0, 5]")
            return
        self._level = level

    num_optimization_profiles = property(lambda self: len(self.profiles))

    def add_optimization_profile(self, profile: OptimizationProfile) -> int:
        if not profile:
            self.log_error("IBuilderConfig::addOptimizationProfile: Error Code 3: the profile is not valid")
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[pool] = pool_size

    def get_memory_pool_limit(self, pool: Any) -> int:
        return self._pools.get(pool, 0)

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        self._tactics = tactic_sources
        return True

    def get_tactic_sources(self) -> int:
        return self._tactics

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        self._previews[feature] = enable

    def get_preview_feature(self, feature: Any) -> bool:
        return self._previews.get(feature, False)

    def get_quantization_flag(self, flag: Any) -> bool:
        return False

    def create_timing_cache(self, serialized_timing_cache: memoryview) -> TimingCache | None:
        data = bytes(serialized_timing_cache)
        if not data:
            return TimingCache(self.trt, self.logger)
        try:
            marker, _, content = data.partition(b"{")
            if marker != b"simulated-timings":
                raise ValueError("not a timing cache")
            return TimingCache(self.trt, self.logger, json.loads(b"{" + content))
        except ValueError:
            self.log_error("IBuilderConfig::createTimingCache: Error Code 6: the cache is corrupt")
            return None

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        if not ignore_mismatch and not cache.matches():
            self.log_error("IBuilderConfig::setTimingCache: Error Code 4: the cache is of another version or device")
            return False
        self._timing_cache = cache
        return True

    def get_timing_cache(self) -> TimingCache | None:
        return self._timing_cache


class _CancelledError(Exception):
    pass


class Builder(Behaviour):
    stands_behind = "Builder"

    def __init__(self, trt: ModuleType, logger: Any) -> None:
        super().__init__(trt, logger)
        self.platform_has_tf32 = self.platform_has_fast_fp16 = self.platform_has_fast_int8 = True
        self.num_DLA_cores = self.max_DLA_batch_size = 0
        self.max_threads = 1

    def create_network(self, flags: int = 0) -> Network:
        return Network(self.trt, self.logger, self, flags)

    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig(self.trt, self.logger, self)

    def create_optimization_profile(self) -> OptimizationProfile:
        return OptimizationProfile(self.trt)

    def is_network_supported(self, network: Network, config: BuilderConfig) -> bool:
        return self._refusal(network, config) is None

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> HostMemory | None:
        refusal = self._refusal(network, config)
        if refusal:
            self.log_error(f"IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error ({refusal})")
            return None
        if not network.strongly_typed:
            injected.misuse("a weakly typed network was built")
        layers = engine_layers(network.model, injected.layer_types)
        time.sleep(injected.build_seconds)
        timed = self._time(layers, config)
        if timed is None:
            self.log_error("IBuilder::buildSerializedNetwork: Error Code 10: the timing cache lacks a layer")
            return None
        try:
            self._report(config.progress_monitor, len(layers))
        except _CancelledError:
            self.log_error("IBuilder::buildSerializedNetwork: Error Code 2: cancelled by the progress monitor")
            return None
        built = {
            "layers": len(layers),
            "timed": timed,
            "strongly_typed": network.strongly_typed,
            "flags": sorted(config.flag_names()),
            "profiles": [profile.shapes for profile in config.profiles],
            "workspace_bytes": config.get_memory_pool_limit(self.trt.MemoryPoolType.WORKSPACE),
            "optimization_level": config.builder_optimization_level,
            "max_aux_streams": config.max_aux_streams,
            "verbosity": config.profiling_verbosity.name,
            "device_type": config.default_device_type.name,
            "DLA_core": config.DLA_core,
        }
        injected.builds.append(built)
        return HostMemory(self.trt, write_plan(self.trt.__version__, network, built, layers))

    def _refusal(self, network: Network, config: BuilderConfig) -> str | None:  # noqa: PLR0911 - one line a rule
        if network.model is None or not network.outputs:
            return "the network has no outputs"
        narrow = {"FP16", "BF16", "INT8", "FP8", "INT4"} & config.flag_names()
        if network.strongly_typed and narrow:
            return f"Parameter check failed, condition: !config.getFlag(BuilderFlag::k{min(narrow)})"
        dynamic = {tensor.name: tensor.shape for tensor in network.inputs if -1 in tensor.shape}
        if dynamic and not config.profiles:
            return "Network has dynamic or shape inputs, but no optimization profile has been defined."
        for at, profile in enumerate(config.profiles):
            for name, shape in dynamic.items():
                if name not in profile.shapes:
                    return f"profile {at} has no shape for the dynamic input {name}"
                for sizes in profile.shapes[name]:
                    if len(sizes) != len(shape) or any(
                        a not in (-1, b) or b < 1 for a, b in zip(shape, sizes, strict=True)
                    ):
                        return f"profile {at}: {sizes} does not fit {shape} of input {name}"
        if config.get_memory_pool_limit(self.trt.MemoryPoolType.WORKSPACE) < LEAST_WORKSPACE:
            return "Could not find any implementation: insufficient workspace"
        if config.default_device_type == self.trt.DeviceType.DLA and not self.num_DLA_cores:
            return "Cannot create DLA engine, this platform has no DLA"
        return None

    def _time(self, layers: list[dict[str, Any]], config: BuilderConfig) -> int | None:
        """How many layers had to be timed; None where that is forbidden."""
        keys = {hashlib.sha256(repr((layer["kind"], layer["inputs"])).encode()).hexdigest()[:16] for layer in layers}
        cache = config.get_timing_cache()
        misses = keys - set(cache.content["timed"]) if cache else keys
        if misses and "ERROR_ON_TIMING_CACHE_MISS" in config.flag_names():
            return None
        if cache:
            cache.content["timed"] = sorted({*cache.content["timed"], *keys})
        return len(misses)

    def _report(self, monitor: Any, steps: int) -> None:
        """As the real builder: phases inside phases, the inner one told by another thread."""
        if monitor is None:
            return
        outer, inner = "Building Engine", "Timing Graph Nodes"
        _tell(monitor.phase_start, outer, None, 2)
        goes_on: list[bool] = []

        def time_nodes() -> None:
            _tell(monitor.phase_start, inner, outer, steps)
            goes_on.append(all(_tell(monitor.step_complete, inner, step) is not False for step in range(steps)))
            _tell(monitor.phase_finish, inner)

        thread = threading.Thread(target=time_nodes)
        thread.start()
        thread.join()
        cancelled = not goes_on[0] or any(_tell(monitor.step_complete, outer, step) is False for step in range(2))
        _tell(monitor.phase_finish, outer)
        if cancelled:
            raise _CancelledError


def _tell(callback: Any, *facts: Any) -> Any:
    """An exception of a callback would cross C++ that allows none, and end the process."""
    try:
        return callback(*facts)
    except Exception as error:
        injected.misuse(f"a progress monitor raised {error!r}")
        return True
