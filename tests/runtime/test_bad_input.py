"""What cannot be read, or only in part, is told apart, and nothing hangs."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from doubles.media import cut, flash_and_beep, write_media

from affectrt.bundle.errors import AffectError, MediaError, MissingDependency
from affectrt.runtime.sources import AudioChunk, Event, FileSource, Outcome, VideoChunk, VideoWish

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Four seconds of picture and sound in every container that behaves in a way of its own when it is cut."""
    folder = tmp_path_factory.mktemp("clips")
    frames, samples, _ = flash_and_beep(4)
    noisy = frames // 2 + np.random.default_rng(1).integers(0, 120, frames.shape, dtype=np.uint8)
    kinds = {
        "faststart.mp4": "faststart=true",
        "fragmented.mp4": "fragment-duration=500",
        "plain.mp4": "",
        "plain.mkv": "",
        "plain.webm": "",
    }
    made = {
        name: write_media(folder / name, frames=noisy, samples=samples, muxer_options=options)
        for name, options in kinds.items()
    }
    made["plain.wav"] = write_media(folder / "plain.wav", samples=samples)
    return made


def read(path: Path, *, video: bool = True, audio: bool = True, timeout_s: float = 10.0) -> tuple[list[Event], Outcome]:
    wish = VideoWish() if video else None
    with FileSource(path, video=wish, audio_rate_hz=RATE_HZ if audio else None, timeout_s=timeout_s) as source:
        return list(source), source.outcome


def refused(path: Path) -> AffectError:
    began = time.monotonic()
    with pytest.raises(AffectError) as error:
        read(path)
    assert time.monotonic() - began < 5
    assert str(path) in error.value.found
    return error.value


def test_missing_directory_pipe_empty_and_forbidden(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nowhere.mp4").found
    assert "is a directory" in refused(tmp_path).found
    empty = tmp_path / "empty.mp4"
    empty.touch()
    assert "contains no data" in refused(empty).found
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    assert "not a plain file" in refused(pipe).found
    too_long = tmp_path / ("x" * 300)
    assert "cannot be opened" in refused(too_long).found


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"something")
    secret.chmod(0)
    assert "Permission denied" in refused(secret).found


@pytest.mark.parametrize("content", [b"\x00" * 4096, np.random.default_rng(0).bytes(20_000), b"just text\n" * 50])
def test_what_is_not_media(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "noise.mp4"
    path.write_bytes(content)
    error = refused(path)
    assert isinstance(error, MediaError) and error.expected == "a media file such as MP4, MKV, WebM or WAV"
    assert re.search("is not audio or video|has no video and no audio", error.found)


def test_an_mp4_cut_before_its_index(clips: dict[str, Path], tmp_path: Path) -> None:
    error = refused(cut(clips["plain.mp4"], 0.5, tmp_path / "cut.mp4"))
    assert isinstance(error, MediaError) and "no playable streams" in error.found and "cut off" in error.found
    assert error.fix is not None


@pytest.mark.parametrize("name", ["faststart.mp4", "fragmented.mp4", "plain.mkv", "plain.webm", "plain.wav"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_cut_file_is_read_as_far_as_it_goes_and_called_truncated(
    name: str, part: float, clips: dict[str, Path], tmp_path: Path
) -> None:
    events, outcome = read(cut(clips[name], part, tmp_path / name))
    assert outcome.kinds[0] == "truncated" and not outcome.complete
    assert f"{name} is cut off" in outcome.notes[0].message
    assert 0.3 < max(outcome.decoded_s.values()) < 3.9
    # No sound is made up for what is missing.
    heard_until = max(e.pts_s + len(e.samples) / RATE_HZ for e in events if isinstance(e, AudioChunk))
    assert heard_until == pytest.approx(outcome.decoded_s["audio"], abs=1e-3)
    assert heard_until < 3.95


@pytest.mark.parametrize(("video", "audio"), [(True, False), (False, True)])
@pytest.mark.parametrize("name", ["faststart.mp4", "plain.mkv"])
def test_a_cut_shows_in_one_stream_alone(
    name: str, video: bool, audio: bool, clips: dict[str, Path], tmp_path: Path
) -> None:
    assert read(clips[name], video=video, audio=audio)[1].kinds == ("complete",)
    assert read(cut(clips[name], 0.5, tmp_path / name), video=video, audio=audio)[1].kinds == ("truncated",)


@pytest.mark.parametrize("name", ["faststart.mp4", "fragmented.mp4", "plain.mkv", "plain.webm", "plain.wav"])
@pytest.mark.parametrize("seed", range(3))
def test_corrupted_bytes_do_not_hang_or_crash(name: str, seed: int, clips: dict[str, Path], tmp_path: Path) -> None:
    content = bytearray(clips[name].read_bytes())
    rng = np.random.default_rng(seed)
    # The first bytes stay, or most files would merely be of no known kind.
    for at in rng.integers(200, len(content), 60):
        content[at] = rng.integers(0, 256)
    path = tmp_path / name
    path.write_bytes(bytes(content))
    began = time.monotonic()
    try:
        events, outcome = read(path, timeout_s=3)
    except (MediaError, MissingDependency) as error:
        assert name in error.found
    else:
        assert outcome.duration_s is None or max(outcome.decoded_s.values()) < 1.2 * outcome.duration_s + 11
        for event in events:
            if isinstance(event, AudioChunk):
                assert np.isfinite(event.samples).all() and np.abs(event.samples).max(initial=0) <= 1
        pts_s = [float(e.pts_s[0]) for e in events if isinstance(e, VideoChunk)]
        assert pts_s == sorted(set(pts_s))
    assert time.monotonic() - began < 15


def test_a_duration_of_weeks_is_not_waited_for(clips: dict[str, Path], tmp_path: Path) -> None:
    """Left alone, audiorate would fill a damaged announcement with weeks of silence."""
    content = bytearray(clips["fragmented.mp4"].read_bytes())
    at = content.find(b"mehd")
    assert at > 0
    # ISO/IEC 14496-12, 8.8.2: after type, version and flags the duration of all fragments, 8 bytes in version 1.
    long = content[at + 4] == 1
    struct.pack_into(">Q" if long else ">I", content, at + 8, 0x3_0000_0000 if long else 0x7FFF_FFFF)
    path = tmp_path / "weeks.mp4"
    path.write_bytes(bytes(content))
    began = time.monotonic()
    events, outcome = read(path)
    assert time.monotonic() - began < 5
    assert max(outcome.decoded_s.values()) == pytest.approx(4, abs=0.1)
    assert sum(len(e.samples) for e in events if isinstance(e, AudioChunk)) == pytest.approx(4 * RATE_HZ, rel=0.02)
    assert outcome.kinds == ("truncated",) and outcome.duration_s is not None and outcome.duration_s > 1e5


def test_samples_that_are_not_numbers_become_silence_and_overshoot_is_clipped(tmp_path: Path) -> None:
    samples = np.full(1600, 0.25, np.float32)
    samples[100:200], samples[300:400], samples[500:600] = np.nan, np.inf, -7.0
    body = samples.tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(body), b"WAVE", b"fmt ", 16, 3, 1, RATE_HZ, 64_000, 4, 32, b"data", len(body))  # noqa: E501  # fmt: skip
    path = tmp_path / "wild.wav"
    path.write_bytes(head + body)
    events, _ = read(path)
    wave = np.concatenate([e.samples for e in events if isinstance(e, AudioChunk)])
    assert len(wave) == 1600 and np.isfinite(wave).all()
    np.testing.assert_array_equal(wave[[50, 150, 350, 550]], np.array([0.25, 0, 1, -1], np.float32))


def test_a_container_without_any_wanted_stream(clips: dict[str, Path]) -> None:
    with (
        pytest.raises(MediaError, match=r"plain\.wav has no video"),
        FileSource(clips["plain.wav"], video=VideoWish()) as source,
    ):
        list(source)


def without_decoders(path: Path, *names: str, video: bool = True, audio: bool = True) -> list[str]:
    """What a process without these decoders says of the file: error or outcome, then modalities, then the text."""
    wishes = ["video=VideoWish()"] * video + [f"audio_rate_hz={RATE_HZ}"] * audio
    script = f"""
from affectrt.bundle.errors import AffectError
from affectrt.runtime.sources import FileSource, VideoWish
try:
    with FileSource({str(path)!r}, {", ".join(wishes)}) as s:
        list(s)
    print(*s.outcome.kinds, "|", *sorted(s.modalities), "|", *(n.message for n in s.outcome.notes))
except AffectError as error:
    print(type(error).__name__, "|", "|", error)
"""
    env = {**os.environ, "GST_PLUGIN_FEATURE_RANK": ",".join(f"{name}:NONE" for name in names)}
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env, timeout=60
    )
    return [part.strip() for part in answer.stdout.split("|")]


H264 = ("avdec_h264", "openh264dec", "vah264dec", "vaapih264dec", "nvh264dec", "v4l2h264dec")
AAC = ("avdec_aac", "avdec_aac_fixed", "avdec_aac_latm", "faad", "fdkaacdec")


def test_a_missing_decoder_is_named_with_the_packages(clips: dict[str, Path], tmp_path: Path) -> None:
    kinds, modalities, text = without_decoders(clips["plain.mp4"], *H264)
    assert kinds == "missing_decoder" and modalities == "audio"
    assert "H.264" in text and "gstreamer1.0-libav" in text
    # What the model does not use need not be decodable.
    assert without_decoders(clips["plain.mp4"], *H264, video=False)[0] == "complete"
    kinds, _, text = without_decoders(clips["plain.mp4"], *H264, *AAC)
    assert kinds == "MissingDependency" and "H.264" in text and "AAC" in text and "apt install" in text
    frames, _, _ = flash_and_beep(1)
    only = write_media(tmp_path / "only.mp4", frames=frames)
    kinds, _, text = without_decoders(only, *H264)
    assert kinds == "MissingDependency" and "H.264" in text and "gstreamer1.0-libav" in text
