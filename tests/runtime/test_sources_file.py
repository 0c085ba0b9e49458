"""A file's pictures and sounds arrive whole, unskewed, and at the right media time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from doubles.media import flash_and_beep, rotate_mp4, write_media

from affectrt.runtime.sources import AudioChunk, FileSource, Outcome, StreamEnd, VideoChunk, VideoWish

RATE_HZ = 16_000


@dataclass
class Heard:
    """Everything that a source gave; `wave` places each chunk by its time."""

    modalities: frozenset[str]
    outcome: Outcome
    frames: list[npt.NDArray[np.uint8]]
    pts_s: npt.NDArray[np.float64]
    wave: npt.NDArray[np.float32]
    audio_from_s: float | None
    order: list[tuple[str, float]]
    ended: list[str]


def read(path: Path, *, video: bool = True, audio: bool = True, max_side_px: int = 640) -> Heard:
    wish = VideoWish(max_side_px) if video else None
    with FileSource(path, video=wish, audio_rate_hz=RATE_HZ if audio else None) as source:
        modalities = source.modalities
        events = list(source)
    chunks = [e for e in events if isinstance(e, AudioChunk)]
    frames = [e for e in events if isinstance(e, VideoChunk)]
    ends = [round(c.pts_s * RATE_HZ) + len(c.samples) for c in chunks]
    wave = np.zeros(max(ends, default=0), np.float32)
    for chunk, end in zip(chunks, ends, strict=True):
        wave[end - len(chunk.samples) : end] = chunk.samples
    return Heard(
        modalities,
        source.outcome,
        [frame for chunk in frames for frame in chunk.frames],
        np.concatenate([chunk.pts_s for chunk in frames]) if frames else np.zeros(0),
        wave,
        chunks[0].pts_s if chunks else None,
        [("audio", e.pts_s) if isinstance(e, AudioChunk) else ("video", e.pts_s[0]) for e in events
         if not isinstance(e, StreamEnd)],
        [e.modality for e in events if isinstance(e, StreamEnd)],
    )  # fmt: skip


def flashes_s(heard: Heard) -> npt.NDArray[np.float64]:
    light = np.array([frame.mean() for frame in heard.frames])
    return heard.pts_s[1:][(light[1:] > 128) & (light[:-1] <= 128)]


def beeps_s(heard: Heard) -> npt.NDArray[np.float64]:
    loud = np.flatnonzero(np.abs(heard.wave) > 0.1)
    first = np.flatnonzero(np.diff(loud, prepend=-RATE_HZ) > RATE_HZ // 4)
    return loud[first] / RATE_HZ


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_flash_and_beep_meet_in_every_container(suffix: str, tmp_path: Path) -> None:
    frames, samples, times = flash_and_beep(4)
    heard = read(write_media(tmp_path / f"clip{suffix}", frames=frames, samples=samples))
    assert heard.modalities == {"video", "audio"} and heard.outcome.kinds == ("complete",)
    assert sorted(heard.ended) == ["audio", "video"]
    np.testing.assert_allclose(heard.pts_s, np.arange(100) / 25, atol=2e-3)
    np.testing.assert_allclose(flashes_s(heard), times, atol=2e-3)
    np.testing.assert_allclose(beeps_s(heard), times, atol=0.025)
    assert heard.outcome.duration_s == pytest.approx(4.0, abs=0.05)
    assert heard.outcome.decoded_s == pytest.approx({"video": 4.0, "audio": 4.0}, abs=0.05)


def test_sound_that_starts_late_is_placed_late(tmp_path: Path) -> None:
    frames, samples, times = flash_and_beep(3)
    path = write_media(tmp_path / "late.mkv", frames=frames, samples=samples, audio_from_s=0.5)
    heard = read(path)
    assert heard.audio_from_s == pytest.approx(0.5, abs=0.015)
    np.testing.assert_allclose(beeps_s(heard), times + 0.5, atol=0.015)


def test_variable_frame_rate_keeps_its_own_times(tmp_path: Path) -> None:
    frames, samples, _ = flash_and_beep(2)
    pts_s = np.cumsum(np.random.default_rng(5).choice([0.02, 0.033, 0.1], len(frames))) - 0.02
    pts_s -= pts_s[0]
    heard = read(write_media(tmp_path / "vfr.mkv", frames=frames, pts_s=pts_s, samples=samples))
    np.testing.assert_allclose(heard.pts_s, pts_s, atol=1.1e-3)


def test_sound_alone_and_pictures_alone(tmp_path: Path) -> None:
    frames, samples, times = flash_and_beep(2)
    sound = read(write_media(tmp_path / "sound.wav", samples=samples))
    assert sound.modalities == {"audio"} and sound.outcome.kinds == ("no_video",) and sound.outcome.complete
    np.testing.assert_allclose(beeps_s(sound), times, atol=1e-3)
    picture = read(write_media(tmp_path / "picture.mp4", frames=frames))
    assert picture.modalities == {"video"} and picture.outcome.kinds == ("no_audio",)
    assert len(picture.frames) == 50 and picture.ended == ["video"]


def test_a_stream_that_nobody_wants_neither_comes_nor_counts(tmp_path: Path) -> None:
    frames, samples, _ = flash_and_beep(3)
    path = write_media(tmp_path / "clip.mkv", frames=frames[:25], samples=samples)
    heard = read(path, audio=False)
    assert heard.modalities == {"video"} and len(heard.frames) == 25
    # The pictures end after a third of the file, but the file is whole.
    assert heard.outcome.kinds == ("complete",)
    assert read(path, video=False).modalities == {"audio"}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_that_ends_early_ends_early(suffix: str, tmp_path: Path) -> None:
    frames, samples, _ = flash_and_beep(4)
    heard = read(write_media(tmp_path / f"short{suffix}", frames=frames, samples=samples[:48_000]))
    assert len(heard.frames) == 100 and heard.outcome.kinds == ("complete",)
    assert heard.outcome.decoded_s == pytest.approx({"video": 4.0, "audio": 1.0}, abs=0.05)
    assert len(heard.wave) == pytest.approx(RATE_HZ, abs=0.05 * RATE_HZ)


@pytest.mark.parametrize(("height", "width"), [(50, 641), (64, 642), (360, 202), (120, 160)])
def test_rows_are_not_skewed_whatever_the_width(height: int, width: int, tmp_path: Path) -> None:
    """641 RGB pixels take 1924 bytes a row, not 1923: a forgotten stride turns an upright edge into a slope."""
    frames = np.zeros((5, height, width, 3), np.uint8)
    frames[:, :, width // 2 :] = (255, 0, 0)
    heard = read(write_media(tmp_path / "odd.webm", frames=frames), max_side_px=2000)
    assert [frame.shape for frame in heard.frames] == [(height, width, 3)] * 5
    red = heard.frames[0][:, :, 0].astype(int)
    assert (red[:, : width // 2 - 8] < 60).all() and (red[:, width // 2 + 8 :] > 190).all()
    assert (heard.frames[0][:, :, 2] < 70).all(), "red and blue are swapped"


@pytest.mark.parametrize(
    ("size", "limit", "want"),
    [((180, 320), 160, (90, 160)), ((320, 180), 160, (160, 90)), ((90, 120), 640, (90, 120)), ((96, 96), 48, (48, 48))],
)
def test_pictures_shrink_in_proportion_and_never_grow(
    size: tuple[int, int], limit: int, want: tuple[int, int], tmp_path: Path
) -> None:
    frames = np.full((3, *size, 3), 200, np.uint8)
    heard = read(write_media(tmp_path / "size.webm", frames=frames), max_side_px=limit)
    assert heard.frames[0].shape == (*want, 3)
    assert heard.frames[0].min() > 150, "black borders were added"


def test_a_phone_held_upright_is_shown_upright(tmp_path: Path) -> None:
    frames = np.zeros((5, 96, 160, 3), np.uint8)
    frames[:, :, :80] = 255  # the left half, which a turn by 90° clockwise brings to the top
    plain = write_media(tmp_path / "plain.mp4", frames=frames)
    heard = read(rotate_mp4(plain, tmp_path / "turned.mp4"))
    frame = heard.frames[0]
    assert frame.shape == (160, 96, 3)
    assert frame[:70].mean() > 200 and frame[90:].mean() < 50


def test_reading_twice_gives_the_same(tmp_path: Path) -> None:
    frames, samples, _ = flash_and_beep(2)
    path = write_media(tmp_path / "clip.mp4", frames=frames, samples=samples)
    one, two = read(path), read(path)
    assert one.order == two.order and one.outcome == two.outcome
    np.testing.assert_array_equal(one.wave, two.wave)
    np.testing.assert_array_equal(np.stack(one.frames), np.stack(two.frames))


def test_streams_advance_together_even_if_the_file_holds_them_apart(tmp_path: Path) -> None:
    frames, samples, _ = flash_and_beep(6)
    path = write_media(
        tmp_path / "apart.mp4", frames=frames, samples=samples, muxer_options="interleave-time=5000000000"
    )
    heard = read(path)
    at = {"video": 0.0, "audio": 0.0}
    for stream, pts_s in heard.order:
        at[stream] = pts_s
        assert abs(at["video"] - at["audio"]) < 0.2
    assert heard.outcome.kinds == ("complete",) and len(heard.frames) == 150


def test_stop_ends_reading_soon_and_says_so(tmp_path: Path) -> None:
    frames, samples, _ = flash_and_beep(4)
    path = write_media(tmp_path / "clip.mkv", frames=frames, samples=samples)
    with FileSource(path, video=VideoWish(), audio_rate_hz=RATE_HZ) as source:
        events = iter(source)
        for _ in range(10):
            next(events)
        caller = threading.Thread(target=source.stop)
        caller.start()
        caller.join()
        assert not [e for e in events if isinstance(e, StreamEnd)]
    assert source.outcome.kinds == ("stopped",) and not source.outcome.complete


def test_opening_again_and_again_leaves_nothing_open(tmp_path: Path) -> None:
    frames, samples, _ = flash_and_beep(1)
    path = write_media(tmp_path / "clip.mkv", frames=frames, samples=samples)

    def held() -> tuple[int, int]:
        for _ in range(5):
            with FileSource(path, video=VideoWish(), audio_rate_hz=RATE_HZ) as source:
                next(iter(source))
        return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208

    before = held()
    assert held() == before and held() == before


@pytest.mark.parametrize("name", ["sp ace.mkv", "per%20cent#?.mkv", "gesicht-ä-顔.mkv"])
def test_any_file_name_will_do(name: str, tmp_path: Path) -> None:
    frames, _, _ = flash_and_beep(1)
    path = write_media(tmp_path / "plain.mkv", frames=frames).rename(tmp_path / name)
    assert len(read(path).frames) == 25


def test_importing_sources_loads_no_gstreamer() -> None:
    script = "import sys, affectrt.runtime.sources, affectrt.runtime.run; print('gi' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_without_gstreamer_the_packages_are_named(tmp_path: Path) -> None:
    (tmp_path / "clip.wav").write_bytes(b"anything")
    script = (
        "import sys; sys.modules['gi'] = None\n"
        "from affectrt.runtime.sources import FileSource\n"
        f"FileSource({str(tmp_path / 'clip.wav')!r}, audio_rate_hz=16000).__enter__()"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "MissingDependency" in answer.stderr and "sudo apt install python3-gi" in answer.stderr
