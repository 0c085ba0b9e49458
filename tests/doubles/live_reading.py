"""Reads a live source as a session would, and finds the flashes and beeps in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from affectrt.runtime.sources import AudioChunk, Event, Gap, LiveSource, StreamEnd, VideoChunk

__all__ = ["Reading", "read_live"]

RATE_HZ = 16_000


@dataclass
class Reading:
    """What came: brightness and time of each frame, each chunk, gaps with when they were read, ages in seconds."""

    frames: list[tuple[float, float]] = field(default_factory=list)
    chunks: list[tuple[float, npt.NDArray[np.float32]]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    ages_s: dict[str, list[float]] = field(default_factory=lambda: {"video": [], "audio": []})
    media_at: list[float] = field(default_factory=list)
    """When each chunk was read, on the monotonic clock."""

    def add(self, event: Event, epoch_s: float) -> None:
        now = time.monotonic()
        if isinstance(event, VideoChunk):
            at = float(event.pts_s[0])
            self.frames.append((at, float(event.frames[0].mean())))
            self.ages_s["video"].append(now - epoch_s - at)
            self.media_at.append(now)
        elif isinstance(event, AudioChunk):
            self.chunks.append((event.pts_s, event.samples))
            self.ages_s["audio"].append(now - epoch_s - event.pts_s)
            self.media_at.append(now)
        elif isinstance(event, Gap):
            self.gaps.append(event)
        elif isinstance(event, StreamEnd):
            self.ends.append(event.modality)

    def flashes_s(self) -> npt.NDArray[np.float64]:
        """Times at which a dark frame is followed by a bright one."""
        return np.array([b for (_, dark), (b, bright) in pairwise(self.frames) if dark < 128 <= bright])

    def beeps_s(self) -> npt.NDArray[np.float64]:
        """Times at which sound follows on at least 0.2 s of silence."""
        loud = [at + np.flatnonzero(np.abs(samples) > 0.02) / RATE_HZ for at, samples in self.chunks]
        times = np.concatenate(loud) if loud else np.zeros(0)
        onsets = times[np.flatnonzero(np.diff(times, prepend=-1.0) > 0.2)]
        # What is loud at the very beginning began before.
        return onsets[onsets > self.chunks[0][0] + 0.03] if self.chunks else onsets

    def beep_after_flash_s(self) -> npt.NDArray[np.float64]:
        """For each flash, how much later the nearest beep is.

        Not for those beside a hole: a busy machine sends and shows fewer pictures, and the first that is bright may not
        be the first that was.
        """
        flashes, beeps = [at for at in self.flashes_s() if self._whole(float(at))], self.beeps_s()
        return np.array([beeps[np.abs(beeps - at).argmin()] - at for at in flashes]) if len(beeps) else np.zeros(0)

    def _whole(self, at_s: float) -> bool:
        """Whether pictures and sound came without a hole for 0.3 s before and after."""
        shown = np.array([pts_s for pts_s, _ in self.frames])
        ends = np.array([pts_s + len(samples) / RATE_HZ for pts_s, samples in self.chunks])
        holes = [(a, b) for a, b in pairwise(shown) if b - a > 0.06]
        holes += [(end, pts_s) for end, (pts_s, _) in zip(ends, self.chunks[1:], strict=False) if pts_s - end > 0.005]
        return not any(a < at_s + 0.3 and b > at_s - 0.3 for a, b in holes)

    def advances(self) -> bool:
        """Whether the times of frames and of chunks only grow, over gaps as well."""
        times: Sequence[list[float]] = ([at for at, _ in self.frames], [at for at, _ in self.chunks])
        return all(a < b for line in times for a, b in pairwise(line))


def read_live(
    source: LiveSource,
    seconds: float,
    *,
    each: Callable[[Event], None] | None = None,
    until: Callable[[Reading], bool] | None = None,
    into: Reading | None = None,
) -> Reading:
    """Read for so long, or to the end, or until what was read is enough."""
    reading = into if into is not None else Reading()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not source.ended and not (until is not None and until(reading)):
        event = source.next_event(0.05)
        if event is not None:
            reading.add(event, source.epoch_s)
            if each is not None:
                each(event)
    return reading
