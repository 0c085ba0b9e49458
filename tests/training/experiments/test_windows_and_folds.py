"""Window counts, folds and split sizes as the papers' code has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from affectrt.bundle.errors import UsageError
from affectrt.training.experiments import author_clip_windows, clip_windows, folds, series_windows
from affectrt.training.experiments.folds import groups
from affectrt.training.prepare.affwild2 import raw_videos

TRAIN = [f"t{i:03d}" for i in range(356)]
VALIDATION = [f"v{i:02d}" for i in range(76)]


@pytest.mark.parametrize(
    ("rows", "starts"),
    [
        (700, [0, 200, 400]),
        (650, [0, 200, 350]),
        (300, [0]),
        (299, [0]),
        (1, [0]),
        (0, []),
        (301, [0, 1]),
        (500, [0, 200]),
        (501, [0, 200, 201]),
    ],
)
def test_a_series_is_cut_every_200_rows_and_once_more_at_its_end(rows: int, starts: list[int]) -> None:
    assert series_windows(rows) == starts


@pytest.mark.parametrize("rows", [*range(300, 1400, 7), 1400])
def test_every_row_of_a_series_lies_in_a_whole_window(rows: int) -> None:
    starts = series_windows(rows)
    assert len(set(starts)) == len(starts)
    assert {row for start in starts for row in range(start, start + 300)} == set(range(rows))


def test_nine_recola_subjects_have_65_844_windows_and_the_authors_keep_65_835() -> None:
    labels = 7501 - 58  # valence
    assert len(clip_windows(labels)) == 7316
    assert 9 * len(clip_windows(labels)) == 65_844
    assert 9 * len(author_clip_windows(labels)) == 9 * 7315 == 65_835
    assert len(author_clip_windows(labels, first_number=0)) == 1
    assert len(clip_windows(7501 - 68)) == 7306  # arousal: the authors' constant does not fit it


def test_the_authors_picture_lags_a_frame_behind_and_ours_does_not() -> None:
    theirs, ours = author_clip_windows(200), clip_windows(200)
    assert all(w.label == w.audio == w.video + 1 for w in theirs)
    assert theirs[-1].label + 128 == ours[-1].label + 128 == 200
    assert all(w.label == w.audio == w.video for w in ours)


def test_a_recording_shorter_than_a_window_has_no_clip_window() -> None:
    assert clip_windows(127) == author_clip_windows(127) == []


def test_the_groups_of_356_videos_have_71_71_71_71_and_72() -> None:
    assert [len(group) for group in groups(TRAIN)] == [71, 71, 71, 71, 72]
    assert [video for group in groups(TRAIN) for video in group] == TRAIN


def test_fold_0_is_the_official_split() -> None:
    assert folds(TRAIN, VALIDATION, 0) == (TRAIN, VALIDATION)


@pytest.mark.parametrize(
    ("fold", "first", "count"), [(1, 284, 72), (2, 213, 71), (3, 142, 71), (4, 71, 71), (5, 0, 71)]
)
def test_fold_f_validates_on_group_5_minus_f_and_trains_on_the_rest(fold: int, first: int, count: int) -> None:
    train, validation = folds(TRAIN, VALIDATION, fold)
    assert validation == TRAIN[first : first + count]
    assert len(train) == 356 - count + 76
    assert set(train) == (set(TRAIN) | set(VALIDATION)) - set(validation)
    assert train[-76:] == VALIDATION


@pytest.mark.parametrize("videos", [5, 6, 9, 10, 44])
def test_folds_of_another_corpus_cover_each_training_video_once(videos: int) -> None:
    held = [video for fold in range(1, 6) for video in folds(TRAIN[:videos], VALIDATION, fold)[1]]
    assert sorted(held) == TRAIN[:videos]


def test_a_fold_with_nobody_to_validate_on_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to validate on"):
        folds(TRAIN[:4], VALIDATION, 3)
    with pytest.raises(UsageError, match="fold 6"):
        folds(TRAIN, VALIDATION, 6)


def test_the_readers_splits_of_356_76_and_162_trials_make_the_published_folds(tmp_path: Path) -> None:
    """A fabricated list of 594 trials, 2 993 081 pictures being nobody's to fabricate (papers.md §3.1)."""
    names = [f"video{number:03d}" for number in range(594)]
    rng = np.random.default_rng(6)
    order = [names[at] for at in rng.permutation(594)]
    parts = {"train": order[:356], "validate": order[356:432]}
    (tmp_path / "raw_videos").mkdir()
    for name in names:
        (tmp_path / f"raw_videos/{name}.mp4").write_bytes(b"")
    for split, chosen in parts.items():
        folder = tmp_path / "6th_ABAW_Annotations/VA" / split
        folder.mkdir(parents=True)
        for name in chosen:
            (folder / f"{name}.txt").write_text("valence,arousal\n0.1,0.2\n")
    corpus = raw_videos(tmp_path, test_trials=order[432:])
    by_split = {split: [v.name for v in corpus.videos if v.split == split] for split in ("train", "validation", "test")}
    assert {split: len(videos) for split, videos in by_split.items()} == {"train": 356, "validation": 76, "test": 162}
    assert all(videos == sorted(videos) for videos in by_split.values())
    train, validation = by_split["train"], by_split["validation"]
    assert [len(folds(train, validation, fold)[1]) for fold in range(6)] == [76, 72, 71, 71, 71, 71]
    assert folds(train, validation, 1)[1] == sorted(parts["train"])[-72:]
