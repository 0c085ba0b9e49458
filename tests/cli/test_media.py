"""Which files a folder means, and that the videos of a test split are never among them."""

from pathlib import Path

import pytest

from affectrt.bundle import UsageError
from affectrt.cli.media import media_from_paths


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_folder_gives_its_media_sorted_and_a_file_gives_itself(tmp_path: Path) -> None:
    touch(tmp_path / "d/b.mp4", tmp_path / "d/sub/a.MKV", tmp_path / "d/notes.txt", tmp_path / "odd.bin")
    found = media_from_paths([tmp_path / "odd.bin", tmp_path / "d", tmp_path / "d/b.mp4"])
    assert found == [tmp_path / "odd.bin", tmp_path / "d/b.mp4", tmp_path / "d/sub/a.MKV"]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("6th_ABAW_Annotations/VA/train", "6th_ABAW_Annotations/VA/test"),
        (
            "ABAW_Annotations/VA_Estimation_Challenge/Train_Set",
            "ABAW_Annotations/VA_Estimation_Challenge/Validation_Set",
        ),
    ],
)
def test_of_a_corpus_only_the_training_split_is_taken(tmp_path: Path, train: str, test: str) -> None:
    touch(tmp_path / "raw_videos/seen.mp4", tmp_path / "raw_videos/held-out.mp4")
    touch(tmp_path / train / "seen.txt", tmp_path / test / "held-out.txt")
    assert media_from_paths([tmp_path]) == [tmp_path / "raw_videos/seen.mp4"]


def test_a_video_of_two_people_is_taken_where_both_are_trained_on(tmp_path: Path) -> None:
    annotations = tmp_path / "6th_ABAW_Annotations/VA"
    touch(*(tmp_path / f"raw_videos/{name}.mp4" for name in ("both", "split", "none")))
    touch(annotations / "train/both_left.txt", annotations / "train/both_right.txt")
    touch(annotations / "train/split_left.txt", annotations / "validate/split_right.txt")
    assert media_from_paths([tmp_path]) == [tmp_path / "raw_videos/both.mp4"]


def test_of_own_recordings_those_that_the_index_trains_on_are_taken(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "c.mp4")
    (tmp_path / "videos.csv").write_text("Video, person, split\na, 1, train\nb.mp4, 2, train\nc, 3, test\n", "utf-8")
    assert media_from_paths([tmp_path]) == [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    assert len(media_from_paths([tmp_path], every_split=True)) == 3
    (tmp_path / "videos.csv").write_text("video,person\na,1\n", "utf-8")
    assert len(media_from_paths([tmp_path])) == 3


def test_what_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        media_from_paths([tmp_path / "nothing"])
    with pytest.raises(UsageError, match="no media files"):
        media_from_paths([tmp_path])


def test_a_prepared_corpus_is_named_as_what_it_is_where_media_are_wanted(tmp_path: Path) -> None:
    touch(tmp_path / "corpus.json", tmp_path / "videos/one/crops.npy")
    with pytest.raises(UsageError, match="is a prepared corpus, which holds"):
        media_from_paths([tmp_path])
