"""Known traps of NVIDIA's platforms: each looks at the facts and tells what goes wrong and what helps, or nothing.

What is one report of one machine says so. Nothing here is concluded from a version where it can be tried instead.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator

from ..finding import Finding
from .facts import Facts, version_of

__all__ = ["TRAPS", "traps_from_facts"]

Trap = Callable[[Facts], Finding | None]

OLDEST_TENSORRT = (10, 3)
SMALL_MEMORY = 16 * 2**30
PIP = f"{sys.executable} -m pip"
# JetPack 7.2.0 and 7.2.1 came without the DLA's compiler.
L4T_WITHOUT_DLA = ((39, 2, 0), (39, 2, 1))


def _trap(name: str, found: str, fix: str) -> Finding:
    return Finding("trap", name, False, found, fix)


def tensorrt_of_another_jetpack(facts: Facts) -> Finding | None:
    if "libnvdla_compiler" not in (facts.tensorrt.problem or ""):
        return None
    return _trap(
        "TensorRT for JetPack 6",
        f"tensorrt cannot be imported: it asks for libnvdla_compiler.so, which L4T {facts.l4t or 'of this host'} lacks",
        "use a container image made for this JetPack; on JetPack 7.2: sudo apt-get install tensorrt",
    )


def tensorrt_without_orin(facts: Facts) -> Finding | None:
    """From 10.8 on builds leave Orin out until JetPack 7.2 brings 10.16; Isaac ROS 4.5 pins such a one."""
    if facts.compute_capability != "8.7" or not (10, 8) <= facts.tensorrt.numbers[:2] < (10, 16):
        return None
    return _trap(
        "no code for this GPU",
        f"TensorRT {facts.tensorrt.version} was not made for Orin (sm_87): engines fail to build or to run",
        "use JetPack's own TensorRT: 10.3 on JetPack 6, 10.16 on JetPack 7.2 (sudo apt-get install tensorrt)",
    )


def old_tensorrt(facts: Facts) -> Finding | None:
    if not facts.tensorrt.numbers or facts.tensorrt.numbers[:2] >= OLDEST_TENSORRT:
        return None
    fix = "flash JetPack 6.1 or newer" if facts.jetson else f"{PIP} install -U 'affectrt[tensorrt]'"
    return _trap("old TensorRT", f"{facts.tensorrt.version}; 10.3 and newer are supported", fix)


def two_versions(facts: Facts) -> Finding | None:
    bindings, library = facts.tensorrt.numbers[:3], version_of(facts.tensorrt_library)[:3]
    if not bindings or not library or bindings == library:
        return None
    return _trap(
        "TensorRT of two versions",
        f"the Python bindings are {facts.tensorrt.version}, the libnvinfer that they load is {facts.tensorrt_library}",
        "install both from one place; drop other folders of libnvinfer from LD_LIBRARY_PATH",
    )


def shadowed_tensorrt(facts: Facts) -> Finding | None:
    if len(facts.tensorrt_places) < 2:
        return None
    first, *others = facts.tensorrt_places
    return _trap(
        "TensorRT installed twice",
        f"{first} hides {', '.join(others)}",
        f"keep one: {PIP} uninstall tensorrt tensorrt-cu12 tensorrt-cu13, or leave out the distribution's",
    )


def bindings_newer_than_driver(facts: Facts) -> Finding | None:
    bindings, driver = version_of(facts.wheels.get("cuda-bindings")), version_of(facts.driver_cuda)
    if not bindings or not driver or bindings[0] <= driver[0]:
        return None
    return _trap(
        "CUDA of two generations",
        f"cuda-bindings {facts.wheels['cuda-bindings']} beside a driver that serves CUDA {facts.driver_cuda}",
        f"{PIP} install 'cuda-bindings=={driver[0]}.*'",
    )


def wheels_newer_than_driver(facts: Facts) -> Finding | None:
    driver = version_of(facts.driver_cuda)
    wrong = sorted(name for name in facts.wheels if driver and _generation(name) > driver[0])
    if not wrong:
        return None
    return _trap(
        "wheels for a newer CUDA",
        f"{', '.join(wrong)} beside a driver that serves CUDA {facts.driver_cuda}",
        f"{PIP} uninstall {' '.join(wrong)}, then {PIP} install tensorrt-cu{driver[0]}",
    )


def _generation(wheel: str) -> int:
    """13 of tensorrt-cu13-libs; 0 of what is not TensorRT's, or says nothing."""
    found = re.match(r"tensorrt-cu(\d+)", wheel)
    return int(found[1]) if found else 0


def truncating_onnxruntime(facts: Facts) -> Finding | None:
    if facts.half_rounding is None:
        return None
    return _trap(
        "float16 is truncated",
        f"{facts.half_rounding}: INT8 graphs with float16 are off by a step here, and judged wrongly by calibrate",
        f"{PIP} install -U 'onnxruntime>=1.31'   (there is none for Python 3.10)",
    )


def two_onnxruntimes(facts: Facts) -> Finding | None:
    both = [name for name in ("onnxruntime", "onnxruntime-gpu") if name in facts.wheels]
    if len(both) < 2:
        return None
    return _trap(
        "ONNX Runtime installed twice",
        "onnxruntime and onnxruntime-gpu write into one folder; what runs is a mixture",
        f"{PIP} uninstall -y {' '.join(both)} && {PIP} install onnxruntime-gpu   (or onnxruntime)",
    )


def half_on_orin_nano(facts: Facts) -> Finding | None:
    if "Orin Nano" not in (facts.board or "") or facts.tensorrt.numbers[:3] != (10, 16, 2):
        return None
    return _trap(
        "FP16 on Orin Nano",
        f"TensorRT {facts.tensorrt.version}: one report, without details, of an assertion while building FP16",
        "affectrt build falls back to FP32 and says so; --strict stops instead",
    )


def attention_on_orin(facts: Facts) -> Finding | None:
    if facts.compute_capability != "8.7" or facts.tensorrt.numbers[:3] != (10, 16, 2):
        return None
    return _trap(
        "INT8 around attention",
        f"TensorRT {facts.tensorrt.version} on Orin does not build ModelOpt's pairs around reshapes and attention",
        "calibrate with affectrt's quantiser, which leaves attention in float; build falls back to FP16 and says so",
    )


def no_dla(facts: Facts) -> Finding | None:
    if not facts.jetson:
        return None
    if facts.thor or "Orin Nano" in (facts.board or ""):
        why = f"{facts.board or facts.gpu} has none"
    elif version_of(facts.l4t)[:3] in L4T_WITHOUT_DLA:
        why = f"L4T {facts.l4t} (JetPack 7.2.0 or 7.2.1) ships no libnvdla_compiler.so"
    else:
        return None
    return _trap("no DLA", why, "run on the GPU, which is the default")


def blind_environment(facts: Facts) -> Finding | None:
    """A virtual environment made without --system-site-packages, or with another Python than JetPack's."""
    if not facts.isolated_environment or facts.system_tensorrt is None or facts.tensorrt.version is not None:
        return None
    if any("tensorrt" in name for name in facts.wheels):
        return None
    return _trap(
        "TensorRT out of sight",
        f"{facts.system_tensorrt} is installed, and this virtual environment does not look there",
        "make setup, or: /usr/bin/python3 -m venv --system-site-packages .venv",
    )


def container_without_driver(facts: Facts) -> Finding | None:
    if (
        not facts.container
        or facts.gpu is not None
        or not (facts.jetson or facts.device_files or facts.tensorrt.version)
    ):
        return None
    option = "--runtime nvidia" if facts.jetson else "--gpus all"
    why = facts.gpu_problem or "libcuda.so.1 is not there"
    return _trap("container without the driver", why, f"start the container with {option}")


def no_swap(facts: Facts) -> Finding | None:
    small = facts.memory_bytes is not None and facts.memory_bytes < SMALL_MEMORY
    if not facts.orin or not small or facts.swap_bytes != 0:
        return None
    return _trap(
        "no swap",
        f"{(facts.memory_bytes or 0) / 2**30:.0f} GiB of memory, which GPU and processor share: building may be killed",
        "sudo fallocate -l 8G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile",
    )


TRAPS: tuple[Trap, ...] = (
    container_without_driver,
    tensorrt_of_another_jetpack,
    blind_environment,
    shadowed_tensorrt,
    two_versions,
    old_tensorrt,
    tensorrt_without_orin,
    bindings_newer_than_driver,
    wheels_newer_than_driver,
    two_onnxruntimes,
    truncating_onnxruntime,
    half_on_orin_nano,
    attention_on_orin,
    no_dla,
    no_swap,
)


def traps_from_facts(facts: Facts) -> Iterator[Finding]:
    """The traps that this machine stands in, in the order in which they should be mended."""
    return (found for trap in TRAPS if (found := trap(facts)) is not None)
