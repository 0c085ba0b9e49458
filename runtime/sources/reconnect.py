"""How a lost source is sought again."""

from __future__ import annotations

from dataclasses import dataclass

from affectrt.bundle.errors import UsageError

__all__ = ["Reconnect"]

_FIRST_WAIT_S = 0.5


@dataclass(frozen=True)
class Reconnect:
    """Waits double from 0.5 s up to `interval_s`; after media has come they begin anew.

    `attempts` in a row may fail before the source is given up; -1 never gives up, 0 does not try again. A source is
    lost when nothing comes for `stall_s`, or nothing at all within `start_s` of connecting. UsageError for values
    that make no sense.
    """

    interval_s: float = 5.0
    attempts: int = -1
    stall_s: float = 3.0
    start_s: float = 10.0

    def __post_init__(self) -> None:
        if not (0 < self.interval_s <= 3600 and self.attempts >= -1):
            raise UsageError(
                f"reconnecting every {self.interval_s:g} s, {self.attempts} times",
                expected="an interval above 0 s up to an hour; attempts of 0 or more, or -1 for ever",
            )
        if not (0 < self.stall_s <= 3600 and 0 < self.start_s <= 3600):
            raise UsageError(
                f"a stall of {self.stall_s:g} s, a start of {self.start_s:g} s", expected="above 0 s, up to an hour"
            )

    def wait_s(self, failures: int) -> float:
        """How long to wait before the next attempt, after so many failures in a row (0: right after a loss)."""
        return min(self.interval_s, _FIRST_WAIT_S * 2.0 ** min(failures, 20))

    def exhausted(self, failures: int) -> bool:
        """Whether so many failed attempts in a row are the end."""
        return 0 <= self.attempts <= failures
