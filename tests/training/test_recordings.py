"""Recorded spans are what the session asks for, and nobody's picture is kept without being asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gi")

from doubles.clip_contract import clip_contract  # noqa: E402

from affectrt.bundle.contract import Contract  # noqa: E402
from affectrt.models.rcma import Rcma  # noqa: E402
from affectrt.models.sizes import demo_config  # noqa: E402
from affectrt.runtime import Request  # noqa: E402
from affectrt.runtime.replay import replay  # noqa: E402
from affectrt.runtime.sources.memory import MemorySource  # noqa: E402
from affectrt.training.media import open_media, picture_times  # noqa: E402
from affectrt.training.recordings import record_source, record_spans, record_video  # noqa: E402
from affectrt.training.synthetic import make_clip, make_identity, write_clip  # noqa: E402


@pytest.fixture(scope="module")
def model() -> Rcma:
    torch.manual_seed(0)
    return Rcma(demo_config()).eval()


@pytest.fixture(scope="module")
def contract(model: Rcma) -> Contract:
    return Contract.model_validate(model.contract())


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clip = make_clip(make_identity(7, 0), 7, seconds=2.0, size_px=64)
    path = tmp_path_factory.mktemp("media") / "clip.mp4"
    write_clip(path, clip.frames(), samples=clip.samples)
    return path


def test_spans_are_those_that_the_session_asks_for(contract: Contract, media: Path) -> None:
    spans = record_video(contract, media)
    asked: list[Request] = []

    def look(requests: Sequence[Request]) -> list[np.ndarray]:
        asked.extend(requests)
        return [np.zeros(contract.stage_output(r.stage).shape, np.float32) for r in requests]

    with open_media(contract, media) as source:
        replay(contract, source, look)
    by_stage = {stage: {r.step: r.feeds for r in asked if r.stage == stage} for stage in ("video", "audio")}
    assert len(by_stage["video"]) == len(by_stage["audio"]) == spans.steps == 50
    for step in range(50):
        np.testing.assert_array_equal(spans.video_span(step), by_stage["video"][step]["frames"])
        np.testing.assert_array_equal(spans.audio_span(step), by_stage["audio"][step]["waveform"])
    assert np.shares_memory(spans.audio_span(3), spans.waveform)
    # past the end the last sample repeats
    assert np.ptp(spans.audio_span(49)[2000:]) == 0.0


def test_the_margin_surrounds_the_crop_that_the_model_sees(contract: Contract, media: Path) -> None:
    narrow, wide = record_video(contract, media), record_video(contract, media, margin=True)
    assert wide.crops.shape == (50, 48, 48, 3)
    np.testing.assert_array_equal(wide.crops[:, 4:44, 4:44], narrow.crops)


def test_nothing_is_written_unless_a_folder_is_named(contract: Contract, media: Path, tmp_path: Path) -> None:
    before = sorted(media.parent.iterdir())
    first = record_video(contract, media)
    assert sorted(media.parent.iterdir()) == before
    cached = record_video(contract, media, cache=tmp_path / "spans")
    assert len(list((tmp_path / "spans").iterdir())) == 1
    again = record_video(contract, media, cache=tmp_path / "spans")
    for spans in (cached, again):
        np.testing.assert_array_equal(spans.crops, first.crops)
        np.testing.assert_array_equal(spans.waveform, first.waveform)
        assert spans.span_samples == first.span_samples
    record_video(contract, media, margin=True, cache=tmp_path / "spans")
    assert len(list((tmp_path / "spans").iterdir())) == 2


def test_held_and_missing_pictures_are_told_apart(contract: Contract) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 48, 48, 3), np.uint8)
    source = MemorySource.from_arrays(
        frames=frames, pts_s=[0.0, 0.04, 0.12], samples=np.zeros(16_000, np.float32), sample_rate_hz=16_000
    )
    spans = record_source(contract, source)
    # step 2 holds the second picture; the third is held for 0.2 s, after that there is none
    assert spans.crops_of_step[:, 0].tolist() == [0, 1, 1, 2, 2, 2, 2, 2, 2] + [-1] * 16
    assert spans.crops.shape == (3, 40, 40, 3)
    assert (spans.start_of_step >= 0).all() and spans.steps == 25


def test_clips_are_row_by_row_those_that_the_session_asks_for_at_every_step() -> None:
    """Pictures that come late, are held and go missing: the clip of a step is made of the last four that were shown."""
    contract = clip_contract()
    rng = np.random.default_rng(0)
    pts_s = np.array([1, 2, 3, 5, 6, 7, 8, 20, 21, 22, 23, 24, 25, 27]) / 25
    frames = rng.integers(0, 255, (len(pts_s), 12, 12, 3), np.uint8)
    sound = rng.uniform(-1, 1, 30 * 640).astype(np.float32)

    def source() -> MemorySource:
        return MemorySource.from_arrays(frames=frames, pts_s=pts_s, samples=sound)

    asked: list[Request] = []

    def look(requests: Sequence[Request]) -> list[np.ndarray]:
        asked.extend(requests)
        return [np.zeros(contract.stage_output(r.stage).shape, np.float32) for r in requests]

    replay(contract, source(), look, hop_steps=1)
    clips = {r.step: r.feeds["frames"] for r in asked if r.stage == "video"}
    waves = {r.step: r.feeds["waveform"] for r in asked if r.stage == "audio"}
    spans, wide = record_source(contract, source()), record_source(contract, source(), margin=True)
    assert spans.steps == wide.steps == 30
    assert np.flatnonzero(spans.present("video")).tolist() == sorted(clips)
    assert np.flatnonzero(spans.present("audio")).tolist() == sorted(waves)
    # step 4 and 26 hold, 9 to 12 hold for 0.2 s, 0 and 13 to 19 have no picture
    assert sorted(clips) == [*range(1, 14), *range(20, 30)]
    for step, clip in clips.items():
        np.testing.assert_array_equal(spans.video_span(step), clip)
        np.testing.assert_array_equal(wide.video_span(step)[:, 2:10, 2:10], clip)
    for step, wave in waves.items():
        np.testing.assert_array_equal(spans.audio_span(step), wave)
    # each picture is kept once, whatever the number of clips that hold it
    assert len(spans.crops) == len(pts_s) and spans.crops_of_step[2].tolist() == [0, 0, 0, 1]
    with pytest.raises(IndexError, match="step 15 shows nothing"):
        spans.video_span(15)


def test_no_clip_reaches_over_a_gap() -> None:
    contract = clip_contract()
    frames = np.random.default_rng(0).integers(0, 255, (6, 12, 12, 3), np.uint8)
    pts_s = np.array([0, 1, 2, 2000, 2001, 2002]) / 25
    spans = record_source(contract, MemorySource.from_arrays(frames=frames, pts_s=pts_s))
    assert spans.crops_of_step[2].tolist() == [0, 0, 1, 2]
    assert spans.crops_of_step[2001].tolist() == [3, 3, 3, 4]


def test_sound_that_begins_late_has_no_spans_before(contract: Contract) -> None:
    frames = np.zeros((10, 48, 48, 3), np.uint8)
    source = MemorySource.from_arrays(frames=frames, pts_s=np.arange(10) / 25)
    spans = record_source(contract, source)
    assert (spans.start_of_step == -1).all()
    with pytest.raises(IndexError, match="step 4 has no audio"):
        spans.audio_span(4)


def test_recorded_inputs_of_every_stage_are_real_ones(model: Rcma, contract: Contract, media: Path) -> None:
    drawn = record_spans(model, [media], per_stage=4, seed=1)
    assert {stage: {k: v.shape for k, v in feeds.items()} for stage, feeds in drawn.items()} == {
        "video": {"frames": (4, 40, 40, 3)},
        "audio": {"waveform": (4, 15_600)},
        "fusion": {"video": (4, 300, 48), "audio": (4, 300, 32)},
    }
    spans = record_video(contract, media)
    for frame in drawn["video"]["frames"]:
        assert (spans.crops == frame).all(axis=(1, 2, 3)).any()
    assert np.abs(drawn["fusion"]["video"]).max() > 0
    again = record_spans(model, [media], per_stage=4, seed=1)
    np.testing.assert_array_equal(drawn["audio"]["waveform"], again["audio"]["waveform"])
    other = record_spans(model, [media], per_stage=4, seed=2)
    assert not np.array_equal(drawn["audio"]["waveform"], other["audio"]["waveform"])


def test_picture_times_are_those_of_the_file(media: Path) -> None:
    np.testing.assert_allclose(picture_times(media), np.arange(50) / 25, atol=1e-3)
