"""NVIDIA's software on this machine: libraries, Python packages, GStreamer elements. Looked for, not loaded."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .figures import Check, Library
from .parts import is_there
from .steps import Absent, Collector, Settings

__all__ = ["find_libraries", "look_at_gstreamer", "look_at_software"]

STEMS = (
    "libcuda",
    "libnvinfer",
    "libnvinfer_plugin",
    "libnvinfer_lean",
    "libnvonnxparser",
    "libnvdla_compiler",
    "libcudart",
    "libcublas",
    "libcudnn",
    "libnvrtc",
    "libnvbufsurface",
)
PACKAGES = (
    "tensorrt",
    "polygraphy",
    "pycuda",
    "cuda-bindings",
    "onnxruntime",
    "onnxruntime-gpu",
    "torch",
    "numpy",
    "onnx",
    "affectrt",
)
SYSTEM_FOLDERS = (
    "usr/lib",
    "usr/lib64",
    "usr/lib/*-linux-gnu",
    "usr/lib/*-linux-gnu/tegra",
    "usr/lib/*-linux-gnu/nvidia",
    "usr/local/cuda*/lib64",
    "usr/local/cuda*/targets/*/lib",
    "usr/local/nvidia/lib64",
    "usr/local/*ensor*/lib",
    "opt/*ensor*/lib",
    "opt/nvidia/*/lib",
)
# Decoders, converters and sources that keep pictures in the GPU's memory; Jetsons have the first four.
ELEMENTS = (
    "nvv4l2decoder",
    "nvvidconv",
    "nvarguscamerasrc",
    "nvjpegdec",
    "nvvideoconvert",
    "nvstreammux",
    "nvh264dec",
    "nvh265dec",
    "cudaupload",
    "cudaconvert",
)


def look_at_software(found: Collector, settings: Settings) -> None:
    """The device as cuda-bindings sees it, versions of packages, and every library of interest."""
    for name in PACKAGES:
        try:
            found.facts[name] = version(name)
        except PackageNotFoundError:
            continue
    libraries = list(find_libraries(Path("/"), os.environ.get("LD_LIBRARY_PATH", ""), sys.path))
    for library in libraries:
        found.add(library)
    stems = {library.name.partition(".so")[0] for library in libraries}
    if "libnvinfer" in stems and not is_there("tensorrt"):
        found.facts["TensorRT"] = "its library is here, its Python package is not: install the tensorrt bindings for it"
    elif "libnvinfer" not in stems and not is_there("tensorrt"):
        found.facts["TensorRT"] = "not on this machine"
    gpu = _gpu()
    found.facts.update(gpu)


def _gpu() -> dict[str, str]:
    from affectrt.runtime.engines.gpu import find_gpu

    gpu = find_gpu()
    return {
        "GPU": gpu.name,
        "compute capability": gpu.compute_capability,
        "driver": gpu.driver,
        "memory": f"{gpu.memory_bytes / 2**30:.1f} GiB",
        "integrated": "yes" if gpu.integrated else "no",
        **({"L4T": gpu.l4t} if gpu.l4t else {}),
    }


def find_libraries(root: Path, library_path: str, python_path: Iterable[str]) -> Iterator[Library]:
    """Each name once, from the first place that has it, in the order in which a program would find it."""
    places = [("LD_LIBRARY_PATH", [Path(folder) for folder in library_path.split(os.pathsep) if folder])]
    if root == Path("/"):
        places.append(("system", sorted({Path(line).parent for line in _cached()})))
    places.append(("system", [folder for pattern in SYSTEM_FOLDERS for folder in sorted(root.glob(pattern))]))
    packages = [Path(entry) for entry in python_path if entry]
    places.append(
        (
            "Python package",
            [
                folder
                for entry in packages
                for pattern in ("nvidia/*/lib", "tensorrt_libs", "tensorrt*_libs")
                for folder in sorted(entry.glob(pattern))
            ],
        )
    )
    seen: set[str] = set()
    for where, folders in places:
        for folder in folders:
            for name in _names(folder):
                if name not in seen:
                    seen.add(name)
                    yield Library(name=name, where=where)


def look_at_gstreamer(found: Collector, settings: Settings) -> None:
    """Which elements there are that keep pictures in the GPU's memory; having none is no failure."""
    try:
        import gi

        gi.require_version("Gst", "1.0")
        from gi.repository import Gst
    except (ImportError, ValueError) as error:
        raise Absent(f"GStreamer's Python binding: {error}") from None
    Gst.init(None)
    there = [name for name in ELEMENTS if Gst.ElementFactory.find(name) is not None]
    found.add(Check(name="GStreamer elements of NVIDIA", passed=True, seen=", ".join(there) or "none"))


def _names(folder: Path) -> list[str]:
    wanted = re.compile(rf"(?:{'|'.join(STEMS)})\.so(?:\.[\d.]+)?")
    try:
        return sorted(entry.name for entry in folder.iterdir() if wanted.fullmatch(entry.name))
    except OSError:
        return []


def _cached() -> list[str]:
    """Paths in the dynamic linker's cache."""
    for program in ("ldconfig", "/sbin/ldconfig"):
        try:
            told = subprocess.run([program, "-p"], capture_output=True, text=True, timeout=20, check=False).stdout
        except (OSError, subprocess.TimeoutExpired):
            continue
        return [line.rpartition("=> ")[2] for line in told.splitlines() if "=> " in line]
    return []
