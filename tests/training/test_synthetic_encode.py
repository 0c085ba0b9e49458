import hashlib

import numpy as np
import pytest
from doubles.decoding import decode

from affectrt.bundle.errors import AffectError, MissingDependency, UsageError
from affectrt.training.synthetic import containers, write_clip

pytest.importorskip("gi")

RATE_HZ = 16_000
FLASHES_S = (1.0, 2.0)


def flashes(n=75, size=64):
    for index in range(n):
        yield np.full((size, size, 3), 255 if index / 25 in FLASHES_S else 16, np.uint8)


def beeps(seconds=3.0):
    samples = np.zeros(round(seconds * RATE_HZ), np.float32)
    tone = 0.8 * np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ // 50) / RATE_HZ)
    for at in FLASHES_S:
        samples[round(at * RATE_HZ) :][: tone.size] = tone
    return samples


def onset_s(decoded, near_s):
    begin = round((near_s - 0.3 - decoded.sound_s) * 48_000)
    return begin / 48_000 + decoded.sound_s + np.flatnonzero(np.abs(decoded.samples[begin:]) > 0.2)[0] / 48_000


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_pictures_and_sound_come_back_together(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    write_clip(path, flashes(), samples=beeps(), sample_rate_hz=RATE_HZ)
    decoded = decode(path)
    assert np.allclose(decoded.picture_s, np.arange(75) / 25, atol=0.001)
    lit = [t for t, picture in zip(decoded.picture_s, decoded.pictures, strict=True) if picture.mean() > 128]
    assert np.allclose(lit, FLASHES_S, atol=0.001)
    for flash in FLASHES_S:
        assert abs(onset_s(decoded, flash) - flash) < 0.025
    assert decoded.samples.size / 48_000 == pytest.approx(3.0, abs=0.05)
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "nothing else is left behind"


@pytest.mark.parametrize("element", [encoder.element for encoder in containers.AAC])
def test_every_aac_encoder_s_delay_is_made_up_for(tmp_path, monkeypatch, element):
    chosen = tuple(e for e in containers.AAC if e.element == element)
    monkeypatch.setitem(containers.CONTAINERS, ".mp4", (containers.H264, chosen, "mp4mux"))
    try:
        write_clip(tmp_path / "a.mp4", None, samples=beeps(), sample_rate_hz=RATE_HZ)
    except MissingDependency:
        pytest.skip(f"{element} is not installed")
    decoded = decode(tmp_path / "a.mp4")
    assert abs(onset_s(decoded, 1.0) - 1.0) < 0.005
    assert decoded.samples.size / 48_000 >= 3.0


def test_the_same_clip_is_the_same_bytes(tmp_path):
    digests = set()
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, flashes(), samples=beeps(), sample_rate_hz=RATE_HZ)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_pictures_alone_with_their_own_times(tmp_path):
    times = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.09, 40))
    times -= times[0]
    write_clip(tmp_path / "v.mp4", flashes(40), pts_s=list(times))
    decoded = decode(tmp_path / "v.mp4")
    assert np.allclose(decoded.picture_s, times, atol=0.001)
    assert decoded.samples.size == 0


def test_rows_that_are_no_multiple_of_four_bytes(tmp_path):
    picture = np.zeros((50, 50, 3), np.uint8)
    picture[:, 25:] = 255
    write_clip(tmp_path / "odd.mp4", [picture] * 3)
    first = decode(tmp_path / "odd.mp4").pictures[0]
    assert first.shape == (50, 50)
    assert first[:, :22].max() < 60
    assert first[:, 28:].min() > 200


def test_sound_alone_is_kept_to_the_sample_in_a_wav(tmp_path):
    write_clip(tmp_path / "s.wav", None, samples=beeps(), sample_rate_hz=48_000)
    decoded = decode(tmp_path / "s.wav")
    assert decoded.pictures == []
    assert np.allclose(decoded.samples, beeps(), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "frames", "options", "says"),
    [
        ("a.gif", [np.zeros((8, 8, 3), np.uint8)], {}, "container .gif is not known"),
        ("a.wav", [np.zeros((8, 8, 3), np.uint8)], {}, "holds no pictures"),
        ("a.mp4", [], {}, "neither pictures nor samples"),
        ("a.mp4", None, {"samples": np.zeros(0, np.float32)}, "neither pictures nor samples"),
        ("a.mp4", [np.zeros((33, 32, 3), np.uint8)], {}, "32x33 pixels cannot be encoded"),
        ("a.mp4", [np.zeros((32, 32), np.uint8)], {}, "a picture is uint8"),
        ("a.mp4", [np.zeros((32, 32, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)], {}, "a picture is uint8"),
        ("a.mp4", [np.zeros((32, 32, 3), np.uint8)] * 2, {"pts_s": [0.1, 0.1]}, "must start at 0 or later"),
        ("a.mp4", [np.zeros((32, 32, 3), np.uint8)] * 2, {"pts_s": [0.0]}, "1 times do not fit"),
        ("a.mp4", [np.zeros((32, 32, 3), np.uint8)] * 2, {"pts_s": [0.0, 1.0, 2.0]}, "3 times do not fit"),
        ("a.mp4", None, {"samples": np.array([0, np.nan], np.float32)}, "finite numbers"),
        ("a.mp4", [np.zeros((32, 32, 3), np.uint8)], {"fps": 0}, "0 pictures a second"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, name, frames, options, says):
    with pytest.raises(UsageError, match=says):
        write_clip(tmp_path / name, frames, **options)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_neither_a_part_nor_a_damaged_old_file(tmp_path):
    def interrupted():
        yield from flashes(30)
        raise KeyboardInterrupt

    path = tmp_path / "clip.mp4"
    path.write_bytes(b"the file of yesterday")
    with pytest.raises(KeyboardInterrupt):
        write_clip(path, interrupted(), samples=beeps(), sample_rate_hz=RATE_HZ)
    assert path.read_bytes() == b"the file of yesterday"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_an_error_not_a_hang(tmp_path):
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises((AffectError, OSError)):
        write_clip(tmp_path / "taken" / "clip.mp4", flashes())


def test_missing_encoders_name_their_package(tmp_path, monkeypatch):
    nothing = (containers.Encoder("noencoder264", "", "gstreamer1.0-plugins-ugly"),)
    monkeypatch.setitem(containers.CONTAINERS, ".mp4", (nothing, containers.AAC, "mp4mux"))
    with pytest.raises(MissingDependency, match="no picture encoder") as caught:
        write_clip(tmp_path / "clip.mp4", flashes())
    assert "gstreamer1.0-plugins-ugly" in str(caught.value.fix)
    assert list(tmp_path.iterdir()) == []
