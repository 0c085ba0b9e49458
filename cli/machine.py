"""What this machine has and lacks: each probe looks at one thing and returns findings, in data order."""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from .dependencies import APT_PACKAGES, MODULES, apt_line, pip_line
from .finding import Finding, Tier
from .nvidia import Facts, findings_from_facts, traps_from_facts

__all__ = ["findings"]

MIN_GSTREAMER = (1, 20)

# Element → Debian package, by what they are needed for.
FILE_ELEMENTS = {
    "uridecodebin": "gstreamer1.0-plugins-base",
    "appsink": "gstreamer1.0-plugins-base",
    "videoconvert": "gstreamer1.0-plugins-base",
    "videoscale": "gstreamer1.0-plugins-base",
    "videorate": "gstreamer1.0-plugins-base",
    "audioconvert": "gstreamer1.0-plugins-base",
    "audiorate": "gstreamer1.0-plugins-base",
    "audioresample": "gstreamer1.0-plugins-base",
    "videoflip": "gstreamer1.0-plugins-good",
    "qtdemux": "gstreamer1.0-plugins-good",
    "matroskademux": "gstreamer1.0-plugins-good",
    "wavparse": "gstreamer1.0-plugins-good",
    "avdec_h264": "gstreamer1.0-libav",
    "avdec_aac": "gstreamer1.0-libav",
}
LIVE_ELEMENTS = {
    "v4l2src": "gstreamer1.0-plugins-good",
    "rtspsrc": "gstreamer1.0-plugins-good",
    "alsasrc": "gstreamer1.0-alsa",
}
DEMO_ELEMENTS = {
    "appsrc": "gstreamer1.0-plugins-base",
    "mp4mux": "gstreamer1.0-plugins-good",
    "x264enc": "gstreamer1.0-plugins-ugly",
    "avenc_aac": "gstreamer1.0-libav",
}
# What training/synthetic/espeak.py loads; named again because doctor imports nothing that may be missing.
SPEECH_LIBRARIES = ("libespeak-ng.so.1", "libespeak-ng.so")

# Instructions with which ONNX Runtime multiplies INT8 matrices, best first.
DOT_PRODUCT_FLAGS = ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm", "asimddp")


def findings(facts: Facts) -> Iterator[Finding]:
    """Everything that can be said of this machine without changing it. `facts`: what is known of NVIDIA's things."""
    yield _python()
    yield from _base_packages()
    yield from _gstreamer()
    for extra in ("text", "export", "train", "bench"):
        if MODULES[extra]:
            yield _extra(extra)
    yield from _recognisers()
    yield _speech()
    yield _cpu()
    yield from findings_from_facts(facts)
    yield from traps_from_facts(facts)


def _python() -> Finding:
    ok = sys.version_info >= (3, 10)
    fix = None if ok else "use Debian 12, Ubuntu 22.04 or JetPack 6, or newer"
    found = f"{platform.python_version()} at {sys.executable}, {platform.machine()}"
    return Finding("runtime", "python", ok, found, fix, required=True)


def _base_packages() -> Iterator[Finding]:
    for module, distribution in MODULES[""].items():
        loaded, found = _import(module, distribution)
        if loaded and module == "onnxruntime":
            found += f", {', '.join(importlib.import_module(module).get_available_providers())}"
        yield Finding("runtime", module, loaded, found, None if loaded else pip_line(""), required=True)


def _gstreamer() -> Iterator[Finding]:
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstApp", "1.0")
        gi.require_version("GstVideo", "1.0")
        from gi.repository import Gst

        Gst.init(None)
    except (ImportError, ValueError) as error:
        hint = "   (if they are installed, this interpreter does not see them: make setup)"
        yield Finding("runtime", "gstreamer", False, str(error), apt_line(APT_PACKAGES) + hint, required=True)
        return
    found, ok = ".".join(map(str, Gst.version()[:3])), Gst.version()[:2] >= MIN_GSTREAMER
    fix = None if ok else "GStreamer 1.20 or newer: Debian 12, Ubuntu 22.04 or JetPack 6, or newer"
    yield Finding("runtime", "gstreamer", ok, found, fix, required=True)
    sets: list[tuple[Tier, dict[str, str]]] = [
        ("runtime", FILE_ELEMENTS),
        ("live", LIVE_ELEMENTS),
        ("demo", DEMO_ELEMENTS),
    ]
    for tier, elements in sets:
        missing = [name for name in elements if Gst.ElementFactory.find(name) is None]
        packages = sorted({elements[name] for name in missing})
        found = f"no {', '.join(missing)}" if missing else ", ".join(elements)
        fix = apt_line(packages) if missing else None
        yield Finding(tier, "gstreamer elements", not missing, found, fix, required=tier == "runtime")


def _recognisers() -> Iterator[Finding]:
    """Those that take a model directory of the user's: optional, and of no use without one."""
    for extra in ("vosk", "sherpa"):
        (distribution,) = MODULES[extra].values()
        try:
            found, fix = f"{distribution} {version(distribution)}; its model is yours to bring: docs/text.md", None
        except PackageNotFoundError:
            found, fix = f"no {distribution} (optional)", pip_line(extra)
        yield Finding("text", f"extra {extra}", fix is None, found, fix)


def _speech() -> Finding:
    """espeak-ng's library, which speaks for drawn people; nothing but corpora and clips with words needs it."""
    name = next((name for name in SPEECH_LIBRARIES if _loads(name)), None)
    if name is None:
        return Finding("demo", "espeak-ng", False, f"no {SPEECH_LIBRARIES[0]} (optional)", apt_line(["espeak-ng"]))
    return Finding("demo", "espeak-ng", True, f"{name}, the voices of drawn people who speak")


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _extra(extra: Literal["text", "export", "train", "bench"]) -> Finding:
    versions: dict[str, str] = {}
    for distribution in MODULES[extra].values():
        try:
            versions[distribution] = version(distribution)
        except PackageNotFoundError:
            continue
    missing = [d for d in MODULES[extra].values() if d not in versions]
    found = f"no {', '.join(missing)}" if missing else ", ".join(f"{d} {v}" for d, v in versions.items())
    return Finding(extra, f"extra {extra}", not missing, found, pip_line(extra) if missing else None)


def _cpu() -> Finding:
    """Dot product instructions decide whether INT8 is faster than FP32 on this processor."""
    flags, model = _cpu_flags()
    cores = len(os.sched_getaffinity(0))
    fast = [flag for flag in DOT_PRODUCT_FLAGS if flag in flags]
    told = ", ".join(fast) if fast else "no INT8 dot products: int8 may be no faster than fp32"
    return Finding("cpu", "int8 on the cpu", bool(fast), f"{model}, {cores} cores: {told}")


def _cpu_flags() -> tuple[set[str], str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set(), platform.machine()
    pairs = [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]
    flags = next((value for key, value in pairs if key in {"flags", "Features"}), "")
    model = next((value for key, value in pairs if key == "model name"), platform.machine())
    return set(flags.split()), model


def _import(module: str, distribution: str) -> tuple[bool, str]:
    """Whether a module can be imported, and its version or why not: installed is not the same as working."""
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        absent = error.name == module.partition(".")[0]
        return False, "not installed" if absent else f"cannot be imported: {error}"
    except Exception as error:  # a broken binary package may raise anything; the reason is what is asked for
        return False, f"cannot be imported: {type(error).__name__}: {error}"
    try:
        return True, version(distribution)
    except PackageNotFoundError:
        return True, str(getattr(loaded, "__version__", "of unknown version"))
