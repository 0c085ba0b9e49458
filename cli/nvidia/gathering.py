"""Facts of this machine, read once. Nothing is changed; what may crash when it is imported is imported in a child."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

from affectrt.bundle.errors import AffectError, EngineError, MissingDependency

from .facts import Facts, Loaded

__all__ = ["gather_facts", "import_in_child"]

WAIT_S = 60.0
# On a Jetson, on a desktop with the plug-ins of GStreamer's own collection.
ELEMENTS = ("nvv4l2decoder", "nvvidconv", "nvarguscamerasrc", "nvh264dec", "cudaupload")
SYSTEM_TENSORRT = "usr/lib/python3*/dist-packages/tensorrt/__init__.py"
DEVICE_FILES = ("nvidia0", "nvidiactl", "nvhost-gpu", "nvgpu")
WHEELS = re.compile(r"tensorrt(-.*)?|cuda-bindings|pycuda|polygraphy|onnxruntime(-gpu)?|nvidia-cuda-runtime(-.*)?")
# Says one line of JSON. A library that the bindings loaded is found among what is mapped into the process.
CHILD = """
import ctypes, importlib, json, sys
told = {}
try:
    module = importlib.import_module(sys.argv[1])
    told["version"] = str(getattr(module, "__version__", "") or "")
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "/libnvinfer.so" in line}
    for path in sorted(paths):
        number = int(ctypes.CDLL(path).getInferLibVersion())
        major = 10000 if number >= 100000 else 1000
        told["library"] = f"{number // major}.{number % major // 100}.{number % 100}"
except Exception as error:
    told["problem"] = f"{type(error).__name__}: {error}"
print(json.dumps(told))
"""


def gather_facts(root: Path = Path("/")) -> Facts:
    """`root`: where files are looked for, in tests."""
    from affectrt.runtime.engines.nvidia import read_platform

    where = read_platform(root)
    wheels = _wheels()
    tensorrt, library = import_in_child("tensorrt", wheels.get("tensorrt"))
    memory, swap = _memory(root)
    board = _text(root / "proc/device-tree/model").rstrip("\0\n")
    facts = Facts(
        machine=platform.machine(),
        container=any((root / mark).exists() for mark in (".dockerenv", "run/.containerenv")),
        isolated_environment=_isolated(),
        board=board if "NVIDIA" in board else None,
        l4t=where.l4t,
        device_files=any((root / "dev" / name).exists() for name in DEVICE_FILES),
        driver=where.driver,
        toolkit=_toolkit(root),
        tensorrt=tensorrt,
        tensorrt_library=library,
        tensorrt_places=_places(sys.path),
        system_tensorrt=next((str(found.parent) for found in sorted(root.glob(SYSTEM_TENSORRT))), None),
        pycuda=import_in_child("pycuda.driver", wheels.get("pycuda"))[0],
        cuda_bindings=import_in_child("cuda.bindings.driver", wheels.get("cuda-bindings"))[0],
        polygraphy=import_in_child("polygraphy", wheels.get("polygraphy"))[0],
        wheels=wheels,
        elements=_elements(),
        state=_state(),
        memory_bytes=memory,
        swap_bytes=swap,
    )
    return _with_onnxruntime(_with_gpu(facts))


def import_in_child(module: str, version: str | None = None) -> tuple[Loaded, str | None]:
    """Import a package in another process, and the version of libnvinfer that came with it."""
    if find_spec(module.partition(".")[0]) is None:
        return Loaded(problem="not installed"), None
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, module], capture_output=True, text=True, timeout=WAIT_S, check=False
        )
        told = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return Loaded(problem=f"did not answer in {WAIT_S:.0f} s"), None
    except (IndexError, ValueError):
        return Loaded(problem=f"importing it ended Python with code {done.returncode}"), None
    if "problem" in told and "version" not in told:
        absent = told["problem"].startswith("ModuleNotFoundError") and module.partition(".")[0] in told["problem"]
        return Loaded(problem="not installed" if absent else told["problem"]), None
    return Loaded(told["version"] or version or "of unknown version"), told.get("library")


def _with_gpu(facts: Facts) -> Facts:
    from affectrt.runtime.engines.gpu import find_gpu

    try:
        gpu = find_gpu()
    except (MissingDependency, EngineError) as error:
        return replace(facts, gpu_problem=error.found, gpu_fix=error.fix)
    cuda = re.search(r"\(CUDA ([\d.]+)\)", gpu.driver)
    return replace(
        facts,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=gpu.driver,
        driver_cuda=cuda[1] if cuda else None,
    )


def _with_onnxruntime(facts: Facts) -> Facts:
    try:
        import onnxruntime as ort
    except Exception as error:  # a broken binary package may raise anything
        return replace(facts, onnxruntime=Loaded(problem=f"{type(error).__name__}: {error}"))
    version = str(ort.__version__)
    return replace(
        facts,
        onnxruntime=Loaded(version),
        onnxruntime_providers=tuple(ort.get_available_providers()),
        half_rounding=None if _rounds_half() else f"ONNX Runtime {version}",
    )


def _rounds_half() -> bool:
    """Whether float16 is rounded when it is quantised; true as well where that cannot be tried."""
    if find_spec("onnx") is None:
        return True
    from affectrt.calibration.rounding import check_half_rounding

    try:
        check_half_rounding()
    except AffectError:
        return False
    except Exception:  # a version without a kernel for it rounds nothing wrongly either
        return True
    return True


def _wheels() -> dict[str, str]:
    names = ((re.sub(r"[-_.]+", "-", each.metadata["Name"] or "").lower(), each.version) for each in distributions())
    return {name: version for name, version in sorted(names) if WHEELS.fullmatch(name)}


def _places(path: Iterable[str]) -> tuple[str, ...]:
    found = (Path(entry or ".") / "tensorrt" for entry in path)
    return tuple(dict.fromkeys(str(place.resolve()) for place in found if (place / "__init__.py").is_file()))


def _isolated() -> bool:
    """In a virtual environment that does not see the distribution's packages."""
    settings = _text(Path(sys.prefix) / "pyvenv.cfg").lower()
    seen = re.search(r"include-system-site-packages\s*=\s*true", settings)
    return sys.prefix != sys.base_prefix and seen is None


def _toolkit(root: Path) -> str | None:
    try:
        told = json.loads(_text(root / "usr/local/cuda/version.json") or "{}")
        return str(told["cuda"]["version"])
    except (ValueError, KeyError, TypeError):
        release = re.search(r"release (\d+\.\d+)", _output(["nvcc", "--version"]))
        return release[1] if release else None


def _memory(root: Path) -> tuple[int | None, int | None]:
    told = dict(re.findall(r"^(MemTotal|SwapTotal):\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE))
    memory, swap = (int(told[name]) * 1024 if name in told else None for name in ("MemTotal", "SwapTotal"))
    return memory, swap


def _elements() -> dict[str, bool]:
    try:
        import gi

        gi.require_version("Gst", "1.0")
        from gi.repository import Gst

        Gst.init(None)
    except (ImportError, ValueError):
        return {}
    return {name: Gst.ElementFactory.find(name) is not None for name in ELEMENTS}


def _state() -> dict[str, str]:
    from ..gpu_check.state import gpu_state

    return gpu_state()


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
