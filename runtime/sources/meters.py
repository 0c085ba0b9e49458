"""How well sound and pictures keep together, measured while they come."""

from __future__ import annotations

import threading
from collections import deque
from statistics import median
from typing import Any

import numpy as np

from .gst import gst

__all__ = ["DriftMeter", "SkewMeter", "sound_probe"]

# Less than this says more about jitter than about a clock.
_MIN_SPAN_S = 10.0
# A jitter buffer, and a card that follows another clock, settle first.
_SETTLING_S = 2.0
_WINDOW_POINTS = 600
_POINT_S = 1.0
# A step of this size is a hole or a resync, not drift; it is taken out of the fit.
_JUMP_S = 0.03
# Sound that claims to lie this far ahead of the clock is not let through: audiorate would fill the way there.
_MAX_AHEAD_S = 2.0


class DriftMeter:
    """Fits how the count of samples runs away from their timestamps, over the last 10 minutes of one connection.

    `push` is called from GStreamer's thread, `ppm` from any.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._points: deque[tuple[float, float]] = deque(maxlen=_WINDOW_POINTS)
        self._gathered: list[tuple[float, float]] = []
        self._excess_s = 0.0
        self._next_s: float | None = None
        self._counts_from_s = 0.0

    def push(self, pts_s: float, samples: int, rate_hz: int) -> None:
        """`samples` at `rate_hz` whose first one is stamped `pts_s`."""
        lasts = samples / rate_hz
        if self._next_s is None:
            self._counts_from_s = pts_s + _SETTLING_S
        elif pts_s >= self._counts_from_s:
            step = self._next_s - pts_s
            if abs(step) < _JUMP_S:
                self._excess_s += step
        self._next_s = pts_s + lasts
        if pts_s < self._counts_from_s:
            return
        self._gathered.append((pts_s, self._excess_s))
        if pts_s - self._gathered[0][0] >= _POINT_S:
            point = np.mean(self._gathered, axis=0)
            self._gathered.clear()
            with self._lock:
                self._points.append((float(point[0]), float(point[1])))

    def ppm(self) -> float:
        """How much faster the samples come than their timestamps advance, in parts per million; 0 until 10 s are in."""
        with self._lock:
            points = np.array(self._points, np.float64).reshape(-1, 2)
        if len(points) < 3 or points[-1, 0] - points[0, 0] < _MIN_SPAN_S - _POINT_S:
            return 0.0
        return float(np.polyfit(points[:, 0] - points[0, 0], points[:, 1], 1)[0] * 1e6)


class SkewMeter:
    """Medians of how late the last 100 frames and chunks came, each by its own time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._late_s: dict[str, deque[float]] = {"video": deque(maxlen=100), "audio": deque(maxlen=100)}

    def push(self, stream: str, late_s: float) -> None:
        with self._lock:
            self._late_s[stream].append(late_s)

    def ms(self) -> float:
        """How much later sound is handed over than the picture of the same media time; 0 until both have come."""
        with self._lock:
            video, audio = (list(self._late_s[stream]) for stream in ("video", "audio"))
        return 1e3 * (median(audio) - median(video)) if video and audio else 0.0


def sound_probe(drift: DriftMeter, pipeline: Any, *, ahead: bool) -> Any:
    """Counts samples against their time before audiorate evens them out. It holds no reference to the pipeline."""
    lib = gst()
    clock = lib.SystemClock.obtain()
    started = pipeline.weak_ref() if hasattr(pipeline, "weak_ref") else None

    def count(pad: Any, info: Any) -> Any:
        buffer = info.get_buffer()
        event = pad.get_sticky_event(lib.EventType.SEGMENT, 0)
        caps = pad.get_current_caps()
        if buffer.pts == lib.CLOCK_TIME_NONE or event is None or caps is None:
            return lib.PadProbeReturn.OK
        at = event.parse_segment().to_running_time(lib.Format.TIME, buffer.pts)
        owner = started() if started is not None else None
        if at == lib.CLOCK_TIME_NONE or owner is None:
            return lib.PadProbeReturn.OK
        if ahead and at > clock.get_time() - owner.get_base_time() + _MAX_AHEAD_S * 1e9:
            return lib.PadProbeReturn.DROP
        _, rate_hz = caps.get_structure(0).get_int("rate")
        drift.push(at / 1e9, buffer.get_size() // 4, rate_hz)
        return lib.PadProbeReturn.OK

    return count
