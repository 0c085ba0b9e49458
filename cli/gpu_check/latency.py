"""Latencies as they are reported: warm-ups that are not counted, then enough calls for the far percentiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

from affectrt.benchmarks.timing import Timing, measure

from .figures import Latency
from .steps import Settings

__all__ = ["latency_of", "time_calls"]


def time_calls(call: Callable[[], object], settings: Settings, clock: Callable[[], float] = perf_counter) -> Latency:
    """At least `settings.calls` calls and `settings.seconds` of them, by the caller's clock."""
    for _ in range(settings.warmups - 1):  # measure() makes one more
        call()
    timing = measure(call, iterations=settings.calls, duration_s=settings.seconds, warmup_s=0.0, clock=clock)
    return latency_of(timing.seconds, settings.warmups)


def latency_of(seconds: Sequence[float], warmups: int) -> Latency:
    """Percentiles of single calls, in seconds; each is one of the calls, not an interpolation."""
    timing = Timing(tuple(seconds))
    return Latency(
        calls=len(timing.seconds),
        warmups=warmups,
        mean_ms=1000 * timing.mean,
        p50_ms=1000 * timing.percentile(50),
        p90_ms=1000 * timing.percentile(90),
        p99_ms=1000 * timing.percentile(99),
        p999_ms=1000 * timing.percentile(99.9),
        max_ms=1000 * max(timing.seconds),
    )
