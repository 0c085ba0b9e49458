"""What ranges were computed from is written down, read strictly, and is nothing that candidates are judged on."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from affectrt.bundle import BundleError, MediaError, UsageError
from affectrt.calibration.data import CalibrationData, MediaFile, check_disjoint, describe_data


def media(folder: Path, name: str, content: str, *people: str, truth: np.ndarray | None = None) -> MediaFile:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    return MediaFile(folder / name, people, truth)


def described(folder: Path) -> CalibrationData:
    truth = np.array([[-1, -1], [-0.9, -0.9], [1, 1], [np.nan, np.nan], [0.01, -0.01]], np.float32)
    files = [
        media(folder, "one.mp4", "first", "person-0001", truth=truth),
        media(folder, "two.wav", "second"),
        media(folder, "never read.mp4", "third"),
    ]
    return describe_data(files, {files[0].path: 2.04, files[1].path: 1.5}, {"video": 64, "audio": 128})


def test_the_files_that_were_read_are_written_down_without_their_folder(tmp_path: Path) -> None:
    data = described(tmp_path)
    assert [(f.name, f.size_bytes, f.seconds, f.people) for f in data.files] == [
        ("one.mp4", 5, 2.04, ("person-0001",)),
        ("two.wav", 6, 1.5, ()),
    ]
    assert data.files[0].sha256 == hashlib.sha256(b"first").hexdigest()
    assert data.seconds == 3.54 and data.windows == {"video": 64, "audio": 128}
    assert str(tmp_path) not in data.as_json().decode()


def test_coverage_counts_annotated_rows_by_valence_then_arousal(tmp_path: Path) -> None:
    coverage = described(tmp_path).coverage
    assert coverage is not None and coverage.rows == 4 and coverage.share_touched == 3 / 64
    assert coverage.counts[0][0] == 2 and coverage.counts[7][7] == 1 and coverage.counts[4][3] == 1


def test_nobody_annotated_is_not_nothing_covered(tmp_path: Path) -> None:
    unknown = media(tmp_path, "a.mp4", "a", truth=np.full((3, 2), np.nan, np.float32))
    assert describe_data([unknown], {unknown.path: 1.0}, {"video": 1}).coverage is None


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    data = described(tmp_path)
    assert CalibrationData.from_json(data.as_json()) == data
    named = media(tmp_path, "\x1b[2J\udcff.mp4", "x", "a\nb")
    odd = describe_data([named], {named.path: 1.0}, {"video": 1})
    assert CalibrationData.from_json(odd.as_json()) == odd and odd.files[0].name.isprintable()


def changed(record: dict, path: str, value: object) -> bytes:
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    inner = record
    for part in parents:
        inner = inner[part]  # type: ignore[index]
    inner[last] = value  # type: ignore[index]
    return json.dumps(record).encode()


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("format_version", 2, "format_version: must be 1, not 2"),
        ("files", [], "files: needs at least 1 entries"),
        ("files.0.sha256", "AB", r"files\[0\].sha256"),
        ("files.0.seconds", "2", "must be a number, not '2'"),
        ("files.0.folder", "/home", "folder: is not a field of this format"),
        ("windows", {"Video!": 1}, "windows"),
        ("windows.video", 0, "at least 1, not 0"),
        ("seconds", -1, "seconds: must be at least 0"),
        ("coverage.counts.0", [1], "counts are not 8 rows of 8"),
        ("coverage.rows", 5, "add up to 4, not to 5 rows"),
        ("coverage.share_touched", 0.9, "cells are touched, not 0.9"),
    ],
)
def test_facts_from_strangers_are_refused_with_the_field(tmp_path: Path, path: str, value: object, says: str) -> None:
    with pytest.raises(BundleError, match=says):
        CalibrationData.from_json(changed(json.loads(described(tmp_path).as_json()), path, value))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b'{"seconds": 1, "seconds": 2}', "twice"),
        (b'{"seconds": NaN}', "NaN"),
        (b"[" * 1000, "cannot be read|do not follow"),
        (b" " * (5 << 20), "bytes"),
    ],
)
def test_what_is_no_record_at_all_is_refused_with_the_reason(content: bytes, says: str) -> None:
    with pytest.raises(BundleError, match=says):
        CalibrationData.from_json(content)


def test_the_same_content_under_another_name_is_an_overlap(tmp_path: Path) -> None:
    calibration = [media(tmp_path / "a", "x.mp4", "same"), media(tmp_path / "a", "y.mp4", "else")]
    evaluation = [media(tmp_path / "b", "z.mp4", "same"), media(tmp_path / "b", "x.mp4", "more")]
    with pytest.raises(UsageError) as error:
        check_disjoint(calibration, evaluation)
    assert error.value.found == (
        "1 of 2 calibration files overlaps with the evaluation set:\n  x.mp4 has the content of z.mp4"
    )
    assert "another split" in str(error.value)


def test_a_file_named_twice_is_an_overlap(tmp_path: Path) -> None:
    file = media(tmp_path, "x.mp4", "same")
    with pytest.raises(UsageError, match=r"x\.mp4 is in both"):
        check_disjoint([file], [MediaFile(file.path)])


def test_the_same_person_in_another_recording_is_an_overlap(tmp_path: Path) -> None:
    calibration = [media(tmp_path, "x.mp4", "1", "anna", "ben"), media(tmp_path, "y.mp4", "2")]
    evaluation = [media(tmp_path, "z.mp4", "3", "carl"), media(tmp_path, "w.mp4", "4", "ben")]
    with pytest.raises(UsageError, match=r"x\.mp4 shows ben, as w\.mp4 does"):
        check_disjoint(calibration, evaluation)


def test_of_many_overlaps_ten_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    files = [media(tmp_path, f"{i:02}.mp4", f"{i:02}") for i in range(14)]
    with pytest.raises(UsageError) as error:
        check_disjoint(files, files[1:])
    lines = error.value.found.splitlines()
    assert lines[0] == "13 of 14 calibration files overlap with the evaluation set:"
    assert lines[1] == "  01.mp4 is in both" and lines[-1] == "  … and 3 more" and len(lines) == 12


def test_other_files_of_other_people_pass_and_only_those_of_one_size_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibration = [media(tmp_path, "a.mp4", "12345", "anna"), media(tmp_path, "b.mp4", "123", "ben")]
    evaluation = [media(tmp_path, "c.mp4", "54321", "carl"), media(tmp_path, "d.mp4", "1", "dora")]
    check_disjoint(calibration, evaluation)
    assert ["sha256" in file.__dict__ for file in (*calibration, *evaluation)] == [True, False, True, False]
    with pytest.raises(MediaError, match=r"gone\.mp4 cannot be read"):
        check_disjoint([MediaFile(tmp_path / "gone.mp4")], evaluation)
