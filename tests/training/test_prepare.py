"""From raw videos to a prepared corpus: it holds what a run would compute."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from doubles.raw_defects import annotate, write_defects
from doubles.tiny_bundle import tiny_contract

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import AffectError, MissingDependency, UsageError
from affectrt.training.media import picture_times
from affectrt.training.prepare import GivenCrops, Options, RawVideo, prepare
from affectrt.training.prepare.affwild2 import raw_videos
from affectrt.training.prepare.one_video import labels_at
from affectrt.training.recordings import record_video


def clip_contract(frames: int = 4) -> Contract:
    """The tiny contract with spans of several frames and sound that ends at the step, as CAV's does."""
    told = tiny_contract().model_dump()
    told["video"] |= {"span_frames": frames}
    told["video"]["input"]["shape"] = (frames, *told["video"]["input"]["shape"])
    told["audio"] |= {"anchor": "end"}
    return Contract.model_validate(told)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_defects(tmp_path_factory.mktemp("raw"))


def test_crops_and_sound_are_what_a_run_computes(raw: Path, tmp_path: Path) -> None:
    contract = clip_contract()
    corpus = raw_videos(raw)
    made = prepare(corpus, tmp_path / "out", Options(contract, faces="whole")).corpus
    assert [video.name for video in made.all_videos] == [video.name for video in corpus.videos]
    for video, source in zip(made.all_videos, corpus.videos, strict=True):
        ours, run = video.spans(), record_video(contract, source.media, margin=True)
        for what in ("crops", "crops_of_step", "waveform", "start_of_step"):
            here, there = getattr(ours, what), getattr(run, what)
            assert here.dtype == there.dtype
            np.testing.assert_array_equal(here, there, err_msg=f"{video.name} {what}")
        assert ours.span_samples == run.span_samples
    turned = next(video for video in made.all_videos if video.name == "turned")
    assert turned.record.seen == 25


def test_labels_belong_to_the_picture_nearest_in_time(raw: Path, tmp_path: Path) -> None:
    corpus = raw_videos(raw)
    made = prepare(corpus, tmp_path / "out", Options(tiny_contract(), faces="whole")).corpus
    for video, source in zip(made.all_videos, corpus.videos, strict=True):
        times, truth = picture_times(source.media), video.truth()
        for step, at in enumerate(video.times_s()):
            nearest = int(np.argmin(np.abs(times - at)))
            if abs(times[nearest] - at) < 0.099:
                assert truth[step, 0] == pytest.approx(nearest / 1000, abs=0.0011), (video.name, step)
            elif abs(times[nearest] - at) > 0.101:
                assert np.isnan(truth[step]).all()


def test_on_the_clock_of_pictures_a_step_is_a_picture(raw: Path, tmp_path: Path) -> None:
    corpus = raw_videos(raw)
    made = prepare(corpus, tmp_path / "out", Options(tiny_contract(), faces="whole", clock="pictures")).corpus
    for video in made.all_videos:
        assert video.steps == video.record.pictures == video.record.crops
        spans = video.spans()
        assert spans.crops_of_step[:, 0].tolist() == list(range(video.steps))
        np.testing.assert_array_equal(video.truth()[:, 0], np.float32(np.arange(video.steps) / 1000))
    thirty = next(video for video in made.all_videos if video.name == "thirty")
    assert thirty.step_hz == 30.0 and thirty.times_s()[15] == 0.5
    assert thirty.spans().start_of_step[15] == 8000


def test_given_crops_meet_the_picture_of_their_number(raw: Path, tmp_path: Path) -> None:
    folder = tmp_path / "crops"
    folder.mkdir()
    for number in (1, 2, 3, 6, 7):  # of picture 4 and 5 there is none, nor of any after 7
        cv2.imwrite(str(folder / f"{number:05d}.png"), np.full((112, 112, 3), 10 * number, np.uint8))
    corpus = raw_videos(raw)
    usual = next(video for video in corpus.videos if video.name == "usual")
    given = RawVideo("usual", "train", usual.media, usual.labels, crops=GivenCrops(folder, "{:05d}.png"))
    one = type(corpus)(raw, "affwild2", "", (given,))
    video = prepare(one, tmp_path / "out", Options(tiny_contract())).corpus.all_videos[0]
    spans = video.spans()
    shown = [int(spans.crops[row, 0, 0, 0]) if row >= 0 else None for row in spans.crops_of_step[:9, 0]]
    assert shown == [10, 20, 30, None, None, 60, 70, None, None]
    assert video.truth()[5, 0] == np.float32(0.005)
    assert video.record.seen == 5 and video.record.dropped["pictures without the face"] == 45
    assert video.record.heard == 50  # the sound goes on


def test_a_video_that_cannot_be_read_fails_the_command_and_leaves_the_others(raw: Path, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    (root / "raw_videos").mkdir(parents=True)
    (root / "raw_videos/good.mp4").write_bytes((raw / "raw_videos/short.mp4").read_bytes())
    (root / "raw_videos/bad.mp4").write_bytes(b"no video at all" * 100)
    (root / "raw_videos/nobody.mp4").write_bytes((raw / "raw_videos/short.mp4").read_bytes())
    for name in ("good", "bad", "gone"):
        annotate(root, name, 3)
    annotate(root, "nobody", ["-5,-5"] * 3)
    options = Options(tiny_contract(), faces="whole")
    with pytest.raises(AffectError) as caught:
        prepare(raw_videos(root), tmp_path / "out", options)
    assert "bad: " in str(caught.value) and "gone: " in str(caught.value) and "--allow-failures" in str(caught.value)
    assert not (tmp_path / "out/corpus.json").exists()
    assert (tmp_path / "out/videos/good/crops.npy").exists()
    made = prepare(raw_videos(root), tmp_path / "out", Options(tiny_contract(), faces="whole", allow_failures=True))
    assert [video.name for video in made.corpus.all_videos] == ["good"]
    assert {(one.name, one.failed) for one in made.corpus.record.left_out} == {
        ("bad", True),
        ("gone", True),
        ("nobody", False),
    }
    assert str(tmp_path) not in (tmp_path / "out/corpus.json").read_text()


def test_a_corpus_begun_otherwise_is_not_gone_on_with(raw: Path, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    (root / "raw_videos").mkdir(parents=True)
    (root / "raw_videos/good.mp4").write_bytes((raw / "raw_videos/short.mp4").read_bytes())
    annotate(root, "good", 3)
    prepare(raw_videos(root), tmp_path / "out", Options(tiny_contract(), faces="whole"))
    with pytest.raises(UsageError, match=r"step_hz: 25\.0 there, 30\.0 now"):
        prepare(raw_videos(root), tmp_path / "out", Options(tiny_contract(step_hz=30.0), faces="whole"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="not a prepared corpus"):
        prepare(raw_videos(root), tmp_path / "mine", Options(tiny_contract(), faces="whole"))


def test_without_crops_and_detector_the_command_that_brings_one_is_named(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFFECTRT_CACHE_DIR", str(tmp_path / "empty"))
    with pytest.raises(MissingDependency) as caught:
        prepare(raw_videos(raw), tmp_path / "out", Options(tiny_contract()))
    assert caught.value.fix == "affectrt assets pull yunet"


def test_the_clip_before_a_side_has_the_sound_of_the_base_video(raw: Path, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    (root / "raw_videos").mkdir(parents=True)
    for name in ("two", "three"):
        (root / f"raw_videos/{name}.mp4").write_bytes((raw / "raw_videos/usual.mp4").read_bytes())
    for name in ("two_left", "two_right", "three", "three_right"):
        annotate(root, name, 50)
    told = {video.name: (video.media.name, video.side) for video in raw_videos(root).videos}
    assert told == {
        "three": ("three.mp4", "left"),
        "three_right": ("three.mp4", "right"),
        "two_left": ("two.mp4", "left"),
        "two_right": ("two.mp4", "right"),
    }


def test_annotation_with_times_of_its_own_is_joined_by_lines_over_a_second_at_most() -> None:
    rows = np.array([[0, 0], [1, -1], [np.nan, np.nan], [0.5, 0.5], [0, 0]], np.float32)
    times = np.array([0.0, 0.5, 1.0, 1.5, 3.0])
    at = np.array([0.0, 0.25, 0.5, 0.6, 1.0, 1.5, 2.0, 3.05, 3.2])
    labels = labels_at(rows, times, at)
    expected = [0, 0.5, 1, np.nan, np.nan, 0.5, np.nan, 0, np.nan]
    np.testing.assert_allclose(labels[:, 0], np.float32(expected))
