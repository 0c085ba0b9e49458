"""The GPU that engines are built for and run on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from affectrt.bundle.errors import EngineError

from .nvidia import Platform, cuda_value, import_cuda_driver, read_platform

__all__ = ["Gpu", "find_gpu"]


@dataclass(frozen=True)
class Gpu:
    """One CUDA device. `driver` names the kernel driver and the newest CUDA that it serves: "540.4.0 (CUDA 12.6)".

    `l4t` is the version of Jetson Linux, None elsewhere; an `integrated` GPU shares the memory of the processor.
    """

    ordinal: int
    name: str
    compute_capability: str
    driver: str
    l4t: str | None
    integrated: bool
    memory_bytes: int


def find_gpu(ordinal: int = 0) -> Gpu:
    """The facts of a GPU, through cuda-bindings alone: no context is made.

    MissingDependency without cuda-bindings; EngineError without a driver, or without a device of that number.
    """
    where = read_platform()
    cuda = import_cuda_driver(where)
    try:
        version = _start(cuda)
    except EngineError as error:
        raise _no_gpu(error.found, where) from None
    except RuntimeError as error:  # cuda-bindings found no libcuda.so.1
        raise _no_gpu(str(error).strip().splitlines()[0], where) from error
    count = cuda_value(cuda, cuda.cuDeviceGetCount(), "counting the GPUs")
    if not 0 <= ordinal < count:
        raise EngineError(f"there is no GPU number {ordinal}", expected=f"0 … {count - 1}" if count else "a GPU")
    device = cuda_value(cuda, cuda.cuDeviceGet(ordinal), f"asking for GPU {ordinal}")
    kinds = cuda.CUdevice_attribute

    def attribute(kind: Any) -> int:
        return int(cuda_value(cuda, cuda.cuDeviceGetAttribute(kind, device), f"asking GPU {ordinal} what it is"))

    name = cuda_value(cuda, cuda.cuDeviceGetName(256, device), f"asking GPU {ordinal} for its name")
    major = attribute(kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
    minor = attribute(kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
    return Gpu(
        ordinal=ordinal,
        name=name.split(b"\0")[0].decode(errors="replace").strip(),
        compute_capability=f"{major}.{minor}",
        driver=f"{where.driver or 'unknown'} (CUDA {version // 1000}.{version % 1000 // 10})",
        l4t=where.l4t,
        integrated=bool(attribute(kinds.CU_DEVICE_ATTRIBUTE_INTEGRATED)),
        memory_bytes=int(cuda_value(cuda, cuda.cuDeviceTotalMem(device), f"asking GPU {ordinal} for its memory")),
    )


def _start(cuda: Any) -> int:
    """Initialise CUDA; the newest version of it that the driver serves, 12060 for 12.6."""
    cuda_value(cuda, cuda.cuInit(0), "starting CUDA")
    return int(cuda_value(cuda, cuda.cuDriverGetVersion(), "asking the driver for its version"))


def _no_gpu(reason: str, where: Platform) -> EngineError:
    if where.jetson:
        fix = "in a container, start it with --runtime nvidia; otherwise affectrt doctor"
    elif where.driver is not None:
        fix = "nvidia-smi must see the GPU; in a container, start it with --gpus all"
    else:
        fix = "install NVIDIA's driver until nvidia-smi works; in a container, start it with --gpus all"
    return EngineError(f"no NVIDIA GPU can be used: {reason}", expected="a GPU of NVIDIA's and its driver", fix=fix)
