"""How many steps a stream has whose model neither sees nor hears: as many as its picture or its sound would give."""

from __future__ import annotations

import math

from affectrt.bundle.contract import Contract

__all__ = ["MediaClock"]

_EPSILON_S = 1e-6
# Of sound whose rate no contract states: what recognisers of speech take.
_SPEECH_HZ = 16_000


class MediaClock:
    """Counts steps by the timestamps of media that is not looked at."""

    def __init__(self, contract: Contract, first_step: int) -> None:
        self._step_hz = contract.step_hz
        self._rate_hz = contract.audio.sample_rate_hz if contract.audio is not None else _SPEECH_HZ
        self.next_step = first_step

    def see(self, pts_s: float) -> None:
        """A frame shows the step that it is nearest to."""
        self._reach(math.floor((pts_s + _EPSILON_S) * self._step_hz + 0.5) + 1)

    def hear(self, samples: int, pts_s: float) -> None:
        """Sound holds the steps that lie whole in it."""
        self._reach(math.floor((pts_s + samples / self._rate_hz) * self._step_hz + 1e-9))

    def _reach(self, step: int) -> None:
        self.next_step = max(self.next_step, step)
