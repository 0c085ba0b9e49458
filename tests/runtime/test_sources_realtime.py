"""A file played in real time goes the road of a camera: by the clock, with what is missed dropped, and to its end."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from doubles.live_reading import Reading, read_live
from doubles.media import cut, flash_and_beep, write_media
from doubles.tiny_bundle import tiny_contract

from affectrt.bundle.errors import MediaError
from affectrt.runtime.sources import (
    FileSource,
    GstLiveSource,
    Reconnect,
    VideoChunk,
    VideoWish,
    open_source,
    parse_source,
)

RATE_HZ = 16_000
STEP_S = 0.04
RAW = "audio/x-raw,format=S16LE"


def played(path: Path) -> GstLiveSource:
    return GstLiveSource(parse_source(path), video=VideoWish(160, 30), audio_rate_hz=RATE_HZ)


def counted_beeps_s(reading: Reading) -> np.ndarray:
    """Where beeps would lie if samples were put end to end, whatever their timestamps say."""
    apart = Reading(frames=reading.frames)
    at = 0.0
    for _, samples in reading.chunks:
        apart.chunks.append((at, samples))
        at += len(samples) / RATE_HZ
    return apart.beeps_s()


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_file_plays_by_the_clock_to_its_end_and_in_step(suffix: str, tmp_path: Path) -> None:
    frames, samples, times = flash_and_beep(3)
    path = write_media(tmp_path / f"clip{suffix}", frames=frames, samples=samples)
    with played(path) as source:
        assert source.duration_s == pytest.approx(3, abs=0.1)
        began = time.monotonic()
        reading = read_live(source, 10)
        took = time.monotonic() - began
        counters = source.counters()
    assert sorted(reading.ends) == ["audio", "video"] and source.outcome.complete
    assert 2.5 < took < 3.7
    assert np.abs(reading.flashes_s() - times).max() < 0.05 and len(reading.flashes_s()) == len(times)
    assert np.abs(reading.beep_after_flash_s()).max() <= STEP_S
    assert counters["frames_dropped"] <= 2 and len(reading.frames) >= 70
    assert -0.05 < np.median(reading.ages_s["video"]) < 0.05


def test_a_file_plays_from_its_beginning_when_reading_begins(tmp_path: Path) -> None:
    frames, samples, _ = flash_and_beep(1)
    path = write_media(tmp_path / "clip.mkv", frames=frames, samples=samples)
    with played(path) as source:
        time.sleep(1.5)  # engines are opened meanwhile
        reading = read_live(source, 5)
        assert source.counters()["frames_dropped"] == 0
    assert reading.frames[0][0] == pytest.approx(0, abs=0.05) and len(reading.frames) == 25
    assert max(reading.ages_s["video"]) < 0.3


def test_sound_that_starts_300_ms_late_stays_in_step(tmp_path: Path) -> None:
    frames, samples, _ = flash_and_beep(3)
    path = write_media(tmp_path / "late.mkv", frames=frames, samples=samples[14_400:], audio_from_s=0.3)
    with played(path) as source:
        reading = read_live(source, 10)
    assert reading.chunks[0][0] == pytest.approx(0.3, abs=0.03)
    assert np.abs(reading.beep_after_flash_s()).max() <= STEP_S
    assert np.abs(counted_beeps_s(reading)[0] - reading.flashes_s()[0]) > 0.2, "the offset was not in the file"


def test_a_sound_card_that_runs_fast_stays_in_step(tmp_path: Path) -> None:
    """2 % is far beyond any card; counting samples would be 100 ms wrong after 5 s."""
    clock_hz = 48_960
    frames, samples, _ = flash_and_beep(5.5, rate_hz=clock_hz)
    path = write_media(
        tmp_path / "fast.mkv", frames=frames, samples=samples, audio_clock_hz=clock_hz, audio_encoder=f"{RAW} ! queue"
    )
    with played(path) as source:
        reading = read_live(source, 12)
    late = reading.beep_after_flash_s()
    print(f"beep after flash with sound 2 % fast: {late * 1e3} ms")
    assert len(late) == 5 and np.abs(late).max() <= STEP_S


@pytest.mark.slow
def test_a_drift_of_100_ppm_and_an_offset_of_300_ms_are_measured_and_stay_in_step(tmp_path: Path) -> None:
    clock_hz = 48_000 * (1 + 100e-6)
    frames, samples, _ = flash_and_beep(45, size=(48, 64))
    at = np.round(np.arange(round(45 * clock_hz)) * 48_000 / clock_hz).astype(int)
    drifted = samples[np.minimum(at, len(samples) - 1)][round(0.3 * clock_hz) :]
    path = write_media(
        tmp_path / "drift.mkv",
        frames=frames,
        samples=drifted,
        audio_from_s=0.3,
        audio_clock_hz=clock_hz,
        audio_encoder=f"{RAW} ! queue",
    )
    with played(path) as source:
        reading = read_live(source, 60)
        drift_ppm = source.counters()["drift_ppm"]
    late = reading.beep_after_flash_s()
    print(f"drift {drift_ppm:.1f} ppm; beep after flash {late.min() * 1e3:.1f} … {late.max() * 1e3:.1f} ms")
    assert drift_ppm == pytest.approx(100, abs=15)
    assert len(late) == 45 and np.abs(late).max() <= STEP_S


def test_a_slow_reader_of_a_played_file_loses_frames_and_not_the_time(tmp_path: Path) -> None:
    frames, samples, _ = flash_and_beep(3)
    path = write_media(tmp_path / "clip.mkv", frames=frames, samples=samples)

    def slow(event: object) -> None:
        if isinstance(event, VideoChunk):
            time.sleep(0.2)

    with played(path) as source:
        reading = read_live(source, 10, each=slow)
        assert source.counters()["frames_dropped"] > 40
    assert max(reading.ages_s["video"]) < 0.4 and sorted(reading.ends) == ["audio", "video"]


def test_sound_that_pauses_or_ends_early_stops_nothing(tmp_path: Path) -> None:
    frames, samples, times = flash_and_beep(4)
    path = write_media(tmp_path / "short.mkv", frames=frames, samples=samples[:36_000])
    hasty = Reconnect(stall_s=0.5)
    with GstLiveSource(parse_source(path), video=VideoWish(160, 30), audio_rate_hz=RATE_HZ, reconnect=hasty) as source:
        reading = read_live(source, 10)
    assert sorted(reading.ends) == ["audio", "video"] and source.outcome.complete
    assert len(reading.flashes_s()) == len(times) and len(reading.beeps_s()) == 1


def test_an_error_in_a_callback_reaches_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, samples, _ = flash_and_beep(1)
    path = write_media(tmp_path / "clip.mkv", frames=frames, samples=samples)

    def broken(*_: object, **__: object) -> str:
        raise ArithmeticError("broken on purpose")

    monkeypatch.setattr("affectrt.runtime.sources.live_pipeline.video_branch", broken)
    with pytest.raises(ArithmeticError, match="on purpose"), played(path):
        pass


def test_broken_files_are_told_as_when_they_are_read(tmp_path: Path) -> None:
    frames, samples, _ = flash_and_beep(1)
    whole = write_media(tmp_path / "whole.mp4", frames=frames, samples=samples)
    for path, word in (
        (tmp_path / "none.mp4", "does not exist"),
        (cut(whole, 0.5, tmp_path / "cut.mp4"), "no playable streams"),
    ):
        with pytest.raises(MediaError, match=word), played(path):
            pass


def test_a_path_is_a_file_source_and_in_real_time_a_live_one() -> None:
    contract = tiny_contract()
    assert isinstance(open_source("clip.mp4", contract), FileSource)
    assert isinstance(open_source("clip.mp4", contract, realtime=True), GstLiveSource)
    assert isinstance(open_source("test://", contract), GstLiveSource)
