"""What the GPU is and what it is doing: model, driver, clocks, power, heat, and what holds it back.

Told by nvidia-smi, and on a Jetson by nvpmodel, jetson_clocks, tegrastats and the kernel. Nothing is changed. Values
are kept as they were told; what names this very machine (serial numbers, addresses on its buses) is not asked for.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

__all__ = ["first_gpu", "gpu_state"]

FIELDS = (
    "driver_version",
    "vbios_version",
    "pstate",
    "clocks.sm",
    "clocks.mem",
    "clocks.max.sm",
    "clocks.max.mem",
    "temperature.gpu",
    "power.draw",
    "power.limit",
    "persistence_mode",
    "compute_mode",
    "utilization.gpu",
    "memory.used",
)
# Named otherwise by drivers before 535.
REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
# Bits of NVML's mask of what holds the clocks back; they are part of its interface and never renumbered.
BITS = {
    0x1: "idle",
    0x2: "applications' clocks",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "thermal slowdown (software)",
    0x40: "thermal slowdown (hardware)",
    0x80: "power brake",
    0x100: "display clocks",
}
WAIT_S = 20.0
NAME_BYTES = 256

Tell = Callable[[Sequence[str]], str]


def first_gpu(library: str = "libcuda.so.1") -> str | None:
    """The name of the driver's first device; None where there is no driver or no device. Asks nothing but the driver.

    Before anything else is known of this machine only the standard library can be relied on.
    """
    try:
        cuda = ctypes.CDLL(library)
    except OSError:
        return None
    count, device, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(NAME_BYTES)
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)) or count.value < 1:
        return None
    if cuda.cuDeviceGet(ctypes.byref(device), 0) or cuda.cuDeviceGetName(name, NAME_BYTES, device):
        return None
    return name.value.decode(errors="replace")


def gpu_state(tell: Tell | None = None, root: Path = Path("/")) -> dict[str, str]:
    """Name → value of what could be read at this moment. `tell` runs a command and gives its output, or ""."""
    ask = tell or _output
    found = dict(_nvidia_smi(ask))
    found.update(_jetson(ask, root))
    return {name: value for name, value in found.items() if value}


def _nvidia_smi(tell: Tell) -> Iterator[tuple[str, str]]:
    def query(fields: Sequence[str]) -> list[str]:
        told = tell(["nvidia-smi", "--id=0", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"])
        values = [value.strip() for value in told.strip().split(",")]
        return values if len(values) == len(fields) and not told.startswith("Field") else []

    values = query(FIELDS)
    # A driver that does not know one field answers none of them.
    pairs = zip(FIELDS, values) if values else ((f, (query([f]) or [""])[0]) for f in FIELDS)  # noqa: B905 - query checks
    for name, value in pairs:
        if value and not value.startswith("["):  # [N/A], [Not Supported]
            yield name, value
    for field in REASONS:
        mask = (query([field]) or [""])[0]
        if re.fullmatch(r"0x[0-9a-fA-F]+", mask):
            yield "held back by", _reasons(int(mask, 16))
            return


def _reasons(mask: int) -> str:
    named = [words for bit, words in BITS.items() if mask & bit]
    unknown = mask & ~sum(BITS)
    return ", ".join([*named, *([hex(unknown)] if unknown else [])]) or "nothing"


def _jetson(tell: Tell, root: Path) -> Iterator[tuple[str, str]]:
    release = _text(root / "etc/nv_tegra_release")
    if not release:
        return
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", release)
    yield "L4T", f"{found.group(1)}.{found.group(2)}" if found else release.splitlines()[0]
    yield "board", _text(root / "proc/device-tree/model").rstrip("\0")
    mode = re.search(r"NV Power Mode:\s*(\S+)", tell(["nvpmodel", "-q"]))
    yield "nvpmodel", mode.group(1) if mode else ""
    # Without root it says nothing; the kernel's own figures below do.
    clocks = [line.strip() for line in tell(["jetson_clocks", "--show"]).splitlines()]
    yield "jetson_clocks", "; ".join(line for line in clocks if line.startswith(("GPU", "EMC", "cpu0")))
    for folder in sorted((root / "sys/class/devfreq").glob("*gpu*")):
        for name in ("cur_freq", "min_freq", "max_freq"):
            hertz = _text(folder / name)
            yield f"GPU {name}", f"{int(hertz) / 1e6:.0f} MHz" if hertz.isdigit() else ""
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        kind, milli = _text(zone / "type"), _text(zone / "temp")
        if "gpu" in kind.lower() and milli.isdigit():
            yield kind, f"{int(milli) / 1000:.1f} °C"
    yield "tegrastats", _tegrastats()


def _tegrastats() -> str:
    """The first line of what would go on for ever."""
    if shutil.which("tegrastats") is None:
        return ""
    try:
        subprocess.run(["tegrastats", "--interval", "200"], capture_output=True, timeout=1.5, check=False)
    except subprocess.TimeoutExpired as ended:
        lines = (ended.stdout or b"").decode(errors="replace").splitlines()
        line = lines[0] if lines else ""
        # It begins with the time of day.
        return line[max(0, line.find("RAM")) :].strip()
    except OSError:
        pass
    return ""


def _output(command: Sequence[str]) -> str:
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
