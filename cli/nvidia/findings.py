"""What there is of NVIDIA's, one line each; what is missing has a remedy where this machine could use it."""

from __future__ import annotations

from collections.abc import Iterator

from ..dependencies import apt_line
from ..finding import Finding
from .facts import Facts, Loaded

__all__ = ["findings_from_facts"]

JETSON_ELEMENTS = ("nvv4l2decoder", "nvvidconv", "nvarguscamerasrc")
DESKTOP_ELEMENTS = ("nvh264dec", "cudaupload")
CLOCKS = ("GPU cur_freq", "GPU min_freq", "GPU max_freq", "clocks.sm", "clocks.max.sm", "power.limit", "held back by")


def findings_from_facts(facts: Facts) -> Iterator[Finding]:
    """GPU, driver, libraries, GStreamer's elements, power and clocks."""
    yield _gpu(facts)
    yield from _driver(facts)
    packages = {
        "tensorrt": facts.tensorrt,
        "pycuda": facts.pycuda,
        "cuda": facts.cuda_bindings,
        "polygraphy": facts.polygraphy,
    }
    for library, loaded in packages.items():
        yield _package(facts, library, loaded)
    yield _cuda_provider(facts)
    if facts.nvidia:
        yield _elements(facts)
        yield from _power(facts)


def _gpu(facts: Facts) -> Finding:
    board = f"{facts.board}, " if facts.board else ""
    if facts.gpu is not None:
        found = f"{board}{facts.gpu}, compute capability {facts.compute_capability}"
        return Finding("accelerator", "nvidia gpu", True, found)
    if not facts.nvidia:
        return Finding("accelerator", "nvidia gpu", False, "none")
    return Finding("accelerator", "nvidia gpu", False, f"{board}{facts.gpu_problem or 'none'}", facts.gpu_fix)


def _driver(facts: Facts) -> Iterator[Finding]:
    l4t = f", L4T {facts.l4t}" if facts.l4t else ""
    if facts.driver or l4t:
        yield Finding("accelerator", "driver", True, f"{facts.driver or 'unknown'}{l4t}")
    if facts.nvidia or facts.toolkit:
        told = facts.toolkit or "none; it is needed to compile PyCUDA, not to run"
        yield Finding("accelerator", "cuda toolkit", facts.toolkit is not None, told)


def _package(facts: Facts, library: str, loaded: Loaded) -> Finding:
    name = "cuda-bindings" if library == "cuda" else library
    if loaded.version is not None:
        beneath = f", libnvinfer {facts.tensorrt_library}" if library == "tensorrt" and facts.tensorrt_library else ""
        return Finding("accelerator", name, True, f"{loaded.version}{beneath}")
    from affectrt.runtime.engines.nvidia import Platform, install_line

    fix = install_line(library, Platform(facts.machine, facts.l4t, facts.driver)) if facts.nvidia else None
    problem = loaded.problem or "not installed"
    return Finding("accelerator", name, False, problem.splitlines()[0], fix)


def _cuda_provider(facts: Facts) -> Finding:
    there = "CUDAExecutionProvider" in facts.onnxruntime_providers
    found = f"{facts.onnxruntime.version}" if there else "this ONNX Runtime has no CUDA provider"
    return Finding("accelerator", "onnxruntime cuda", there, found)


def _elements(facts: Facts) -> Finding:
    wanted = JETSON_ELEMENTS if facts.jetson else DESKTOP_ELEMENTS
    missing = [name for name in wanted if not facts.elements.get(name)]
    package = "nvidia-l4t-gstreamer" if facts.jetson else "gstreamer1.0-plugins-bad"
    found = f"no {', '.join(missing)}" if missing else ", ".join(wanted)
    return Finding("accelerator", "nvidia elements", not missing, found, apt_line([package]) if missing else None)


def _power(facts: Facts) -> Iterator[Finding]:
    mode = facts.state.get("nvpmodel") or facts.state.get("pstate")
    if mode is not None:
        yield Finding("accelerator", "power mode", True, mode)
    clocks = {name: facts.state[name] for name in CLOCKS if name in facts.state}
    if not clocks:
        return
    # A Jetson's clocks wander unless they were fixed; figures measured then are of no use.
    wander = facts.jetson and clocks.get("GPU min_freq") != clocks.get("GPU max_freq")
    fix = "before measuring or building for release: sudo jetson_clocks" if wander else None
    yield Finding("accelerator", "clocks", not wander, ", ".join(f"{k} {v}" for k, v in clocks.items()), fix)
