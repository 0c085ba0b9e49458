"""Silence, black frames and stills are refused as calibration data; a dark face and a quiet voice are not."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from doubles.clip_contract import clip_contract
from doubles.tiny_bundle import tiny_contract

from affectrt.bundle import UsageError
from affectrt.calibration.informative import check_informative
from affectrt.calibration.windows import record_windows
from affectrt.runtime.engines.base import Array
from affectrt.training.synthetic import make_clip, make_identity, write_clip

CONTRACT = tiny_contract(crop_px=40)
RATE_HZ = 16_000


def decibels(level: float) -> float:
    return 10 ** (level / 20)


def noise(rows: int, level_db: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (decibels(level_db) * rng.standard_normal((rows, 1600))).astype(np.float32)


def faces(rows: int, *, bright: int = 200, radius: float = 0.35) -> np.ndarray:
    """A disc that wanders against black."""
    y, x = np.mgrid[0:40, 0:40] / 40
    at = 0.5 + 0.1 * np.sin(np.arange(rows))[:, None, None]
    disc = ((x - at) ** 2 + (y - 0.5) ** 2 < radius**2) * bright
    return np.repeat(disc[..., None], 3, axis=3).astype(np.uint8)


def check(**stages: Array) -> None:
    inputs = {"video": "frames", "audio": "waveform"}
    check_informative(CONTRACT, {stage: {inputs[stage]: rows} for stage, rows in stages.items()})


def refusal(**stages: Array) -> list[str]:
    with pytest.raises(UsageError) as error:
        check(**stages)
    return [line.strip() for line in error.value.found.splitlines()[1:]]


def test_silence_and_black_frames_are_told_of_both_stages_at_once() -> None:
    black, silence = np.zeros((128, 40, 40, 3), np.uint8), np.zeros((128, 1600), np.float32)
    assert refusal(video=black, audio=silence) == [
        "video: 128 of 128 pictures are of one colour",
        "audio: 128 of 128 recorded inputs are silent (below −80 dBFS)",
    ]


@pytest.mark.parametrize("level", [0, 16, 128, 255])
def test_any_colour_with_the_noise_of_a_covered_lens_is_one_colour(level: int) -> None:
    grain = np.random.default_rng(0).normal(level, 1, (20, 40, 40, 3))
    assert refusal(video=np.clip(np.round(grain), 0, 255).astype(np.uint8)) == [
        "video: 20 of 20 pictures are of one colour"
    ]


def test_a_constant_voltage_is_silence() -> None:
    assert refusal(audio=np.full((4, 1600), 0.5, np.float32) + noise(4, -95))[0].startswith("audio: 4 of 4")


def test_the_same_picture_over_and_over_is_told_as_such() -> None:
    still = np.repeat(faces(1), 64, axis=0)
    wobble = np.random.default_rng(0).integers(0, 4, still.shape, dtype=np.uint8)  # what H.264 makes of a still
    assert refusal(video=np.minimum(still, 250) + wobble) == ["video: 63 of 64 pictures show the same as one before"]


def test_a_second_still_after_the_first_adds_one_picture() -> None:
    one, other = faces(2)
    pictures = np.stack([one] * 8 + [other] * 8)
    assert refusal(video=pictures) == ["video: 14 of 16 pictures show the same as one before"]


def test_what_is_wrong_is_counted_by_kind() -> None:
    black = np.zeros((30, 40, 40, 3), np.uint8)
    found = refusal(video=np.concatenate([black, np.repeat(faces(1), 61, axis=0), faces(9)]))
    assert found == ["video: 30 of 100 pictures are of one colour; 61 of 100 pictures show the same as one before"]


@pytest.mark.parametrize(("bright", "radius"), [(200, 0.35), (8, 0.35), (60, 0.08)])
def test_a_face_against_black_passes_dark_or_small(bright: int, radius: float) -> None:
    check(video=faces(32, bright=bright, radius=radius))


def test_a_quiet_room_and_a_voice_in_it_pass() -> None:
    check(audio=noise(8, -65))
    voice = noise(8, -65)
    voice[2:4] += (decibels(-45) * np.sin(np.arange(1600))).astype(np.float32)
    check(audio=voice)


def test_up_to_three_quarters_may_say_nothing() -> None:
    def gated(silent: int) -> np.ndarray:
        return np.concatenate([np.zeros((silent, 1600), np.float32), noise(100 - silent, -30)])

    check(audio=gated(75))
    assert refusal(audio=gated(76)) == ["audio: 76 of 100 recorded inputs are silent (below −80 dBFS)"]


def test_clips_are_black_only_if_every_picture_is() -> None:
    contract = clip_contract(crop_px=40, resize_px=40)
    clips = np.zeros((10, 4, 40, 40, 3), np.uint8)
    with pytest.raises(UsageError, match="10 of 10 clips are of one colour"):
        check_informative(contract, {"video": {"frames": clips}})
    clips[:, -1] = faces(10)
    check_informative(contract, {"video": {"frames": clips}})


def test_a_stage_that_was_not_recorded_and_a_fusion_are_not_looked_at() -> None:
    check_informative(CONTRACT, {"fusion": {"video": np.zeros((8, 10, 3), np.float32)}})


@pytest.mark.parametrize("person", range(3))
def test_decoded_a_person_passes_and_a_still_without_sound_does_not(tmp_path: Path, person: int) -> None:
    pytest.importorskip("gi")
    clip = make_clip(make_identity(5, person), person, seconds=4, size_px=128)
    write_clip(tmp_path / "person.mp4", clip.frames(), fps=clip.fps, samples=clip.samples, sample_rate_hz=RATE_HZ)
    (first,) = islice(clip.frames(), 1)
    silence = np.zeros(4 * RATE_HZ, np.float32)
    write_clip(tmp_path / "still.mp4", (first for _ in range(100)), fps=25, samples=silence, sample_rate_hz=RATE_HZ)
    check_informative(CONTRACT, record_windows(CONTRACT, [tmp_path / "person.mp4"], per_stage=64, seed=0))
    with pytest.raises(UsageError) as error:
        check_informative(CONTRACT, record_windows(CONTRACT, [tmp_path / "still.mp4"], per_stage=64, seed=0))
    assert "video: 63 of 64 pictures show the same" in error.value.found
    assert "audio: 64 of 64 recorded inputs are silent" in error.value.found
