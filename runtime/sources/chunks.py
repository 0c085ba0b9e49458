"""From GStreamer's samples to chunks on media time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .base import AudioChunk, VideoChunk
from .gst import FrameCopier, gst, running_time_s, samples_of

__all__ = ["AudioChunker", "VideoChunker"]

# Longer than what audioresample still holds at the end of a stream, at any rate.
_RESAMPLER_TAIL_S = 0.05
_SAMPLE_BYTES = 4  # float32


class VideoChunker:
    """One frame a chunk. Frames whose time does not advance are left out and counted in `late`.

    `reached_s` is the end of the last frame, 0 before the first.
    """

    def __init__(self) -> None:
        self._copier = FrameCopier()
        self._last_pts_s = -1.0
        self.late = 0
        self.reached_s = 0.0
        self.decoded_s = 0.0

    def push(self, sample: Any) -> Iterator[VideoChunk]:
        at = running_time_s(sample)
        at = self.reached_s if at is None else at
        if at <= self._last_pts_s:
            self.late += 1
            return
        duration = sample.get_buffer().duration
        known = duration != gst().CLOCK_TIME_NONE
        lasts = duration / 1e9 if known else at - max(self._last_pts_s, 0.0)
        self._last_pts_s = at
        self.reached_s = self.decoded_s = at + lasts
        yield VideoChunk([self._copier.frame_from_sample(sample)], np.array([at], np.float64))


class AudioChunker:
    """Samples as they come, except those that audiorate made up.

    audiorate fills holes, and a cut-off stream up to its announced end, with silence that it flags as GAP. Such
    silence is not audio that was received: it is left out, and so is what the resampler makes of its end.
    `decoded_s` is the end of the last real sample, `reached_s` also counts what was left out; `hole` and `hole_s`
    are the buffers and seconds left out since the last real sample.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._held: AudioChunk | None = None
        self.hole = 0
        self.hole_s = 0.0
        self.reached_s = 0.0
        self.decoded_s = 0.0

    def push(self, sample: Any) -> Iterator[AudioChunk]:
        lib = gst()
        at = running_time_s(sample)
        at = self.reached_s if at is None else at
        buffer = sample.get_buffer()
        lasts = buffer.get_size() / _SAMPLE_BYTES / self._rate_hz
        self.reached_s = max(self.reached_s, at + lasts)
        if buffer.get_flags() & lib.BufferFlags.GAP:  # hours of it, where timestamps are damaged: not even looked at
            self.hole += 1
            self.hole_s += lasts
            return
        chunk = AudioChunk(samples_of(sample), at)
        if self.hole and self._held is None and lasts < _RESAMPLER_TAIL_S:
            # Either the first real samples after a hole, or the resampler's tail at the end: the next pull tells.
            self._held = chunk
            return
        for real in (self._held, chunk):
            if real is not None:
                self.decoded_s = real.pts_s + len(real.samples) / self._rate_hz
                yield real
        self._held, self.hole, self.hole_s = None, 0, 0.0
