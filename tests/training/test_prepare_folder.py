"""A person's own recordings and their CSV files."""

from pathlib import Path

import numpy as np
import pytest

from affectrt.bundle.errors import UsageError
from affectrt.training.prepare.folder import raw_videos


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"{name}.mp4").write_bytes(b"not read here")
    return tmp_path


def annotate(root: Path, *names: str) -> None:
    for name in names:
        (root / f"{name}.csv").write_text("time,valence,arousal\n0.0,0.1,0.2\n0.04,-5,0.2\n0.08,,\n0.12,0.3,-1\n")


def test_a_csv_beside_each_video_gives_times_and_values(root: Path) -> None:
    annotate(root, "a", "b", "c", "d")
    video = next(video for video in raw_videos(root, shares={"train": 1, "validation": 0, "test": 0}).videos)
    assert video.name == "a" and video.label_times_s is not None
    assert video.label_times_s.tolist() == [0.0, 0.04, 0.08, 0.12]
    np.testing.assert_allclose(video.labels[:, 0], [0.1, np.nan, np.nan, 0.3], rtol=1e-6)
    assert np.isnan(video.labels[1:3]).all()


def test_one_csv_for_all_names_people_and_splits(root: Path) -> None:
    rows = [
        f"{name},0.5,0.1,0.1,{who},{split}"
        for name, who, split in (
            ("a", "ann", "train"),
            ("b.mp4", "ann", "train"),
            ("c", "bo", "validation"),
            ("d", "cy", "test"),
        )
    ]
    (root / "labels.csv").write_text("\n".join(["Video, Time, Valence, Arousal, Person, Split", *rows]))
    told = [(video.name, video.subject, video.split) for video in raw_videos(root).videos]
    assert told == [("a", "ann", "train"), ("b", "ann", "train"), ("c", "bo", "validation"), ("d", "cy", "test")]


def test_people_are_drawn_into_splits_whole_and_the_same_each_time(tmp_path: Path) -> None:
    names = [f"v{i:02}" for i in range(40)]
    for name in names:
        (tmp_path / f"{name}.mp4").write_bytes(b"")
    annotate(tmp_path, *names)
    index = "\n".join(["video,person", *(f"{name},p{i // 2}" for i, name in enumerate(names))])
    (tmp_path / "videos.csv").write_text(index)
    drawn = {video.name: (video.subject, video.split) for video in raw_videos(tmp_path, seed=1).videos}
    assert drawn == {video.name: (video.subject, video.split) for video in raw_videos(tmp_path, seed=1).videos}
    assert drawn != {video.name: (video.subject, video.split) for video in raw_videos(tmp_path, seed=2).videos}
    splits = {who: {split for person, split in drawn.values() if person == who} for who, _ in drawn.values()}
    assert all(len(of_one) == 1 for of_one in splits.values())
    counts = [sum(split == wanted for _, split in drawn.values()) for wanted in ("train", "validation", "test")]
    assert counts == [28, 6, 6]


def test_all_that_is_wrong_with_the_csvs_is_told_at_once(root: Path) -> None:
    annotate(root, "a")
    (root / "b.csv").write_text("time,valence\n0,1\n")
    (root / "c.csv").write_text("time,valence,arousal\n0,1.5,0\nx,0,0\n-1,0,0\n")
    (root / "d.csv").write_bytes(b"time,valence,arousal\n\xff\xfe,0,0\n")
    (root / "videos.csv").write_text("video,split\nz,train\na,training\n")
    with pytest.raises(UsageError) as caught:
        raw_videos(root)
    told = str(caught.value)
    for said in (
        "b.csv has no column arousal",
        "line 2 has 1.5, 0",
        "line 3 holds",
        "line 4 has no time",
        "is not CSV",
        "names 'z'",
        "a is in the split 'training'",
    ):
        assert said in told, said
    assert str(root / "b.csv") not in told


def test_a_video_without_annotation_is_left_out_unless_it_is_for_testing(root: Path) -> None:
    annotate(root, "a", "b", "c")
    (root / "videos.csv").write_text("video,split\na,train\nb,train\nc,validation\nd,test\n")
    raw = raw_videos(root)
    assert [video.name for video in raw.videos] == ["a", "b", "c", "d"]
    (root / "videos.csv").write_text("video,split\na,train\nb,train\nc,validation\nd,train\n")
    assert [one.name for one in raw_videos(root).left_out] == ["d"]
