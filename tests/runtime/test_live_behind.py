"""Engines slower than the media: age stays within the bound that `run_streams` states, memory flat, drops are told."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest
from doubles.kept_sink import Kept
from doubles.live_source import Clock, LiveDouble, SlowEngine
from doubles.tiny_bundle import make_tiny_bundle

from affectrt.bundle.store import Bundle
from affectrt.runtime import live
from affectrt.runtime.engines import open_engines
from affectrt.runtime.estimate import Estimate

HOP_S, LOOK_AHEAD_S, CHUNK_S = 5 / 25, 0.1, 0.02
# What keeps up with real time: 25 frames, 25 spans of sound and 5 runs a second cost 0.9 s of each second.
KEEPING_UP = {"video": 0.02, "audio": 0.012, "fusion": 0.02}


class Slow:
    """Engines that cost time on the clock of the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, clock: Clock, factor: float) -> None:
        self.row_s = {stage: factor * seconds for stage, seconds in KEEPING_UP.items()}

        def opened(*arguments: Any, **options: Any) -> Any:
            engines = open_engines(*arguments, **options)
            return {stage: SlowEngine(engine, clock, self.row_s[stage]) for stage, engine in engines.items()}

        monkeypatch.setattr(live, "open_engines", opened)

    def bound_s(self, batch: int) -> float:
        """As `run_streams` says: 2 frames and a second of sound are queued, one face is in view."""
        encoders = 2 * self.row_s["video"] + 25 * self.row_s["audio"]
        return LOOK_AHEAD_S + 2 * HOP_S + CHUNK_S + 0.75 + encoders + 2 * batch * self.row_s["fusion"]


class Watched(Kept):
    """Remembers only what the tests ask for, so that memory can be watched."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.frames_dropped = 0
        self.oldest_ms = 0.0
        self.last: dict[int, float] = {}
        self.memory: list[tuple[float, int]] = []

    def write(self, estimates: Any) -> None:
        for estimate in estimates:
            self.see(estimate)

    def see(self, estimate: Estimate) -> None:
        assert estimate.t_s > self.last.get(estimate.track, -1.0), "estimates leave in the order of time"
        self.last[estimate.track] = estimate.t_s
        self.count += 1
        self.oldest_ms = max(self.oldest_ms, estimate.age_ms or 0.0)
        self.frames_dropped += estimate.quality.frames_dropped or 0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny.affect")


def behind(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, *, factor: float, seconds: float, batch: int = 2) -> Any:
    clock, sink = Clock(), Watched()
    slow = Slow(monkeypatch, clock, factor)
    source = LiveDouble(clock, seconds=seconds, chunk_s=CHUNK_S)
    marks = iter([seconds * share for share in (0.2, 0.4, 0.6, 0.8, 0.95)])
    upcoming = [next(marks)]

    def watch(at_s: float, _whole: float | None) -> None:
        if upcoming[0] <= at_s:
            gc.collect()
            sink.memory.append((at_s, tracemalloc.get_traced_memory()[0]))
            upcoming[0] = next(marks, float("inf"))

    tracemalloc.start()
    try:
        (report,) = live.run_streams(bundle, [source], [sink], threads=1, max_batch=batch, clock=clock, progress=watch)
    finally:
        tracemalloc.stop()
    return report, sink, slow.bound_s(batch)


def test_engines_that_keep_up_drop_and_skip_nothing(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    report, sink, _ = behind(bundle, monkeypatch, factor=1.0, seconds=30)
    assert sink.count == 750 and report.counters["frames_dropped"] == 0 == report.skipped_steps
    assert sink.oldest_ms <= 1000 * (LOOK_AHEAD_S + HOP_S + 0.3)


def check(report: Any, sink: Watched, bound_s: float, seconds: float) -> None:
    assert sink.oldest_ms <= 1000 * bound_s, "no estimate is older than what is promised"
    assert sink.last[0] >= seconds - 1, "to the very end"
    assert sink.frames_dropped <= report.counters["frames_dropped"]
    assert report.counters["frames_dropped"] > 0.5 * report.counters["frames_in"]
    assert report.counters["audio_chunks_dropped"] > 0 and report.skipped_steps > 0
    assert sink.count + report.skipped_steps == report.estimates + report.skipped_steps == round(seconds * 25)
    growth = sink.memory[-1][1] - sink.memory[1][1]
    assert growth < 50_000, sink.memory


def test_a_minute_five_times_behind_stays_as_young_as_promised(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    report, sink, bound_s = behind(bundle, monkeypatch, factor=5.0, seconds=60)
    check(report, sink, bound_s, 60)


def test_a_little_behind_loses_frames_and_no_sound(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    report, sink, bound_s = behind(bundle, monkeypatch, factor=2.0, seconds=20)
    assert sink.oldest_ms <= 1000 * bound_s and report.counters["frames_dropped"] > 250
    assert report.counters["audio_chunks_dropped"] == 0 and sink.count == 500


@pytest.mark.slow
def test_ten_minutes_five_times_behind_stay_as_young_as_promised(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, sink, bound_s = behind(bundle, monkeypatch, factor=5.0, seconds=600)
    slope = (sink.memory[-1][1] - sink.memory[1][1]) / (sink.memory[-1][0] - sink.memory[1][0])
    print(
        f"oldest {sink.oldest_ms:.0f} ms of {1000 * bound_s:.0f}, p99 {report.ages_ms['p99']:.0f}, "
        f"{sink.count} estimates, {report.skipped_steps} steps skipped, memory {slope:.1f} B/s, {report.counters}"
    )
    check(report, sink, bound_s, 600)
    assert slope < 100
