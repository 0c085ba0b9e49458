"""Everything that is known of NVIDIA's devices and software on a machine, as plain values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Facts", "Loaded", "Version", "version_of"]

Version = tuple[int, ...]


@dataclass(frozen=True)
class Loaded:
    """A Python package: its version where it could be imported, otherwise why not."""

    version: str | None = None
    problem: str | None = None

    @property
    def numbers(self) -> Version:
        return version_of(self.version)


@dataclass(frozen=True)
class Facts:
    """`board`: as the device tree calls a Jetson. `l4t`: 36.4.3. `gpu_problem` and `gpu_fix`: why no GPU can be used.

    `driver_cuda`: the newest CUDA that the driver serves; `toolkit`: that of the compiler. `tensorrt_library`: the
    version of libnvinfer that the bindings loaded. `tensorrt_places`: folders that hold a package `tensorrt`, in the
    order of the search; `system_tensorrt`: the distribution's, seen or not. `wheels`: distribution → version.
    `elements`: of GStreamer. `state`: power mode and clocks. None: not known.
    """

    machine: str = "x86_64"
    container: bool = False
    isolated_environment: bool = False
    board: str | None = None
    l4t: str | None = None
    device_files: bool = False
    gpu: str | None = None
    compute_capability: str | None = None
    driver: str | None = None
    driver_cuda: str | None = None
    gpu_problem: str | None = None
    gpu_fix: str | None = None
    toolkit: str | None = None
    tensorrt: Loaded = Loaded()
    tensorrt_library: str | None = None
    tensorrt_places: tuple[str, ...] = ()
    system_tensorrt: str | None = None
    pycuda: Loaded = Loaded()
    cuda_bindings: Loaded = Loaded()
    polygraphy: Loaded = Loaded()
    onnxruntime: Loaded = Loaded()
    onnxruntime_providers: tuple[str, ...] = ()
    half_rounding: str | None = None
    wheels: Mapping[str, str] = field(default_factory=dict)
    elements: Mapping[str, bool] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    memory_bytes: int | None = None
    swap_bytes: int | None = None

    @property
    def jetson(self) -> bool:
        return self.l4t is not None or self.board is not None

    @property
    def nvidia(self) -> bool:
        """Whether this machine has, or should have, an NVIDIA GPU."""
        return self.jetson or self.gpu is not None or self.driver is not None or self.device_files

    @property
    def orin(self) -> bool:
        return self.compute_capability == "8.7" or "Orin" in (self.board or "")

    @property
    def thor(self) -> bool:
        return "Thor" in f"{self.board} {self.gpu}"


def version_of(text: str | None) -> Version:
    """The leading numbers of a version: 10.3.0.30 → (10, 3, 0, 30); () where there are none."""
    found = re.match(r"\d+(\.\d+)*", (text or "").strip())
    return tuple(map(int, found[0].split("."))) if found else ()
