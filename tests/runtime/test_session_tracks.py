"""When a face is lost, when the voice speaks alone, and what a session gives up when it is behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from doubles.numpy_model import RATE, NumpyScheduler, contract

from affectrt.bundle.contract import Contract
from affectrt.runtime.estimate import Estimate
from affectrt.runtime.faces import Face
from affectrt.runtime.session import Session

FACE = Face(5, (0, 0, 8, 8), 0.9)
PICTURE = np.full((8, 8, 3), 90, np.uint8)
STEP_S = 0.04


def drain(session: Session, c: Contract) -> list[Estimate]:
    scheduler = NumpyScheduler(c)
    while waiting := session.pending():
        session.resolve(waiting, scheduler.infer(waiting))
    return session.poll()


def watched(in_view: list[bool], *, sound: bool = True, heard_s: float | None = None, **options: Any) -> list[Estimate]:
    """Estimates of a stream of 25 frames a second that shows the face where `in_view` says so."""
    c = contract(window=10, warm_up=4)
    session = Session(c, modalities=["video", "audio"] if sound else ["video"], **{"found_faces": True, **options})
    faces = [[FACE] if there else [] for there in in_view]
    session.push_video([PICTURE] * len(in_view), np.arange(len(in_view)) * STEP_S, faces)
    if sound:
        seconds = heard_s if heard_s is not None else len(in_view) * STEP_S
        session.push_audio(np.full(round(seconds * RATE), 0.3, np.float32), 0.0)
    session.flush()
    return drain(session, c)


def steps_of(estimates: list[Estimate], track: int) -> list[int]:
    return [round(e.t_s / STEP_S) for e in estimates if e.track == track]


def test_a_face_lost_for_less_than_two_seconds_stays_the_same_track_without_video() -> None:
    got = watched([True] * 10 + [False] * 49 + [True] * 10)
    assert steps_of(got, 5) == list(range(69)) and steps_of(got, -1) == []
    assert [e.modalities for e in got[10:59]] == [("audio",)] * 49
    assert [round(e.t_s / STEP_S) for e in got if e.warming_up] == [0, 1, 2, 3]


def test_a_face_lost_for_two_seconds_ends_and_returns_as_a_new_track_that_warms_up() -> None:
    got = watched([True] * 10 + [False] * 50 + [True] * 10)
    assert steps_of(got, 5) == list(range(70)), "its last step is the fiftieth unseen one, then it begins anew"
    assert [round(e.t_s / STEP_S) for e in got if e.warming_up] == [0, 1, 2, 3, 60, 61, 62, 63]


def test_the_voice_speaks_alone_before_between_and_after_the_faces() -> None:
    got = watched([False] * 20 + [True] * 5 + [False] * 80 + [True] * 5 + [False] * 60)
    assert steps_of(got, -1) == [*range(20), *range(75, 105), *range(160, 170)]
    assert steps_of(got, 5) == [*range(20, 75), *range(105, 160)]
    voice = [e for e in got if e.track == -1]
    assert {e.modalities for e in voice} == {("audio",)} and {e.quality.face_px for e in voice} == {None}
    assert [round(e.t_s / STEP_S) for e in voice if e.warming_up] == [*range(4), *range(75, 79), *range(160, 164)]


def test_without_sound_nobody_speaks_while_no_face_is_there() -> None:
    got = watched([False] * 20 + [True] * 5 + [False] * 80, sound=False)
    assert steps_of(got, -1) == [] and steps_of(got, 5) == list(range(20, 75))


def test_a_voice_that_has_fallen_silent_for_good_says_nothing() -> None:
    got = watched([False] * 100, heard_s=2.0)
    assert steps_of(got, -1) == list(range(50))


def test_a_frame_that_is_the_face_by_assumption_is_never_lost() -> None:
    got = watched([True] * 10 + [False] * 100, found_faces=False)
    assert steps_of(got, 5) == list(range(110)) and steps_of(got, -1) == []


def test_all_faces_hear_the_same_voice() -> None:
    c = contract(window=10)
    session = Session(c, found_faces=True)
    both = [FACE, Face(6, (0, 0, 8, 8), 0.8)]
    session.push_video([PICTURE] * 25, np.arange(25) * STEP_S, [both] * 25)
    session.push_audio(np.full(RATE, 0.3, np.float32), 0.0)
    session.flush()
    assert sum(r.stage == "audio" for r in session.pending()) == 25, "one span a step, however many faces"
    got = drain(session, c)
    assert [(e.valence, e.arousal) for e in got if e.track == 5] == [
        (e.valence, e.arousal) for e in got if e.track == 6
    ]


def waiting_runs(c: Contract) -> tuple[Session, list[Any]]:
    session, scheduler = Session(c, modalities=["video"], hop_steps=5), NumpyScheduler(c)
    session.push_video([PICTURE] * 20, np.arange(20) * STEP_S)
    encoders = [r for r in session.pending() if r.stage == "video"]
    session.resolve(encoders, scheduler.infer(encoders))
    return session, session.pending()


def test_skipped_runs_leave_their_steps_out_and_the_others_in_order() -> None:
    c = contract(window=10)
    session, runs = waiting_runs(c)
    assert [r.step for r in runs] == [4, 9, 14, 19]
    session.skip(runs[:1] + runs[2:3])
    assert steps_of(drain(session, c), 0) == [5, 6, 7, 8, 9, 15, 16, 17, 18, 19]
    assert session.skipped_steps == 10 and session.pending() == []
    session.mark_gap("lost")
    session.push_video([PICTURE], [9.0])
    assert session.skipped_steps == 10, "the count survives the gap"


def test_a_run_of_two_networks_is_skipped_as_one() -> None:
    stages = [{"stage": "a", "outputs": ["arousal"]}, {"stage": "v", "outputs": ["valence"]}]
    plain = contract(window=10)
    c = Contract.model_validate(
        {**plain.model_dump(), "fusion": {**plain.fusion.model_dump(), "stages": stages}},
    )
    session, runs = waiting_runs(c)
    assert [(r.stage, r.step) for r in runs[:2]] == [("a", 4), ("v", 4)]
    session.resolve(runs[:1], [np.zeros((10, 1), np.float32)])
    session.skip([runs[1]])
    session.skip([runs[2]])
    assert [(r.stage, r.step) for r in session.pending()] == [("a", 14), ("v", 14), ("a", 19), ("v", 19)]
    session.resolve(session.pending(), [np.zeros((10, 1), np.float32)] * 4)
    assert steps_of(session.poll(), 0) == list(range(10, 20)) and session.skipped_steps == 10


def test_only_pending_runs_of_the_fusion_can_be_skipped() -> None:
    c = contract(window=10)
    session, runs = waiting_runs(c)
    session.skip(runs[:1])
    with pytest.raises(KeyError):
        session.skip(runs[:1])
    session.push_video([PICTURE], [20 * STEP_S])
    with pytest.raises(ValueError, match="only runs of the fusion"):
        session.skip([r for r in session.pending() if r.stage == "video"])


def test_the_reasons_of_the_last_hundred_gaps_are_kept() -> None:
    session = Session(contract())
    for number in range(250):
        session.mark_gap(f"gap {number}")
    assert session.gap_count == 250 and session.gaps == [f"gap {n}" for n in range(150, 250)]


def test_steps_before_and_after_a_gap_are_never_the_same() -> None:
    c = contract(window=10)
    session = Session(c, modalities=["video"], hop_steps=1)
    session.push_video([PICTURE] * 5, np.arange(5) * STEP_S)
    session.mark_gap("lost")
    session.push_video([PICTURE] * 5, 0.165 + np.arange(5) * STEP_S)
    session.flush()
    assert steps_of(drain(session, c), 0) == list(range(9))


def test_a_modality_that_is_absent_is_not_waited_for_and_comes_back() -> None:
    c = contract(window=10, warm_up=4)
    session = Session(c, found_faces=True)
    sound = np.full(RATE, 0.3, np.float32)
    session.push_video([PICTURE] * 25, np.arange(25) * STEP_S, [[FACE]] * 25)
    for second in range(4):
        session.push_audio(sound, float(second))
    session.mark_absent("video")
    session.mark_absent("audio")
    for second in range(4, 7):
        session.push_audio(sound, float(second))
    session.push_video([PICTURE] * 25, 7 + np.arange(25) * STEP_S, [[FACE]] * 25)
    session.push_audio(sound, 7.0)
    session.flush()
    got = drain(session, c)
    assert steps_of(got, -1) == list(range(80, 175)), "held for 0.2 s, lost for 2 s, then alone"
    assert steps_of(got, 5) == [*range(80), *range(175, 200)]
    assert session.gaps == ["video is absent", "video is back"]
