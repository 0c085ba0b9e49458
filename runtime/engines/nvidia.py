"""NVIDIA's libraries, imported when first needed; where one is missing, what to install on this platform.

Not installed is a MissingDependency; installed but unable to load (a library beneath it is missing, or made for another
driver) is an EngineError, since installing it again would not help.
"""

from __future__ import annotations

import importlib
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectrt.bundle.errors import AffectError, EngineError, MissingDependency

__all__ = [
    "Platform",
    "cuda_value",
    "import_cuda_driver",
    "import_polygraphy",
    "import_pycuda",
    "import_tensorrt",
    "install_line",
    "read_platform",
]

_TITLES = {"tensorrt": "TensorRT", "pycuda": "PyCUDA", "cuda": "cuda-bindings", "polygraphy": "Polygraphy"}
_WANTED = {
    "tensorrt": "TensorRT 10.3 or newer, as JetPack 6.1 and newer bring it",
    "pycuda": "PyCUDA 2025.1.2 or newer",
    "cuda": "cuda-bindings 12.9 or newer",
    "polygraphy": "Polygraphy 0.53 or newer",
}
_LIBRARY = re.compile(r"(lib[\w+\-]+\.so(?:\.\d+)*)")
_DRIVER_VERSION = re.compile(r"\s(\d{3,}\.\d+(?:\.\d+)?)\s")
_L4T_VERSION = re.compile(r"R(\d+).*REVISION:\s*([\d.]+)")
# Jetsons with L4T 38 and newer (JetPack 7) have CUDA 13, older ones CUDA 12.
_FIRST_L4T_WITH_CUDA_13 = 38


@dataclass(frozen=True)
class Platform:
    """What kind of machine this is; None where there is no such thing. `l4t` and `driver` are versions."""

    machine: str
    l4t: str | None
    driver: str | None

    @property
    def jetson(self) -> bool:
        return self.l4t is not None

    @property
    def nvidia(self) -> bool:
        """Whether a GPU of NVIDIA's can be expected here."""
        return self.l4t is not None or self.driver is not None


def read_platform(root: Path = Path("/")) -> Platform:
    """What the kernel and JetPack say of themselves under `root`, without touching CUDA."""
    release = _L4T_VERSION.search(_text(root / "etc/nv_tegra_release"))
    l4t = f"{release[1]}.{release[2]}" if release else None
    driver = _DRIVER_VERSION.search(_text(root / "proc/driver/nvidia/version"))
    return Platform(platform.machine(), l4t, driver[1] if driver else None)


def import_tensorrt(where: Platform | None = None) -> Any:
    """The module `tensorrt`."""
    return _imported("tensorrt", where)


def import_pycuda(where: Platform | None = None) -> Any:
    """The module `pycuda.driver`, initialised. EngineError where there is no usable GPU."""
    driver = _imported("pycuda.driver", where)
    try:
        driver.init()
    except driver.Error as error:
        raise EngineError(
            f"CUDA cannot be used: {error}", expected="an NVIDIA GPU and its driver", fix="affectrt doctor"
        ) from error
    return driver


def import_cuda_driver(where: Platform | None = None) -> Any:
    """The module `cuda.bindings.driver`; it imports where there is no driver."""
    return _imported("cuda.bindings.driver", where)


def import_polygraphy(where: Platform | None = None) -> Any:
    """The module `polygraphy.backend.trt`; it imports where there is no TensorRT."""
    return _imported("polygraphy.backend.trt", where)


def cuda_value(cuda: Any, answer: tuple[Any, ...], doing: str) -> Any:
    """What a call of cuda-bindings gave: nothing, one value or several. EngineError when its status is not success."""
    status, *values = answer
    if status != cuda.CUresult.CUDA_SUCCESS:
        raise EngineError(f"{doing} failed: {_status_name(cuda, status)}")
    return values[0] if len(values) == 1 else tuple(values) or None


def _status_name(cuda: Any, status: Any) -> str:
    try:
        (_, name), (_, text) = cuda.cuGetErrorName(status), cuda.cuGetErrorString(status)
        return f"{name.decode()} ({text.decode()})"
    except Exception:  # the call that tells what failed may itself fail, and must not hide that
        return str(status)


def _imported(module: str, where: Platform | None) -> Any:
    try:
        return importlib.import_module(module)
    except Exception as error:  # a broken binary package may raise anything
        raise _told(module.partition(".")[0], error, where or read_platform()) from error


def _told(library: str, error: Exception, where: Platform) -> AffectError:
    title, fix = _TITLES[library], install_line(library, where)
    if isinstance(error, ModuleNotFoundError):
        missing = (error.name or "").partition(".")[0]
        if missing == library:
            return MissingDependency(f"{title} is not installed", expected=_WANTED[library], fix=fix)
        return MissingDependency(
            f"{title} needs the Python module {error.name!r}", fix=f"{sys.executable} -m pip install {missing}"
        )
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return EngineError(
        f"{title} is installed but cannot be loaded: {reason}",
        expected="the libraries that it was built for",
        fix=_load_fix(reason, fix, where),
    )


def _load_fix(reason: str, install: str, where: Platform) -> str:
    found = _LIBRARY.search(reason)
    library = found[1] if found else ""
    if library.startswith("libcuda.so"):
        if where.jetson:
            return "in a container, start it with --runtime nvidia; otherwise flash JetPack again: libcuda.so.1 is part"
        return "install NVIDIA's driver until nvidia-smi works; in a container, start it with --gpus all"
    if library.startswith("libnvdla"):
        return (
            f"this TensorRT was made for another JetPack (here: L4T {where.l4t or 'none'}); "
            "use a container image, or the apt packages, of this one"
        )
    return install


def install_line(library: str, where: Platform) -> str:
    """The command that brings `tensorrt`, `pycuda`, `cuda` (its bindings) or `polygraphy` to this platform."""
    pip = f"{sys.executable} -m pip install"
    if not where.jetson:
        return f"{pip} 'affectrt[tensorrt]'"
    cuda = 13 if int((where.l4t or "0").partition(".")[0]) >= _FIRST_L4T_WITH_CUDA_13 else 12
    return {
        "tensorrt": "sudo apt install python3-libnvinfer   (JetPack's; a virtual environment sees it with "
        "--system-site-packages)",
        "pycuda": f"CUDA_ROOT=/usr/local/cuda PATH=/usr/local/cuda/bin:$PATH {pip} pycuda   (compiles for a minute)",
        "cuda": f"{pip} 'cuda-bindings=={cuda}.*'   (as JetPack's CUDA {cuda} wants it)",
        "polygraphy": f"{pip} 'polygraphy>=0.53,<0.60'",
    }[library]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
