"""Which raw media belongs to which step: frames and samples meet on media time, never on arrival order.

Both classes decide each step exactly once, in order, from timestamps alone, so that the way the media was cut into
chunks cannot change what a step sees. `bundle/SPEC.md` states the rules in words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import AudioModality

from .faces import Face, Frame

__all__ = ["AudioSpanner", "FrameSelector", "PlacedFrame", "Samples", "StepFrame"]

Samples = npt.NDArray[np.float32]

# Timestamps are rounded to a nanosecond by containers and to a microsecond or worse by some muxers.
_EPSILON_S = 1e-6
# Timestamps of audio jitter by a codec frame; up to this, samples are taken as contiguous.
_CONTIGUOUS_S = 0.02


@dataclass(frozen=True, slots=True)
class PlacedFrame:
    """A frame (uint8 RGB, height × width × 3) with its media time and the faces in it."""

    pts_s: float
    frame: Frame
    faces: tuple[Face, ...]


@dataclass(frozen=True, slots=True)
class StepFrame:
    """What the video shows at one step: a new frame, the previous one held, or nothing (None)."""

    step: int
    placed: PlacedFrame | None


class FrameSelector:
    """Gives every step the first frame at or after half a step before it.

    Where that frame comes later than half a step after the step, the previous frame is held for at most
    `max_hold_s`; after that the step has no video. A matched source is decided without waiting for a later frame.
    """

    def __init__(self, step_hz: float, max_hold_s: float, first_step: int) -> None:
        self._step_hz = step_hz
        self._half_s = 0.5 / step_hz
        self._max_hold_s = max_hold_s
        self._last: PlacedFrame | None = None
        self.next_step = first_step
        self.dropped = 0

    def push(self, placed: PlacedFrame) -> list[StepFrame]:
        """Steps decided by this frame. A frame older than its predecessor is dropped and counted."""
        if self._last is not None and placed.pts_s < self._last.pts_s:
            self.dropped += 1
            return []
        decided: list[StepFrame] = []
        while placed.pts_s >= self._time(self.next_step) - self._half_s - _EPSILON_S:
            if placed.pts_s < self._time(self.next_step) + self._half_s - _EPSILON_S:
                decided.append(StepFrame(self.next_step, placed))
                self.next_step += 1
            else:
                decided.append(self._hold())
        self._last = placed
        return decided

    def fill(self, until_step: int) -> list[StepFrame]:
        """Decide the steps before `until_step` without further frames: held or missing."""
        return [self._hold() for _ in range(until_step - self.next_step)]

    def _hold(self) -> StepFrame:
        step = self.next_step
        self.next_step += 1
        last = self._last
        if last is None or self._time(step) - last.pts_s > self._max_hold_s + _EPSILON_S:
            return StepFrame(step, None)
        return StepFrame(step, last)

    def _time(self, step: int) -> float:
        return step / self._step_hz


class AudioSpanner:
    """Cuts the span of every step out of a mono waveform that arrives in chunks of any size."""

    def __init__(self, audio: AudioModality, step_hz: float, first_step: int) -> None:
        self._audio = audio
        self._step_hz = step_hz
        self._tolerance = round(_CONTIGUOUS_S * audio.sample_rate_hz)
        self._base = min(0, audio.span_start(first_step, step_hz))
        if first_step > 0:
            self._base = audio.span_start(first_step, step_hz)
        self._samples: Samples = np.zeros(0, np.float32)
        self._silences: list[tuple[int, int]] = []
        self._heard_from: int | None = None
        self.next_step = first_step

    @property
    def _end(self) -> int:
        return self._base + len(self._samples)

    @property
    def total_steps(self) -> int:
        """Steps that lie whole inside the audio received so far."""
        if self._heard_from is None:
            return 0
        return max(0, math.floor(self._end * self._step_hz / self._audio.sample_rate_hz + 1e-9))

    def push(self, samples: Samples, pts_s: float) -> None:
        """Place `samples` (mono, [-1, 1]) at media time `pts_s`; gaps become silence, overlaps are cut."""
        at = round(pts_s * self._audio.sample_rate_hz)
        if self._heard_from is not None and abs(at - self._end) <= self._tolerance:
            at = self._end
        if at < self._end:
            samples = samples[self._end - at :]
            at = self._end
        if len(samples) == 0:
            return
        parts = [self._samples]
        if at > self._end:
            self._silences.append((self._end, at))
            parts.append(np.zeros(at - self._end, np.float32))
        if self._heard_from is None:
            self._heard_from = at
        parts.append(samples)
        self._samples = np.concatenate(parts)

    def ready(self) -> list[tuple[int, Samples | None]]:
        """Spans of the steps whose whole span has arrived, in step order; None where the step has no audio."""
        spans: list[tuple[int, Samples | None]] = []
        while self._audio.span_end(self.next_step, self._step_hz) <= self._end and self._heard_from is not None:
            spans.append((self.next_step, self._span() if self._present() else None))
            self._advance()
        return spans

    def fill(self, until_step: int) -> list[tuple[int, Samples | None]]:
        """Spans of the steps before `until_step` when no more audio comes: the last sample is repeated."""
        spans: list[tuple[int, Samples | None]] = []
        while self.next_step < until_step:
            spans.append((self.next_step, self._span() if self._present() else None))
            self._advance()
        return spans

    def _present(self) -> bool:
        """Whether the step's own instant lies inside received audio."""
        audio, step = self._audio, self.next_step
        if audio.anchor == "start":
            instant = audio.span_start(step, self._step_hz)
        else:
            instant = audio.span_end(step, self._step_hz) - 1
        if self._heard_from is None or not self._heard_from <= instant < self._end:
            return False
        return not any(start <= instant < end for start, end in self._silences)

    def _span(self) -> Samples:
        start = self._audio.span_start(self.next_step, self._step_hz) - self._base
        # `_samples` is replaced, never written to, so a view stays valid for as long as the request lives.
        span = self._samples[max(start, 0) : start + self._audio.span_samples]
        lead = max(0, -start)
        tail = self._audio.span_samples - lead - len(span)
        if lead == tail == 0:
            return span
        return np.concatenate([np.zeros(lead, np.float32), np.pad(span, (0, tail), "edge")])

    def _advance(self) -> None:
        self.next_step += 1
        # The last sample stays, whatever the step: it is what an ending is padded with.
        keep_from = min(self._audio.span_start(self.next_step, self._step_hz), self._end - 1)
        if keep_from > self._base:
            self._samples = self._samples[keep_from - self._base :]
            self._base = keep_from
            self._silences = [(start, end) for start, end in self._silences if end > self._base]
