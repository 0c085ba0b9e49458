"""ABAW's submission: a row for each picture, counted from 1, as long as the sample wants it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from affectrt.bundle.errors import UsageError
from affectrt.training.evaluation import Played
from affectrt.training.submission import per_picture, submission_text, trials_in_sample, write_submission

THREE = {"7-left": np.array([[0.1, -0.2], [0.3, -0.4], [0.5, -0.6]])}


def _sample(path: Path, *rows: str) -> Path:
    path.write_text("image_location,valence,arousal\n" + "".join(f"{row},0,0\n" for row in rows))
    return path


def test_every_picture_has_a_row_counted_from_one() -> None:
    assert submission_text(THREE).splitlines() == [
        "image_location,valence,arousal",
        "7-left/00001.jpg,0.100000,-0.200000",
        "7-left/00002.jpg,0.300000,-0.400000",
        "7-left/00003.jpg,0.500000,-0.600000",
    ]


def test_the_last_estimate_is_repeated_where_the_sample_goes_on_and_what_it_lacks_is_cut(tmp_path: Path) -> None:
    more = {**THREE, "9": np.full((4, 2), 0.9), "unasked": np.full((2, 2), np.nan)}
    rows = [*(f"7-left/{n:05d}.jpg" for n in range(1, 6)), "9/00001.jpg", "9/00003.jpg"]
    found = submission_text(more, trials_in_sample(_sample(tmp_path / "sample.txt", *rows))).splitlines()[1:]
    assert [line.split(",")[0] for line in found] == rows
    assert [line.split(",")[1] for line in found[:5]] == ["0.100000", "0.300000", "0.500000", "0.500000", "0.500000"]


def test_a_picture_without_an_estimate_has_the_last_that_came_before_it() -> None:
    dense = np.array([[np.nan] * 2, [0.1, 0.2], [np.nan] * 2, [0.3, 0.4]])
    empty = np.zeros((0, 2))
    # pictures at half the rate of the steps, one more than there are steps
    played = Played("clip", dense, empty, empty, np.zeros(0), np.array([0, 2, 4]))
    assert per_picture(played)[:, 0].tolist() == [0.1, 0.1, 0.3]
    nothing = Played("clip", np.full((4, 2), np.nan), empty, empty, np.zeros(0), np.array([0, 1]))
    assert np.isnan(per_picture(nothing)).all()


def test_a_trial_without_estimates_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    sample = _sample(tmp_path / "sample.txt", "7-left/00001.jpg", "8/00001.jpg")
    for place in ("out.txt", "folder"):
        with pytest.raises(UsageError, match="8"):
            write_submission(tmp_path / place, THREE, ("valence", "arousal"), sample)
        with pytest.raises(UsageError, match="7-left"):
            write_submission(tmp_path / place, {"7-left": np.full((2, 2), np.nan)}, ("valence", "arousal"), None)
    assert [path.name for path in tmp_path.iterdir()] == ["sample.txt"]


@pytest.mark.parametrize(
    ("line", "told"),
    [("../../etc/00001.jpg", "line 2"), ("7/00000.jpg", "line 2"), ("7/1.png", "line 2"), ("", "names no picture")],
)
def test_a_sample_that_is_none_is_refused_by_its_line(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "sample.txt"
    path.write_text(f"image_location,valence,arousal\n{line}\n")
    with pytest.raises(UsageError, match=told):
        trials_in_sample(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not text"):
        trials_in_sample(path)
    with pytest.raises(UsageError, match="is missing"):
        trials_in_sample(tmp_path / "absent.txt")


def test_a_model_of_one_output_has_files_by_trial_and_no_submission(tmp_path: Path) -> None:
    trials = {"7": np.array([[0.25], [0.5]])}
    with pytest.raises(UsageError, match="no valence"):
        write_submission(tmp_path / "out.txt", trials, ("arousal",), None)
    (path,) = write_submission(tmp_path / "out", trials, ("arousal",), None)
    assert path == tmp_path / "out" / "arousal" / "7.txt"
    assert path.read_text() == "arousal\n0.250000\n0.500000\n"


def test_columns_go_by_name(tmp_path: Path) -> None:
    (path,) = write_submission(tmp_path / "out.txt", THREE, ("arousal", "valence"), None)
    assert path.read_text().splitlines()[1] == "7-left/00001.jpg,-0.200000,0.100000"
