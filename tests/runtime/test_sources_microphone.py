"""Microphones for real, as far as a machine without one can: what a null sink plays is heard at its monitor."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from doubles.live_reading import read_live
from doubles.sound_server import SoundServer, sound_server

from affectrt.bundle.errors import MediaError
from affectrt.runtime.sources import GstLiveSource, Reconnect, VideoWish, parse_source

RATE_HZ = 16_000
TICKS = "audiotestsrc wave=ticks freq=1000 sine-periods-per-tick=80 volume=0.5 ! audio/x-raw,rate=48000,channels=2"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundServer]:
    with sound_server(monkeypatch) as started:
        yield started


def heard(uri: str, *, video: bool = False) -> GstLiveSource:
    wish = VideoWish(160, 30) if video else None
    return GstLiveSource(parse_source(uri), video=wish, audio_rate_hz=RATE_HZ, reconnect=Reconnect(1.0, stall_s=1.0))


def test_a_microphone_hears_every_tick_at_its_time(server: SoundServer) -> None:
    server.play(TICKS)
    with heard(server.microphone) as source:
        assert source.modalities == {"audio"}
        reading = read_live(source, 5)
        counters = source.counters()
    beeps = reading.beeps_s()
    ages = np.array(reading.ages_s["audio"])
    print(f"beeps {np.diff(beeps)} s apart; age p50 {np.percentile(ages, 50) * 1e3:.0f} ms; {counters}")
    assert len(beeps) >= 3
    np.testing.assert_allclose(np.diff(beeps)[1:], 1.0, atol=0.02)
    # pulsesrc lets its own count of samples wander by some 20 ms about the clock.
    assert -0.05 < np.percentile(ages, 50) < 0.3 and counters["audio_chunks_dropped"] == 0
    assert reading.advances() and not reading.gaps


def test_a_camera_and_a_microphone_in_one_uri_are_on_one_clock(server: SoundServer) -> None:
    server.play(TICKS)
    with heard(f"test://?flash=1&width=160&height=90+{server.microphone}", video=True) as source:
        assert source.modalities == {"video", "audio"}
        reading = read_live(source, 3)
    assert len(reading.frames) > 50 and len(reading.beeps_s()) >= 1
    last = [line[-1][0] for line in (reading.frames, reading.chunks)]
    assert abs(last[0] - last[1]) < 0.3


def test_a_sound_server_that_dies_and_comes_back_is_one_gap(server: SoundServer) -> None:
    with heard(server.microphone) as source:
        reading = read_live(source, 1)
        server.kill()
        read_live(source, 5, into=reading, until=lambda r: bool(r.gaps))
        server.start()
        chunks = len(reading.chunks)
        read_live(source, 10, into=reading, until=lambda r: len(r.chunks) > chunks + 5)
    assert len(reading.gaps) == 1 and len(reading.chunks) > chunks and reading.advances()


def test_an_unknown_microphone_is_told_at_once(server: SoundServer) -> None:
    with pytest.raises(MediaError, match="pulse://nobody cannot be opened"), heard("pulse://nobody"):
        pass
