"""Faces that a detector finds in a recording like Aff-Wild2's: their crops show the annotation of their step.

A real face wears its valence on the forehead (`doubles.levelled_faces`) while it walks, turns and comes nearer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from doubles.face_clips import Place, yunet_path
from doubles.legible import Values, disagreeing, truth
from doubles.levelled_faces import CROP_PX, levels_of_found, recording
from doubles.media import write_media
from doubles.tiny_bundle import tiny_contract

from affectrt.runtime.finders import YuNetFinder
from affectrt.training.prepare import Options, prepare
from affectrt.training.prepare.affwild2 import raw_videos
from affectrt.training.prepared import PreparedVideo

SIZE = (400, 220)
UNEVEN_S = (0.04, 0.02, 0.1, 0.04, 0.06)
# How late the finder may notice that a face has gone or come: it looks every 0.2 s, and misses one for 0.25 s.
NOTICED_S = 0.25


def walk(rows: int, x: float, away: Collection[int] = (), drift: float = 0.0) -> list[Place | None]:
    at = range(rows)
    return [
        None
        if i in away
        else Place(x + drift * i, 110 + 12 * np.sin(i / 10), 80 + 8 * np.sin(i / 15), 6 * np.sin(i / 12))
        for i in at
    ]


def write_video(root: Path, name: str, frames: np.ndarray, times_s: Values, *, even: bool) -> None:
    (root / "raw_videos").mkdir(parents=True, exist_ok=True)
    fps = round(1 / (times_s[1] - times_s[0])) if even else 25
    path = root / "raw_videos" / f"{name}{'.mp4' if even else '.mkv'}"
    write_media(path, frames=frames, fps=fps, pts_s=None if even else times_s)


def annotate(root: Path, name: str, drawn: Values, unlabelled: Sequence[int]) -> Values:
    """The rows as they should be read: those of `unlabelled` have -5, in turns in both columns and in one."""
    folder = root / "6th_ABAW_Annotations/VA/train"
    folder.mkdir(parents=True, exist_ok=True)
    written = drawn.copy()
    for at, row in enumerate(unlabelled):
        written[row, : 1 + at % 2] = -5
    lines = [",".join("-5" if value == -5 else f"{value:.4f}" for value in row) for row in written]
    (folder / f"{name}.txt").write_text("\n".join(["valence,arousal", *lines]) + "\n")
    return np.where((written == -5).any(axis=1, keepdims=True), np.nan, written)


def found(root: Path, out: Path, clock: str) -> Mapping[str, PreparedVideo]:
    detector = yunet_path()
    options = Options(tiny_contract(crop_px=CROP_PX - 4), "found", clock, detector=detector)  # type: ignore[arg-type]
    return {video.name: video for video in prepare(raw_videos(root), out, options).corpus.all_videos}


def check(
    video: PreparedVideo, times_s: Values, drawn: Values, told: Values, away: Collection[int], within_s: float
) -> None:
    """Crops and labels are of the row that is shown; there is a crop where there is a face, and only there."""
    at, seen = np.asarray(video.times_s()), levels_of_found(video)
    until = np.append(times_s[1:], times_s[-1] + 0.1)
    row = np.clip(np.searchsorted(times_s, at + 1e-6, side="right") - 1, 0, len(times_s) - 1)
    gone = np.isin(row, list(away))
    # Whether a face that comes or goes has done so for long enough to be noticed.
    edges = times_s[1:][np.diff(np.isin(np.arange(len(times_s)), list(away)).astype(int)) != 0]
    fresh = np.array([any(-1 / video.step_hz <= t - edge <= NOTICED_S + within_s for edge in edges) for t in at])
    settled = (at < until[-1]) & ~fresh
    np.testing.assert_array_equal(np.isnan(seen[settled]), gone[settled], video.name)
    level = np.where(gone, np.nan, seen)
    assert (~np.isnan(level)).sum() > 0.8 * (~gone).sum()
    assert disagreeing(level, at, times_s, drawn[:, 0], within_s) == []
    for column in (0, 1):
        labels = np.asarray(video.truth()[:, column], np.float64)
        assert disagreeing(labels, at, times_s, told[:, column], within_s, 1e-3) == []
        if within_s == 0:
            np.testing.assert_array_equal(np.isnan(labels), np.isnan(told[: len(labels), column]))


def test_a_face_that_walks_and_goes_away_is_beside_its_label_at_every_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording is read twice, first to know who the person is; faces are looked for the first time alone."""
    looked: list[float] = []
    find = YuNetFinder.find
    monkeypatch.setattr(YuNetFinder, "find", lambda self, frame, at: looked.append(at) or find(self, frame, at))
    drawn, away = truth(110, 3), (*range(45, 65),)
    times = np.arange(len(drawn)) / 30
    frames = recording([(False, walk(len(drawn), 120, away, 1.2), drawn[:, 0])], SIZE)
    write_video(tmp_path / "raw", "street", frames, times, even=True)
    told = annotate(tmp_path / "raw", "street", drawn, (0, 12, 13, 14, 70))
    video = found(tmp_path / "raw", tmp_path / "out", "pictures")["street"]
    check(video, times, drawn, told, away, 0.0)
    assert len(looked) == len(drawn) == video.record.annotated + 5


def test_at_a_frame_rate_that_varies_faces_and_labels_stay_together_on_the_models_clock(tmp_path: Path) -> None:
    drawn, away = truth(90, 4), (*range(30, 48),)
    gaps = np.resize(UNEVEN_S, len(drawn))
    times = np.cumsum(gaps) - gaps
    frames = recording([(False, walk(len(drawn), 160, away, 0.8), drawn[:, 0])], SIZE)
    write_video(tmp_path / "raw", "uneven", frames, times, even=False)
    told = annotate(tmp_path / "raw", "uneven", drawn, (5, 6, 60))
    check(found(tmp_path / "raw", tmp_path / "out", "steps")["uneven"], times, drawn, told, away, 1 / 25)


def test_of_two_people_each_trial_has_the_face_and_the_labels_of_its_side(tmp_path: Path) -> None:
    left, right = truth(70, 5), truth(70, 6)
    times, away = np.arange(70) / 25, (*range(40, 58),)
    people = [(False, walk(70, 110), left[:, 0]), (True, walk(70, 290, away), right[:, 0])]
    write_video(tmp_path / "raw", "pair", recording(people, SIZE), times, even=True)
    told = {
        "pair_left": annotate(tmp_path / "raw", "pair_left", left, (20, 21)),
        "pair_right": annotate(tmp_path / "raw", "pair_right", right, (3,)),
    }
    videos = found(tmp_path / "raw", tmp_path / "out", "pictures")
    check(videos["pair_left"], times, left, told["pair_left"], (), 0.0)
    check(videos["pair_right"], times, right, told["pair_right"], away, 0.0)
    with pytest.raises(AssertionError):
        check(videos["pair_left"], times, right, told["pair_left"], (), 0.0)
