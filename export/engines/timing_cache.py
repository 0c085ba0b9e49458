"""What TensorRT measured of its kernels on one device, kept for the next build, which then takes seconds.

The content is believed like an engine, so it is read and written as one's own file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectrt.bundle.plain_files import os_reason
from affectrt.runtime.engines.own_files import read_own, write_own

if TYPE_CHECKING:
    from affectrt.runtime.engines.gpu import Gpu

__all__ = ["attach_timings", "read_timings", "timing_cache_path", "timings_of", "write_timings"]

MAX_TIMING_BYTES = 1 << 30


def timing_cache_path(root: Path, tensorrt: str, gpu: Gpu) -> Path:
    """Where the measurements of one device and one TensorRT lie in a cache."""
    words = "-".join((tensorrt, gpu.name, gpu.compute_capability))
    return root / "timing" / (re.sub(r"[^A-Za-z0-9.]+", "-", words).strip("-") + ".cache")


def read_timings(path: Path | None) -> tuple[bytes, str | None]:
    """What was measured before, empty if nothing was, and why a file that is there is not used."""
    if path is None:
        return b"", None
    try:
        return read_own(path, MAX_TIMING_BYTES), None
    except FileNotFoundError:
        return b"", None
    except OSError as error:
        return b"", f"the timing cache {path} is not used: it {os_reason(error)}"


def attach_timings(config: Any, content: bytes) -> bool:
    """Give a builder's configuration what was measured; False where that was on something else, or is damaged.

    The empty cache that Polygraphy attached then stays.
    """
    if not content:
        return True
    cache = config.create_timing_cache(content)
    return cache is not None and bool(config.set_timing_cache(cache, ignore_mismatch=False))


def timings_of(config: Any) -> bytes:
    """All that is measured by now; empty where this TensorRT keeps nothing."""
    cache = config.get_timing_cache()
    return b"" if cache is None else memoryview(cache.serialize()).tobytes()


def write_timings(path: Path | None, content: bytes) -> str | None:
    """Keep measurements for the next build, whole or not at all; returns why they could not be kept."""
    if path is None or not content:
        return None
    try:
        write_own(path, content)
    except OSError as error:
        return f"the next build will measure again: the timing cache {path} cannot be written: {os_reason(error)}"
    return None
