"""Several streams through one loop: live and files, gaps, streams that fail, what is told of them."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.kept_sink import Kept
from doubles.live_source import Clock, LiveDouble
from doubles.tiny_bundle import make_tiny_bundle

from affectrt.bundle.errors import MediaError, UsageError
from affectrt.bundle.store import Bundle
from affectrt.runtime.estimate import Estimate
from affectrt.runtime.live import run_streams
from affectrt.runtime.report import RunReport
from affectrt.runtime.run import Stop, run_bundle
from affectrt.runtime.sinks import Sink
from affectrt.runtime.sources import MemorySource, Source
from affectrt.runtime.status import HealthFile


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny.affect")


def run(bundle: Bundle, sources: list[Source], clock: Clock, **options: Any) -> tuple[list[RunReport], Kept]:
    kept = Kept()
    return run_streams(bundle, sources, [kept], threads=1, clock=clock, **options), kept


def clip(name: str, seconds: float, grey: int) -> MemorySource:
    count = round(seconds * 25)
    frames = np.full((count, 24, 32, 3), grey, np.uint8)
    samples = np.full(round(seconds * 16_000), 0.25, np.float32)
    return MemorySource.from_arrays(frames=frames, pts_s=np.arange(count) / 25, samples=samples, name=name)


def steps_of(estimates: list[Estimate], source: str) -> list[int]:
    return [round(e.t_s * 25) for e in estimates if e.source == source]


def test_a_live_stream_is_estimated_at_every_step_with_its_age(bundle: Bundle) -> None:
    clock = Clock()
    reports, kept = run(bundle, [LiveDouble(clock, seconds=8)], clock)
    assert steps_of(kept.estimates, "live") == list(range(200))
    ages = [e.age_ms for e in kept.estimates[:-5]]
    # Look-ahead 100 ms, then up to a hop of 5 steps, a chunk of 20 ms and the wait of 10 ms.
    assert all(age is not None and 99 <= age <= 100 + 200 + 20 + 20 for age in ages), ages
    assert {e.quality.frames_dropped for e in kept.estimates} == {0}
    (report,) = reports
    assert report.counters["frames_dropped"] == 0 and report.skipped_steps == 0 and report.failure is None
    assert report.ages_ms["p50"] <= report.ages_ms["p99"] <= report.ages_ms["max"] <= 340
    assert kept.header is not None and kept.header.live and kept.header.look_ahead_s == 0.1


def test_live_and_recorded_streams_share_batches_and_keep_their_order(bundle: Bundle) -> None:
    clock = Clock()
    sources: list[Source] = [
        LiveDouble(clock, seconds=4, name="door", grey=lambda at: 30),
        LiveDouble(clock, seconds=4, name="door", grey=lambda at: 60),
        clip("clip", 6, 200),
    ]
    reports, kept = run(bundle, sources, clock)
    assert [r.source for r in reports] == ["door", "door#2", "clip"]
    assert [r.estimates for r in reports] == [100, 100, 150]
    for name, count in (("door", 100), ("door#2", 100), ("clip", 150)):
        assert steps_of(kept.estimates, name) == list(range(count))
    alone = Kept()
    run_bundle(bundle, clip("clip", 6, 200), [alone], threads=1)
    together = [e for e in kept.estimates if e.source == "clip"]
    np.testing.assert_allclose([e.valence for e in together], [e.valence for e in alone.estimates], atol=1e-6)
    assert {e.age_ms for e in together} == {None} == {e.quality.frames_dropped for e in together}
    assert len({round(e.valence or 0, 3) for e in kept.estimates}) == 3, "every stream has its own pictures"
    assert reports[0].calls["video"] < reports[0].rows["video"] == 350
    header = kept.header
    assert header is not None and header.sources == ("door", "door#2", "clip") and header.source == "door, door#2, clip"


def test_a_gap_begins_a_new_stretch_that_is_counted_and_told(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    (report,), kept = run(bundle, [LiveDouble(clock, seconds=6, gaps=[(2.0, 4.0, "the cable was out")])], clock)
    assert steps_of(kept.estimates, "live") == [*range(50), *range(100, 150)]
    assert report.gaps == ("the cable was out",) and report.gap_count == 1
    assert "gap in live: the cable was out" in caplog.text


def test_a_stream_that_fails_ends_alone(bundle: Bundle) -> None:
    clock = Clock()
    sources: list[Source] = [
        LiveDouble(clock, seconds=9, name="bad", fails_at=2.0),
        LiveDouble(clock, seconds=6, name="good"),
    ]
    reports, kept = run(bundle, sources, clock)
    assert [r.failure for r in reports] == ["bad is lost", None]
    assert steps_of(kept.estimates, "good") == list(range(150))
    assert 40 <= len(steps_of(kept.estimates, "bad")) <= 51, "what had come is estimated to its end"
    assert [source.left for source in sources] == [1, 1]  # type: ignore[attr-defined]


def test_a_source_that_cannot_be_opened_does_not_hold_up_the_others(bundle: Bundle) -> None:
    clock, never = Clock(), threading.Event()

    def refuse() -> None:
        raise MediaError("camera 7 is not there")

    sources: list[Source] = [
        LiveDouble(clock, seconds=9, name="absent", opens=refuse),
        LiveDouble(clock, seconds=9, name="slow", opens=lambda: never.wait(30) and None),
        LiveDouble(clock, seconds=9, name="there"),
    ]
    sources[1].stop = never.set  # type: ignore[method-assign]
    reports, kept = run(bundle, sources, clock, duration_s=5)
    assert steps_of(kept.estimates, "there")[:124] == list(range(124))
    assert reports[0].failure == "camera 7 is not there" and reports[1].failure == "slow gave nothing in 5 s"


def test_the_error_of_an_only_source_is_raised(bundle: Bundle) -> None:
    clock = Clock()
    with pytest.raises(MediaError, match="live is lost"):
        run(bundle, [LiveDouble(clock, seconds=9, fails_at=1.0)], clock)


def test_a_duration_ends_all_streams_in_good_order(bundle: Bundle) -> None:
    clock = Clock()
    sources: list[Source] = [LiveDouble(clock, seconds=99), clip("clip", 30, 90)]
    reports, kept = run(bundle, sources, clock, duration_s=4)
    assert [r.stopped_by for r in reports] == [None, None] and all(r.outcome.complete for r in reports)
    assert 100 <= len(steps_of(kept.estimates, "live")) <= 102
    assert 100 <= len(steps_of(kept.estimates, "clip")) <= 102
    assert sources[0].left == 1  # type: ignore[attr-defined]


def test_a_stop_ends_at_once(bundle: Bundle) -> None:
    clock, stop = Clock(), Stop()
    source = LiveDouble(clock, seconds=99)
    (report,), kept = run(
        bundle, [source], clock, stop=stop, progress=lambda at, _whole: stop.request("SIGTERM") if at > 2 else None
    )
    assert report.stopped_by == "SIGTERM" and len(kept.estimates) <= 50 and kept.closed and source.left == 1


def test_the_health_file_is_whole_and_fresh_and_the_stats_come_every_ten_seconds(
    bundle: Bundle, tmp_path: Path
) -> None:
    clock, path, told, seen = Clock(), tmp_path / "health.json", [], []

    def look(at: float, _whole: float | None) -> None:
        if path.exists():
            seen.append(json.loads(path.read_text())["uptime_s"])

    sources: list[Source] = [LiveDouble(clock, seconds=25), LiveDouble(clock, seconds=2, name="short", fails_at=1.0)]
    run(bundle, sources, clock, stats=told.append, health=HealthFile(path), progress=look)
    assert len(told) == 3 and [round(t["uptime_s"]) for t in told] == [10, 20, 25]
    last = json.loads(path.read_text())
    assert last["status"] == "ended" and [s["state"] for s in last["streams"]] == ["ended", "failed"]
    assert last["streams"][1]["problem"] == "short is lost"
    assert {"frames_in", "frames_dropped", "queue_video", "faces", "age_ms", "gaps"} <= set(last["streams"][0])
    assert told[0]["streams"][0]["faces"] == 1 and told[0]["streams"][0]["frames_in"] == pytest.approx(250, abs=3)
    assert last["last_estimate"] is not None and last["times_real_time"] > 1
    assert np.diff(sorted(set(seen))).max() <= 1.1, "every second a new one"
    assert [p.name for p in tmp_path.iterdir()] == ["health.json"]


def test_a_health_file_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="health file"):
        HealthFile(tmp_path / "none" / "health.json")


def test_an_overlay_of_several_sources_is_refused(bundle: Bundle) -> None:
    class Drawing(Kept):
        wants_frames = True
        left_out = 0

        def show(self, *_: object) -> None: ...

    clock, sink = Clock(), Drawing()
    sinks: list[Sink] = [sink]
    with pytest.raises(UsageError, match="several sources"):
        run_streams(bundle, [clip("a", 1, 1), clip("b", 1, 1)], sinks, clock=clock)


def test_a_camera_that_gives_sound_alone_for_a_while_is_heard_meanwhile(bundle: Bundle) -> None:
    clock = Clock()
    blind = LiveDouble(clock, seconds=20, blind=(4.0, 14.0))
    (report,), kept = run(bundle, [blind], clock)
    alone = [e for e in kept.estimates if e.modalities == ("audio",)]
    assert report.gaps == ("video is absent", "video is back")
    assert {round(e.t_s) for e in alone} >= set(range(8, 14)), "what is older by then is late"
    assert [e.t_s for e in kept.estimates] == sorted(e.t_s for e in kept.estimates)
    assert kept.estimates[-1].modalities == ("video", "audio") and kept.estimates[-1].t_s > 19
