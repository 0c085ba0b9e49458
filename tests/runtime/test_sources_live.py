"""Made-up live media: one clock for picture and sound, bounded waiting, a prompt end in every state.

A camera or a CSI sensor goes the same way from its capture on: `test://` stands in for `v4l2://` and `csi://`, which
no machine of the tests has. What a real one would still have to prove: that its driver gives the asked size and rate,
raw or as JPEG; that its timestamps are on the monotonic clock; that unplugging it ends in an error or in silence, which
the watchdog notices; and how late its frames are against its microphone's sound.
"""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest
from doubles.live_reading import read_live

from affectrt.bundle.errors import MediaError
from affectrt.runtime.sources import (
    AudioChunk,
    Gap,
    GstLiveSource,
    LiveSource,
    Reconnect,
    StreamEnd,
    VideoChunk,
    VideoWish,
    parse_source,
)
from affectrt.runtime.sources.mailbox import Mailbox
from affectrt.runtime.sources.meters import DriftMeter

pytest.importorskip("gi")

RATE_HZ = 16_000
STEP_S = 0.04
SMALL = "width=160&height=90"


def made_up(text: str = f"test://?flash=1&{SMALL}", *, video: bool = True, audio: bool = True) -> GstLiveSource:
    wish = VideoWish(160, 30) if video else None
    return GstLiveSource(parse_source(text), video=wish, audio_rate_hz=RATE_HZ if audio else None)


def test_flash_and_beep_meet_within_a_step_and_come_fresh() -> None:
    with made_up() as source:
        reading = read_live(source, 4.2)
        counters = source.counters()
    late = reading.beep_after_flash_s()
    print(f"beep after flash, made up: {late * 1e3} ms; {counters}")
    assert len(late) >= 3 and np.abs(late).max() <= STEP_S
    for ages in reading.ages_s.values():
        assert 0 <= np.percentile(ages, 50) < STEP_S
    assert reading.advances() and not reading.gaps
    assert counters["frames_dropped"] <= 1 and counters["not_advancing"] == 0
    assert abs(float(counters["skew_ms"])) < 60


def test_a_pair_shares_one_clock() -> None:
    with made_up(f"test://?flash=1&{SMALL}+test://?flash=1") as source:
        assert source.modalities == {"video", "audio"}
        reading = read_live(source, 3.2)
    late = reading.beep_after_flash_s()
    assert len(late) >= 2 and np.abs(late).max() <= STEP_S


@pytest.mark.parametrize(("video", "audio"), [(True, False), (False, True)])
def test_only_what_is_wanted_is_made(video: bool, audio: bool) -> None:
    with made_up(video=video, audio=audio) as source:
        assert source.modalities == ({"video"} if video else {"audio"})
        reading = read_live(source, 0.5)
    assert bool(reading.frames) == video and bool(reading.chunks) == audio


def test_a_slow_reader_sees_fresh_frames_and_what_it_missed_is_counted() -> None:
    def slow(event: object) -> None:
        if isinstance(event, VideoChunk):
            time.sleep(0.2)  # five times too slow for 25 frames a second

    with made_up() as source:
        reading = read_live(source, 5, each=slow)
        counters = source.counters()
    ages = np.array(reading.ages_s["video"])
    assert ages.max() < 0.4, "two waiting frames and one slow step are all that may pass"
    assert counters["frames_dropped"] > 70
    waiting = counters["queue_video"]
    assert counters["frames_in"] == counters["frames_dropped"] + len(reading.frames) + waiting
    assert max(reading.ages_s["audio"]) < 1.3 and reading.advances()


def test_a_reader_that_rests_finds_two_frames_and_a_second_of_sound() -> None:
    with made_up() as source:
        time.sleep(2.0)
        counters = source.counters()
        assert counters["queue_video"] == 2 and 0.9 < counters["queue_audio"] * 0.02 <= 1.0
        assert counters["frames_in"] > 40
        read_live(source, 0.1)
        time.sleep(1.0)
        assert 15 < source.counters()["frames_dropped"] < 30, "what went before anybody read is not counted"


def test_made_up_media_of_a_given_length_ends_by_itself() -> None:
    with made_up(f"test://ball?duration=0.6&{SMALL}") as source:
        events = list(source)
        assert source.ended
    assert {e.modality for e in events if isinstance(e, StreamEnd)} == {"video", "audio"}
    assert source.outcome.complete and not [e for e in events if isinstance(e, Gap)]


def test_stop_from_another_thread_ends_reading_within_a_fifth_of_a_second() -> None:
    with made_up() as source:
        threading.Timer(0.4, source.stop).start()
        began = time.monotonic()
        for _ in source:
            pass
        assert time.monotonic() - began < 0.6
        leaving = time.monotonic()
    assert time.monotonic() - leaving < 0.3 and source.outcome.kinds == ("stopped",)


def test_opening_again_and_again_leaves_nothing_open() -> None:
    def held() -> tuple[int, int]:
        for _ in range(4):
            with made_up() as source:
                read_live(source, 0.2)
        return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208

    before = held()
    assert held() == before and held() == before


def test_a_device_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(MediaError, match="/dev/video97 cannot be opened"), made_up("v4l2:///dev/video97"):
        pass


def test_an_error_in_a_pulling_thread_reaches_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise ArithmeticError("broken on purpose")

    with made_up() as source:
        read_live(source, 0.2)
        monkeypatch.setattr("affectrt.runtime.sources.chunks.samples_of", broken)
        with pytest.raises(ArithmeticError, match="on purpose"):
            read_live(source, 2)


def test_a_live_source_is_what_the_protocol_asks_for() -> None:
    source: LiveSource = made_up()
    wanted = {"frames_in", "frames_dropped", "audio_chunks_in", "audio_chunks_dropped", "reconnects"}
    assert wanted | {"queue_video", "queue_audio", "skew_ms", "drift_ppm"} <= set(source.counters())


def test_the_mailbox_drops_the_oldest_of_a_kind_and_never_a_gap() -> None:
    box = Mailbox(RATE_HZ)
    box.put(VideoChunk([np.zeros((2, 2, 3), np.uint8)], np.array([-1.0])))
    assert isinstance(box.take(0, lambda: False), VideoChunk)
    frame = np.zeros((2, 2, 3), np.uint8)
    for at in range(4):
        box.put(VideoChunk([frame], np.array([float(at)])))
        box.put(AudioChunk(np.zeros(RATE_HZ // 2, np.float32), float(at)))
    box.put(Gap("one"))
    box.put(Gap("two"))
    taken = []
    while (event := box.take(0, lambda: False)) is not None:
        taken.append(event)
    assert [float(e.pts_s[0]) for e in taken if isinstance(e, VideoChunk)] == [2.0, 3.0]
    assert [e.pts_s for e in taken if isinstance(e, AudioChunk)] == [2.0, 3.0]
    assert taken[-1] == Gap("two") and len(taken) == 5
    assert box.dropped == {"video": 2, "audio": 2} and box.waiting == {"video": 0, "audio": 0}


@pytest.mark.parametrize("ppm", [-500.0, 0.0, 100.0])
def test_drift_is_read_off_timestamps_that_jitter(ppm: float) -> None:
    chance = np.random.default_rng(3)
    meter = DriftMeter()
    for index in range(3000):
        at = index * 0.02 * (1 - ppm * 1e-6) + chance.uniform(-5e-4, 5e-4)
        # A hole, which is no drift.
        meter.push(at + (1.5 if index > 1500 else 0.0), 320, RATE_HZ)
    assert meter.ppm() == pytest.approx(ppm, abs=25)


def test_what_makes_no_sense_is_no_reconnection() -> None:
    waits = [Reconnect(interval_s=3).wait_s(failures) for failures in range(5)]
    assert waits == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert Reconnect(attempts=0).exhausted(0) and not Reconnect().exhausted(10**6)
    for wrong in ({"interval_s": 0}, {"attempts": -2}, {"stall_s": -1}):
        with pytest.raises(Exception, match="expected"):
            Reconnect(**wrong)  # type: ignore[arg-type]


def test_timestamps_that_turn_back_or_leap_are_left_out_and_counted() -> None:
    source = made_up()
    frame = np.zeros((2, 2, 3), np.uint8)
    base_s = time.monotonic() - 10

    def offered(at: float, base_s: float = base_s) -> bool:
        return source._accept("video", VideoChunk([frame], np.array([at])), base_s, 2.0)

    assert offered(8.0) and offered(8.04)
    assert not offered(8.04) and not offered(7.0), "time did not advance"
    assert not offered(500.0), "far ahead of the clock"
    assert offered(8.08), "what went before does not hold up what is right"
    assert source.counters()["not_advancing"] == 3
    # A new connection counts from zero again; on the source's axis it goes on.
    assert offered(0.1, base_s + 9.5)
    events = [source.next_event(0) for _ in range(2)]
    assert [round(float(e.pts_s[0]), 2) for e in events if isinstance(e, VideoChunk)] == [8.08, 9.6]


def test_repeated_pictures_are_no_new_media() -> None:
    source = made_up()
    assert not source._accept("video", None, time.monotonic(), 2.0)
    assert source.counters()["frozen"] == 1
