"""Sinks that are slow, full or gone: the others and the run go on, and it is told."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.kept_sink import Kept
from doubles.live_source import Clock, LiveDouble
from doubles.tiny_bundle import make_tiny_bundle

from affectrt.bundle.errors import AffectError
from affectrt.bundle.store import Bundle
from affectrt.runtime.estimate import Estimate
from affectrt.runtime.live import run_streams
from affectrt.runtime.run import run_bundle
from affectrt.runtime.sinks import Header, JsonLinesSink, Sink
from affectrt.runtime.sinks.queued import QueuedSink
from affectrt.runtime.sources import MemorySource

HEADER = Header("b", "0", "fp32", "onnxruntime", "s", 25.0, 5, 1, ("video",), ())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny.affect")


def clip() -> MemorySource:
    frames = np.full((100, 24, 32, 3), 90, np.uint8)
    return MemorySource.from_arrays(frames=frames, pts_s=np.arange(100) / 25, name="clip")


def run(kind: str, bundle: Bundle, sinks: Sequence[Sink]) -> Any:
    if kind == "file":
        return run_bundle(bundle, clip(), sinks, threads=1)
    clock = Clock()
    return run_streams(bundle, [LiveDouble(clock, seconds=4)], sinks, threads=1, clock=clock)[0]


class Breaking(Kept):
    """Its disk is full after 20 estimates."""

    name = "breaking"

    def write(self, estimates: Sequence[Estimate]) -> None:
        super().write(estimates)
        if len(self.estimates) > 20:
            raise AffectError("breaking cannot be written: No space left on device", expected="room on the disk")


class Stuck(Kept):
    """Does not return from a write until it is let go."""

    name = "stuck"

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def write(self, estimates: Sequence[Estimate]) -> None:
        self.go.wait(30)
        super().write(estimates)


def full_disk(kind: str) -> Sink:
    return Breaking() if kind == "later" else JsonLinesSink(Path("/dev/full"), overwrite=True)


@pytest.mark.parametrize("kind", ["file", "live"])
@pytest.mark.parametrize("when", ["from the start", "later"])
def test_a_full_disk_is_told_once_and_the_other_sinks_get_everything(
    kind: str, when: str, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    kept, full = Kept(), full_disk(when)
    report = run(kind, bundle, [full, kept])
    assert len(kept.estimates) == report.estimates == 100 and kept.closed
    assert len(report.failed_sinks) == 1 and "No space left" in report.failed_sinks[0]
    assert [r.message for r in caplog.records if "No space left" in r.message] == [
        f"{report.failed_sinks[0]}; the run goes on for the other sinks"
    ]
    assert not isinstance(full, Breaking) or full.closed


@pytest.mark.parametrize("kind", ["file", "live"])
@pytest.mark.parametrize("when", ["from the start", "later"])
def test_a_full_disk_of_the_only_sink_ends_the_run(kind: str, when: str, bundle: Bundle) -> None:
    with pytest.raises(AffectError, match="No space left"):
        run(kind, bundle, [full_disk(when)])


def test_when_all_sinks_fail_the_last_one_ends_the_run(bundle: Bundle) -> None:
    with pytest.raises(AffectError, match="No space left"):
        run("file", bundle, [full_disk("from the start"), full_disk("later")])


@pytest.mark.parametrize("kind", ["file", "live"])
def test_a_reader_that_has_gone_ends_the_run_only_when_nobody_else_reads(kind: str, bundle: Bundle) -> None:
    kept, leaving = Kept(), Kept(leave_after=10)
    report = run(kind, bundle, [leaving, kept])
    assert len(kept.estimates) == 100 and report.stopped_by is None and report.failed_sinks == ()
    assert run(kind, bundle, [Kept(leave_after=10)]).stopped_by == "reader gone"


def estimates(count: int) -> list[Estimate]:
    return [Estimate(k / 25, 0.0, 0.0, 0, ()) for k in range(count)]


def test_a_stuck_sink_holds_nobody_up_and_memory_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    stuck = Stuck()
    sink = QueuedSink(stuck, estimates=50)
    sink.open(HEADER)
    began = time.monotonic()
    for estimate in estimates(10_000):
        sink.write([estimate])
    assert time.monotonic() - began < 2 and sink.queued == 50
    assert sink.dropped in {9949, 9950}, "all but those that wait and the one that is being written"
    stuck.go.set()
    sink.close()
    assert [round(e.t_s * 25) for e in stuck.estimates][-50:] == list(range(9950, 10_000)), "the oldest are dropped"
    assert stuck.closed and len([r for r in caplog.records if "too slow" in r.message]) == 1


def test_a_sink_that_never_returns_is_left_alone_at_the_end() -> None:
    stuck = Stuck()
    sink = QueuedSink(stuck)
    sink.open(HEADER)
    for estimate in estimates(5):
        sink.write([estimate])
    began = time.monotonic()
    sink.close()
    assert time.monotonic() - began < 3 and sink.dropped == 4 and not stuck.closed
    stuck.go.set()


def test_a_failure_of_the_very_last_write_is_not_lost() -> None:
    breaking = Breaking()
    with pytest.raises(AffectError, match="No space left"), QueuedSink(breaking) as sink:
        sink.open(HEADER)
        sink.write(estimates(30))
    assert breaking.closed


def test_frames_wait_in_small_numbers() -> None:
    class Drawing(Stuck):
        wants_frames = True
        shown = 0
        left_out = 3

        def show(self, *_: object) -> None:
            self.go.wait(30)
            self.shown += 1

    drawing = Drawing()
    sink = QueuedSink(drawing)
    sink.open(HEADER)
    for k in range(200):
        sink.show(np.zeros((4, 4, 3), np.uint8), k / 25, [])
    drawing.go.set()
    sink.close()
    assert drawing.shown in {32, 33}
    assert sink.left_out == 200 - drawing.shown + 3, "the queue's own, and those of the sink"


def test_a_slow_sink_does_not_slow_a_live_run(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    class Sleepy(Kept):
        def write(self, estimates: Sequence[Estimate]) -> None:
            time.sleep(0.05)
            super().write(estimates)

    caplog.set_level(logging.INFO)
    kept, sleepy = Kept(), Sleepy()
    report = run("live", bundle, [sleepy, kept])
    assert report.counters["frames_dropped"] == 0 and len(kept.estimates) == 100 == len(sleepy.estimates)
    assert report.seconds["sink"] < 0.5
