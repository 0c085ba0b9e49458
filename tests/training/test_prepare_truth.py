"""Corpora that tell their own annotation: what `prepare` makes of them agrees at every step.

What is seen, heard, said and annotated is read back from the prepared files (`doubles.legible`). Each defect of the
authors' preparation that would break this is a small rule here, which fails the same check and, without the defect,
passes it (papers.md §1.7, §3.7).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from doubles.legible import RATE_HZ, Told, disagreeing, level_of, levels, pitch_of, tone, truth, unsaid, words_of
from doubles.raw_affwild2 import write_affwild2
from doubles.raw_recola import DELAYS, WINDOW, write_recola
from doubles.tiny_bundle import tiny_contract

from affectrt.runtime.words.word import Word
from affectrt.training.experiments.windows import clip_windows
from affectrt.training.prepare import Options, RawCorpus, prepare
from affectrt.training.prepare import affwild2 as affwild2_reader
from affectrt.training.prepare import recola as recola_reader
from affectrt.training.prepared import PreparedCorpus

SPAN = 640  # samples, one step at 25 Hz


def prepared(raw: RawCorpus, out: Path, faces: str = "auto", clock: str = "pictures") -> PreparedCorpus:
    options = Options(tiny_contract(span_samples=SPAN), faces=faces, clock=clock)  # type: ignore[arg-type]
    return prepare(raw, out, options).corpus


def check(corpus: PreparedCorpus, told: dict[str, Told], *, steps_apart: int) -> None:
    """Everything of every step is of its row, or of one so many steps away; nothing is missing, nothing too much."""
    assert {video.name for video in corpus.all_videos} == set(told)
    for video in corpus.all_videos:
        of = told[video.name]
        assert of.problems(video, within_s=steps_apart / video.step_hz) == {}, video.name
        assert (video.record.heard > 0) == of.sound
        if steps_apart == 0:
            rows = np.arange(len(of.times_s))
            np.testing.assert_array_equal(np.isnan(levels(video)[rows]), np.isin(rows, of.unseen), video.name)
            np.testing.assert_array_equal(np.isnan(video.truth()[rows]), np.isnan(of.values), video.name)


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told]:
    root = tmp_path_factory.mktemp("street")
    return root, write_affwild2(root, only=("street",))["street"]


# -- ours ---------------------------------------------------------------------------------------------------------


def test_pictures_sound_words_and_labels_of_affwild2_agree_at_every_picture(
    street: tuple[Path, Told], tmp_path: Path
) -> None:
    root, told = street
    raw = affwild2_reader.raw_videos(root, words=root / "said")
    corpus = prepared(raw, tmp_path / "out")
    check(corpus, {"street": told}, steps_apart=0)
    video = corpus.all_videos[0]
    assert video.step_hz == 30 and len(video.words()) == 20
    assert video.record.annotated == 100 - 5 - 3 and video.record.seen == 100 - 8


def test_two_people_in_one_recording_have_their_own_faces_and_the_same_sound(tmp_path: Path) -> None:
    told = write_affwild2(tmp_path / "raw", only=("pair", "mute", "blink"))
    check(prepared(affwild2_reader.raw_videos(tmp_path / "raw"), tmp_path / "out"), told, steps_apart=0)


@pytest.mark.slow
@pytest.mark.parametrize("faces", ["given", "whole"])
def test_every_defect_of_real_files_at_once_agrees_within_a_step_on_the_models_clock(
    faces: str, tmp_path: Path
) -> None:
    """At 25 steps a second: 30 pictures a second are left out, others are held, the phone's are turned."""
    several = ("street", "room", "mute", "blink", "phone", "uneven")
    told = write_affwild2(tmp_path / "raw", only=(*several, "pair") if faces == "given" else several)
    raw = affwild2_reader.raw_videos(tmp_path / "raw", words=tmp_path / "raw/said")
    check(prepared(raw, tmp_path / "out", faces, "steps"), told, steps_apart=1)


def test_pictures_windows_of_sound_and_late_labels_of_recola_agree_at_every_step(tmp_path: Path) -> None:
    told = write_recola(tmp_path / "raw", "authors", subjects=("train_1",))
    corpus = prepared(recola_reader.raw_videos(tmp_path / "raw"), tmp_path / "out", clock="steps")
    check(corpus, told, steps_apart=0)
    video = corpus.all_videos[0]
    assert video.record.seen == 300 - 3 and video.record.heard == 300
    assert [int((~np.isnan(column)).sum()) for column in video.truth().T] == [300 - delay for delay in DELAYS]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["avec", "own", "authors"])
@pytest.mark.parametrize("clock", ["steps", "pictures"])
def test_every_way_recola_lies_on_disk_agrees_at_every_step(layout: str, clock: str, tmp_path: Path) -> None:
    told = write_recola(tmp_path / "raw", layout)  # type: ignore[arg-type]
    if layout == "own":
        told["P13"].values[:] = np.nan
    faces = "auto" if layout == "authors" else "whole"
    check(prepared(recola_reader.raw_videos(tmp_path / "raw"), tmp_path / "out", faces, clock), told, steps_apart=0)


# -- the authors' -------------------------------------------------------------------------------------------------


def rows_of(root: Path) -> np.ndarray:
    return np.loadtxt(root / "6th_ABAW_Annotations/VA/train/street.txt", delimiter=",", skiprows=1)


def crop(root: Path, row: int) -> np.ndarray | None:
    return cv2.imread(str(root / f"cropped_aligned/street/{row + 1:05d}.jpg"))


Read = tuple[np.ndarray, np.ndarray, int]
"""What is read, the rows of the recording that it stands beside, and its column."""


def faces_by_count(root: Path, defect: bool) -> Read:
    """C2 #17: the kept rows get pictures 1 … N instead of their own."""
    kept = np.flatnonzero(rows_of(root).sum(axis=1) != -10)
    pictures = [crop(root, index if defect else row) for index, row in enumerate(kept)]
    return np.array([np.nan if one is None else level_of(one) for one in pictures]), kept, 0


def rows_with_one_minus_five(root: Path, defect: bool) -> Read:
    """C2 #18: a row goes only if both are -5."""
    rows = rows_of(root)
    kept = np.flatnonzero(rows.sum(axis=1) != -10 if defect else (rows != -5).all(axis=1))
    return rows[kept, 0], kept, 0


def signed_bytes(root: Path, defect: bool) -> Read:
    """C2 #11: pictures of short videos in int8; greys beyond 127 wrap."""
    kept = np.array([row for row in range(100) if crop(root, row) is not None])
    stored = [np.asarray(crop(root, row)).astype(np.int8 if defect else np.uint8) for row in kept]
    return np.array([level_of(one) for one in stored]), kept, 0


def faces_below_the_output(root: Path, defect: bool) -> Read:
    """C2 #20: pictures are looked for below the output's root; one that is not there is black."""
    pictures = [crop(root / "out" if defect else root, row) for row in range(100)]
    known = np.array([row for row, one in enumerate(pictures) if defect or one is not None])
    black = np.zeros((112, 112, 3), np.uint8)
    return np.array([level_of(black if pictures[row] is None else pictures[row]) for row in known]), known, 0  # type: ignore[arg-type]


def black_for_missing(root: Path, defect: bool) -> Read:
    """C2 preparation, §3.1: a picture without a crop is a black face."""
    levels_seen = []
    for row in range(100):
        one = crop(root, row)
        missing = -128 / 110 if defect else np.nan
        levels_seen.append(missing if one is None else level_of(one))
    return np.array(levels_seen), np.arange(100), 0


@pytest.mark.parametrize(
    "rule", [faces_by_count, rows_with_one_minus_five, signed_bytes, faces_below_the_output, black_for_missing]
)
def test_faces_and_labels_by_the_authors_rule_are_of_other_pictures(
    street: tuple[Path, Told], rule: Callable[[Path, bool], Read]
) -> None:
    root, told = street
    for defect in (True, False):
        read, rows, column = rule(root, defect)
        wrong = disagreeing(read, told.times_s[rows], told.times_s, told.drawn[:, column])
        assert bool(wrong) == defect, wrong


def test_a_mean_frame_rate_puts_sound_beside_other_pictures_of_a_phone() -> None:
    """C2 logmel: patch i begins at round(i · 100 / fps), whatever the pictures' own times are."""
    gaps = np.repeat([0.04, 0.08], 50)  # it got dark
    times, drawn = np.cumsum(gaps) - gaps, truth(100, 3, hold=2)
    samples = tone(times, drawn[:, 1], float(gaps.sum()))
    rows = np.arange(100)
    for begin, fails in ((np.round(rows * 100 * gaps.mean()) / 100, True), (times[rows], False)):
        heard = [pitch_of(samples[round(at * RATE_HZ) :][: round(0.04 * RATE_HZ)]) for at in begin]
        assert bool(disagreeing(np.array(heard), times[rows], times, drawn[:, 1])) == fails


def no_final_result(words: list[Word]) -> list[Word]:
    """C2 #21: the recogniser never reported an end of utterance, and its final result is not asked for."""
    return []


def last_token_lost(words: list[Word]) -> list[Word]:
    """C2 #22: the last token of a transcript has a vector of zeros."""
    return words[:-1]


@pytest.mark.parametrize("rule", [no_final_result, last_token_lost])
def test_words_by_the_authors_rule_are_missing_where_they_are_said(
    street: tuple[Path, Told], rule: Callable[[list[Word]], list[Word]]
) -> None:
    _, told = street
    said = words_of(told.times_s, told.drawn[:, 1], float(told.times_s[-1] + 0.04))
    at = told.times_s[1:]
    assert unsaid(rule(said), at, told.times_s, told.drawn[:, 1], 1 / 30)
    assert not unsaid(said, at, told.times_s, told.drawn[:, 1], 1 / 30)


def test_recolas_pictures_numbered_from_1_beside_rows_numbered_from_0_lag_by_one(tmp_path: Path) -> None:
    """C1 #9: picture number s, row s."""
    root = tmp_path / "raw"
    told = write_recola(root, "authors", subjects=("train_1",))["train_1"]
    rows = np.arange(1, 240)
    for defect in (True, False):
        seen = []
        for row in rows:
            one = cv2.imread(str(root / f"faces/train/train_1/frame{row if defect else row + 1}.jpg"))
            seen.append(np.nan if one is None else level_of(one))
        labels = told.values[:, 0]
        assert bool(disagreeing(np.array(seen), told.times_s[rows], told.times_s, labels)) == defect


@pytest.mark.parametrize(("column", "delay"), [(0, DELAYS[0]), (1, DELAYS[1])])
def test_the_delay_of_the_other_dimension_puts_labels_beside_other_pictures(
    column: int, delay: int, tmp_path: Path
) -> None:
    """C1 main.py:155 sets the valence's for both; and scipy's filter is the one that takes the outliers away."""
    from scipy.signal import medfilt

    told = write_recola(tmp_path, "authors", subjects=("train_1",))["train_1"]
    name = ("valence", "arousal")[column]
    file = np.loadtxt(tmp_path / f"ratings_gold_standard/{name}/train_1.csv", delimiter=",")[:, 0]
    kept = {this: medfilt(file)[this:] for this in DELAYS}
    for this, labels in kept.items():
        at = told.times_s[: 300 - DELAYS[1]]
        wrong = disagreeing(labels[: len(at)], at, told.times_s, told.drawn[:, column], 0.0, 1e-6)
        assert bool(wrong) == (this != delay)
    assert disagreeing(file[delay:], told.times_s[: len(file) - delay], told.times_s, told.drawn[:, column])
    ours = recola_reader.gold_standard(file, name)
    np.testing.assert_array_equal(ours[: len(file) - delay], kept[delay].astype(np.float32))
    assert np.isnan(ours[len(file) - delay :]).all()


def test_windows_counted_for_valence_run_out_of_the_labels_of_arousal() -> None:
    """C1 #10: 7 443 whatever the delay; the last ten windows have fewer than 128 labels of arousal."""
    labels = {name: np.zeros(7501 - delay) for name, delay in zip(("valence", "arousal"), DELAYS, strict=True)}
    whole = {name: [len(of[s : s + WINDOW]) == WINDOW for s in range(7443 - WINDOW + 1)] for name, of in labels.items()}
    assert all(whole["valence"]) and whole["arousal"].count(False) == 10
    for of in labels.values():
        windows = clip_windows(len(of))
        assert all(len(of[w.label : w.label + WINDOW]) == WINDOW for w in windows)
        assert windows[-1].label + WINDOW == len(of)
