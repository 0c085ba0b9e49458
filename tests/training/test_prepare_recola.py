"""RECOLA's layouts: what is read of them, and that every mistake says how to mend it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from doubles.raw_recola import write_recola
from doubles.tiny_bundle import tiny_contract

from affectrt.bundle.errors import AffectError, UsageError
from affectrt.training.experiments import author_clip_windows, clip_windows
from affectrt.training.prepare import Options, prepare
from affectrt.training.prepare.recola import PARTITIONS, raw_videos


def rate(root: Path, subject: str, rows: int = 100, **changed: str) -> None:
    """CSV of the authors' kind for both dimensions; `changed` takes the place of a dimension's text."""
    for dimension in ("valence", "arousal"):
        path = root / f"ratings_gold_standard/{dimension}/{subject}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{0.5 * np.sin(row / 30):.4f}" for row in range(rows)]
        path.write_text(changed.get(dimension, "\n".join(lines) + "\n"))


def record(root: Path, subject: str, folder: str = "recordings_video") -> None:
    """A file that nobody opens: readers look at names."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / f"{subject}.mp4").write_bytes(b"")


def picture_list(root: Path, lines: list[str], name: str = "train.txt") -> None:
    (root / name).write_text("\n".join(lines) + "\n")
    for line in lines:
        path = root / line.split()[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_avec_names_its_splits_and_ids_have_those_of_avec(tmp_path: Path) -> None:
    for subject in ("dev_1", "train_10", "train_2", "P65", "P16", "P13", "P14"):
        record(tmp_path, subject)
        rate(tmp_path, subject)
    record(tmp_path, "test_1")
    corpus = raw_videos(tmp_path)
    assert [(video.name, video.split) for video in corpus.videos] == [
        ("train_2", "train"),
        ("train_10", "train"),
        ("P16", "train"),
        ("dev_1", "validation"),
        ("P65", "validation"),
        ("test_1", "test"),
        ("P13", "test"),
    ]
    assert [(one.name, one.failed) for one in corpus.left_out] == [("P14", False)]
    assert {split: len(ids) for split, ids in PARTITIONS.items()} == {"train": 9, "validation": 9, "test": 9}
    assert len({number for ids in PARTITIONS.values() for number in ids}) == 27


def test_nine_subjects_of_five_minutes_have_the_authors_windows(tmp_path: Path) -> None:
    """7 501 rows each: 7 316 windows of valence, of which the authors keep 7 315; of arousal 7 306."""
    for number in range(1, 10):
        record(tmp_path, f"train_{number}")
        rate(tmp_path, f"train_{number}", 7501)
        record(tmp_path, f"dev_{number}")
        rate(tmp_path, f"dev_{number}", 7501)
    corpus = raw_videos(tmp_path)
    train = [video for video in corpus.videos if video.split == "train"]
    assert len(train) == len(corpus.videos) - len(train) == 9
    for column, (ours, theirs) in enumerate(((7316, 7315), (7306, 7305))):
        labels = [int((~np.isnan(video.labels[:, column])).sum()) for video in train]
        assert [len(clip_windows(count)) for count in labels] == [ours] * 9
        assert [len(author_clip_windows(count)) for count in labels] == [theirs] * 9


def test_test_subjects_need_no_gold_standard_and_others_do(tmp_path: Path) -> None:
    for subject in ("train_1", "train_2", "train_3", "test_1"):
        record(tmp_path, subject)
    rate(tmp_path, "train_1")
    rate(tmp_path, "train_4")
    rate(tmp_path, "train_3")
    (tmp_path / "ratings_gold_standard/arousal/train_3.csv").unlink()
    corpus = raw_videos(tmp_path)
    assert [video.name for video in corpus.videos] == ["train_1", "test_1"]
    assert {one.name: one.reason for one in corpus.left_out if one.failed} == {
        "train_2": "it has no gold standard of valence and arousal",
        "train_3": "it has no gold standard of arousal",
        "train_4": "it has a gold standard, but no recording and no line in train.txt or dev.txt or test.txt",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\n".join(f"{row / 25:.2f},0.1" for row in range(100)), "column 0 is a time"),
        ("valence\n" + "0.1\n" * 99, "line 1 is 'valence', not numbers"),
        ("0.1\n" * 50 + "1.5\n" + "0.1\n" * 49, "line 51 has 1.5, outside [-1, 1]"),
        ("0.1\n" * 50 + "nan\n" + "0.1\n" * 49, "line 51 has nan, outside [-1, 1]"),
        ("0.1\n" * 99, "its valence has 99 rows, its arousal 100"),
        ("", "there are no rows"),
    ],
)
def test_a_gold_standard_that_cannot_be_right_leaves_its_subject_out(tmp_path: Path, text: str, reason: str) -> None:
    record(tmp_path, "train_1")
    rate(tmp_path, "train_1", valence=text)
    (one,) = raw_videos(tmp_path).left_out
    assert one.failed and reason in one.reason and str(tmp_path) not in one.reason


def test_rows_of_an_arff_that_are_not_every_40_ms_are_named(tmp_path: Path) -> None:
    record(tmp_path, "train_1")
    for dimension in ("valence", "arousal"):
        path = tmp_path / f"ratings_gold_standard/{dimension}/train_1.arff"
        path.parent.mkdir(parents=True)
        rows = [f"'train_1',{row / 25 + (row > 70) * 0.04:.2f},0.1" for row in range(100)]
        path.write_text("\n".join(["@relation gold", "@data", *rows]))
    (one,) = raw_videos(tmp_path).left_out
    assert "line 74 is at 2.88 s instead of 2.84 s" in one.reason


def test_empty_lines_and_comments_of_an_arff_are_no_rows_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    record(tmp_path, "train_1")
    record(tmp_path, "train_2")
    for subject, last in (("train_1", "0.1"), ("train_2", "7")):
        for dimension in ("valence", "arousal"):
            path = tmp_path / f"ratings_gold_standard/{dimension}/{subject}.arff"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [f"'{subject}',{row / 25:.2f},0.1" for row in range(99)]
            path.write_text("\n".join(["@data", "", "% by hand", *rows, f"'{subject}',3.96,{last}"]))
    corpus = raw_videos(tmp_path)
    assert [(video.name, len(video.labels)) for video in corpus.videos] == [("train_1", 100)]
    assert "line 103 has 7, outside [-1, 1]" in next(one.reason for one in corpus.left_out if one.name == "train_2")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["faces/train_1/frame1.jpg 0", "faces/train_2/frame1.jpg 0", "faces/train_1/frame2.jpg 0"], "comes back"),
        (["../faces/train_1/frame1.jpg 0"], "leads out of the corpus"),
        (["faces/train_1/frame1.jpg 0"] * 2, "a picture is listed twice"),
        (["faces/train_1/one.jpg 0"], "is not 5 letters and a number"),
        (["faces/train_1/frame1.jpg 0", "faces/train_1/image2.jpg 0"], "named in several ways"),
        (["faces/train_1/frame01.jpg 0", "faces/train_1/frame100.jpg 0"], "filled with zeros"),
    ],
)
def test_an_image_list_that_cannot_be_right_is_refused(tmp_path: Path, lines: list[str], reason: str) -> None:
    rate(tmp_path, "train_1")
    (tmp_path / "inner").mkdir()
    picture_list(tmp_path, lines)
    with pytest.raises(UsageError, match="--faces found") as caught:
        raw_videos(tmp_path)
    assert reason in str(caught.value) and "train.txt" in str(caught.value)


def test_a_listed_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    rate(tmp_path, "train_1")
    picture_list(tmp_path, [f"faces/train_1/frame{number}.jpg 0" for number in range(0, 5)])
    assert raw_videos(tmp_path).videos[0].crops.first == 0  # type: ignore[union-attr]
    (tmp_path / "faces/train_1/frame3.jpg").unlink()
    with pytest.raises(UsageError, match=r"the first is faces/train_1/frame3\.jpg"):
        raw_videos(tmp_path)


def test_a_missing_window_of_sound_is_named_and_leaves_its_subject_out(tmp_path: Path) -> None:
    write_recola(tmp_path / "raw", "authors", subjects=("train_1",))
    (tmp_path / "raw/audio_shift_1_window_128/train/train_1/129.wav").unlink()
    with pytest.raises(AffectError, match=r"lacks 129\.wav"):
        prepare(raw_videos(tmp_path / "raw"), tmp_path / "out", Options(tiny_contract()))


@pytest.mark.parametrize("missing", ["pictures", "gold standard", "arousal"])
def test_a_folder_that_is_not_recola_is_refused_with_what_is_expected(tmp_path: Path, missing: str) -> None:
    if missing != "pictures":
        record(tmp_path, "train_1")
    if missing != "gold standard":
        rate(tmp_path, "train_1")
    if missing == "arousal":
        (tmp_path / "ratings_gold_standard/arousal/train_1.csv").unlink()
        (tmp_path / "ratings_gold_standard/arousal").rmdir()
    with pytest.raises(UsageError, match=missing) as caught:
        raw_videos(tmp_path)
    assert caught.value.fix and caught.value.expected


def test_crops_alone_are_not_searched_for_faces(tmp_path: Path) -> None:
    write_recola(tmp_path / "raw", "authors", subjects=("train_1",), rows=140)
    with pytest.raises(AffectError, match="only crops, no recording"):
        prepare(raw_videos(tmp_path / "raw"), tmp_path / "out", Options(tiny_contract(), faces="whole"))
