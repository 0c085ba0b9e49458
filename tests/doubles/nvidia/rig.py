"""An execution context of the small plan with what it runs on, by cuda-bindings alone."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tensorrt as trt
from cuda.bindings import driver as cu
from doubles.nvidia.primary import check, primary_context
from doubles.nvidia.small_plan import Listener, build

__all__ = ["BYTES", "FRAMES", "Rig", "plan_for_two", "rigged"]

FRAMES = (2, 8, 8, 3)
BYTES = {"frames": math.prod(FRAMES), "scores": 2 * 2 * 4}


@functools.cache
def plan_for_two() -> bytes:
    """Profiles for one frame and for two."""
    made, _ = build(batches=(1, 2))
    assert made
    return made


class Rig:
    """An execution context for two frames with its stream and memory, bound or not."""

    def __init__(self, plan: bytes) -> None:
        self.logger = Listener()
        self.context = trt.Runtime(self.logger).deserialize_cuda_engine(plan).create_execution_context()
        self.stream = check(cu.cuStreamCreate(cu.CUstream_flags.CU_STREAM_NON_BLOCKING))
        self.memory = {name: int(check(cu.cuMemAlloc(size))) for name, size in BYTES.items()}
        self.host = {name: int(check(cu.cuMemHostAlloc(size, 0))) for name, size in BYTES.items()}

    def prepare(self) -> None:
        assert self.context.set_optimization_profile_async(1, int(self.stream))
        assert self.context.set_input_shape("frames", FRAMES)
        for name, address in self.memory.items():
            assert self.context.set_tensor_address(name, address)

    def array(self, name: str) -> np.ndarray:
        memory = (ctypes.c_char * BYTES[name]).from_address(self.host[name])
        return np.frombuffer(memory, np.uint8 if name == "frames" else np.float32).reshape(
            FRAMES if name == "frames" else (2, 2)
        )

    def put(self) -> bool:
        check(cu.cuMemcpyHtoDAsync(self.memory["frames"], self.host["frames"], BYTES["frames"], self.stream))
        fine = self.context.execute_async_v3(int(self.stream))
        check(cu.cuMemcpyDtoHAsync(self.host["scores"], self.memory["scores"], BYTES["scores"], self.stream))
        return fine

    def wait(self) -> None:
        check(cu.cuStreamSynchronize(self.stream))

    def close(self) -> None:
        self.context = None
        cu.cuStreamDestroy(self.stream)
        for name in BYTES:
            cu.cuMemFree(self.memory[name])
            cu.cuMemFreeHost(self.host[name])


@contextmanager
def rigged() -> Iterator[Rig]:
    """Inside a current primary context; everything is given back at the end."""
    with primary_context():
        made = Rig(plan_for_two())
        yield made
        made.close()
