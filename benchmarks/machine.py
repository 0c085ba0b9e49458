"""What a measurement must say about the machine it was made on. No host name, no user, no path."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["available_cores", "machine_facts", "machine_in_words", "machine_slug"]

# Instructions that decide how fast matrices are multiplied.
_MATRIX_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx_vnni", "avx512_vnni", "amx_int8", "amx_bf16")
_MATRIX_FLAGS_ARM = ("asimddp", "i8mm", "bf16", "sve", "sve2")
_PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "tensorrt", "torch", "affectrt")


def machine_facts() -> dict[str, str]:
    """Name → value, only of what could be read. Take them before measuring: they hold the load of that moment."""
    lines = _cpu_lines()
    flags = set(lines.get("flags", lines.get("Features", "")).split())
    one, five, _ = os.getloadavg()
    facts = {
        "CPU": _cpu_name(lines),
        "cores used": str(available_cores()),
        "instructions": ", ".join(f for f in (*_MATRIX_FLAGS, *_MATRIX_FLAGS_ARM) if f in flags) or "unknown",
        "governor": _text(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "clock limit": _clock_limit(),
        "memory": _memory(),
        "load before": f"{one:.2f} (1 min), {five:.2f} (5 min)",
        "system": f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
        "Python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
    }
    return {name: value for name, value in facts.items() if value}


def machine_in_words() -> str:
    """Processor and cores, such as `AMD EPYC, 2 cores`."""
    cores = available_cores()
    return f"{_cpu_name(_cpu_lines())}, {cores} core{'s' * (cores > 1)}"


def machine_slug() -> str:
    """A file name's part: processor and cores, such as `amd-epyc-2c`."""
    name = re.sub(r"\(.*?\)|[^A-Za-z0-9]+", "-", _cpu_name(_cpu_lines())).strip("-").lower()
    return f"{re.sub('-+', '-', name)[:40]}-{available_cores()}c"


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _cpu_lines() -> dict[str, str]:
    pairs = (line.partition(":") for line in _text(Path("/proc/cpuinfo")).splitlines())
    found: dict[str, str] = {}
    for key, _, value in pairs:
        found.setdefault(key.strip(), value.strip())
    return found


def _cpu_name(lines: dict[str, str]) -> str:
    board = _text(Path("/proc/device-tree/model")).rstrip("\0")
    return board or lines.get("model name", "") or platform.machine()


def _clock_limit() -> str:
    khz = _text(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq"))
    return f"{int(khz) / 1e6:.2f} GHz" if khz.isdigit() else ""


def _memory() -> str:
    found = re.search(r"MemTotal:\s+(\d+) kB", _text(Path("/proc/meminfo")))
    return f"{int(found.group(1)) / 2**20:.1f} GiB" if found else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
