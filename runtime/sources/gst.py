"""The few things that every GStreamer source needs. GStreamer is imported when first used, never before."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import MissingDependency

from ..faces import Frame

__all__ = ["APT_LINE", "FrameCopier", "bind_unwinder", "gst", "mapped", "running_time_s", "samples_of"]

# A module or an object of GStreamer: its binding is made at run time, so that there is nothing to check against.
Gst = Any

_LOADING = threading.Lock()

APT_LINE = (
    "sudo apt install python3-gi python3-gst-1.0 gir1.2-gst-plugins-base-1.0 "
    "gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-libav"
)


def bind_unwinder() -> None:
    """Keep C++ exceptions alive beside GStreamer; call before `gi` loads it.

    GStreamer brings libunwind into the global scope, whose `_Unwind_Resume` then stands in for libgcc's in every
    library loaded later. An exception that libgcc began and libunwind resumes ends the process: an error of ONNX
    Runtime, or the mere import of matplotlib. The first in the scope wins, so libgcc must be there first.
    """
    with suppress(OSError):  # a system without libgcc has no such mixture
        ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)


def gst() -> Gst:
    """The initialised `Gst` module. MissingDependency names the packages when there is none.

    Several threads may want it first: one that did not wait for the other would find an empty registry.
    """
    with _LOADING:
        return _loaded()


@cache
def _loaded() -> Gst:
    # GstApp and GstVideo are imported first: elements made before that lack `try_pull_sample`.
    bind_unwinder()
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstApp", "1.0")
        gi.require_version("GstVideo", "1.0")
        gi.require_version("GstPbutils", "1.0")
        from gi.repository import Gst, GstApp, GstPbutils, GstVideo  # noqa: F401
    except (ImportError, ValueError) as error:
        raise MissingDependency(
            f"GStreamer's Python binding cannot be loaded: {error}",
            expected="python3-gi and GStreamer 1.20 or newer, seen by this interpreter "
            "(a virtual environment of the distribution's Python with --system-site-packages)",
            fix=APT_LINE,
        ) from error
    Gst.init(None)
    return Gst


@contextmanager
def mapped(buffer: Gst) -> Iterator[Any]:
    """The bytes of a buffer, to be copied before the block ends: afterwards the pool reuses them.

    Right both with the gst-python overrides (a context manager over a view) and without them (a tuple and a copy).
    """
    handle = buffer.map(gst().MapFlags.READ)
    if isinstance(handle, tuple):
        ok, info = handle
        if not ok:
            raise MemoryError("GStreamer could not map a buffer")
        try:
            yield info.data
        finally:
            buffer.unmap(info)
    else:
        with handle as info:
            yield info.data


def running_time_s(sample: Gst) -> float | None:
    """Media time of a sample in seconds. The raw timestamp is not it: the sample's own segment maps one to the other.

    None where the buffer has no timestamp or lies outside its segment.
    """
    lib = gst()
    pts = sample.get_buffer().pts
    if pts == lib.CLOCK_TIME_NONE:
        return None
    time_ns = sample.get_segment().to_running_time(lib.Format.TIME, pts)
    return None if time_ns == lib.CLOCK_TIME_NONE else float(time_ns) / 1e9


class FrameCopier:
    """Copies RGB samples into arrays; rows may be padded in the buffer (to 4 bytes, or as its video meta says)."""

    def __init__(self) -> None:
        self._caps: Any = None
        self._info: Any = None

    def frame_from_sample(self, sample: Gst) -> Frame:
        from gi.repository import GstVideo

        caps = sample.get_caps()
        if self._caps is None or not caps.is_equal(self._caps):
            self._caps, self._info = caps, GstVideo.VideoInfo.new_from_caps(caps)
        width, height = self._info.width, self._info.height
        buffer = sample.get_buffer()
        meta = GstVideo.buffer_get_video_meta(buffer)
        stride, offset = (
            (meta.stride[0], meta.offset[0]) if meta is not None else (self._info.stride[0], self._info.offset[0])
        )
        with mapped(buffer) as data:
            rows: Frame = np.ndarray((height, width, 3), np.uint8, data, offset, (stride, 3, 1))
            return np.array(rows, np.uint8, order="C")


def samples_of(sample: Gst) -> npt.NDArray[np.float32]:
    """Mono float32 samples in [-1, 1]: overshoot of a lossy codec is clipped, what is not a number becomes 0."""
    with mapped(sample.get_buffer()) as data:
        samples: npt.NDArray[np.float32] = np.frombuffer(data, np.float32).copy()
    if not np.isfinite(samples).all():
        samples = np.nan_to_num(samples, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)
    return np.clip(samples, -1.0, 1.0, out=samples)
