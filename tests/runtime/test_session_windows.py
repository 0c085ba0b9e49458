"""Fusions with one estimate a window of clips, case by case: when they run, what they see, what has to be computed.

Frame k is grey of level k, the audio of step k is constant at k / 1000, and an encoder answers with the newest and the
oldest step that it sees, so that windows can be read as steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from doubles.clip_contract import clip_contract

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import UsageError
from affectrt.runtime.crops import CropSpans
from affectrt.runtime.faces import Face
from affectrt.runtime.session import Session

STEP_S, SAMPLES = 0.04, 640


def contract(**shape: Any) -> Contract:
    """Eight clips of 16 frames, 16 apart, which is 128 steps; a hop of 16."""
    made = clip_contract(
        **{"span_frames": 16, "window_steps": 8, "stride_steps": 16, "hop_steps": 16, "resize_px": 8, **shape}
    )
    return made.model_copy(update={"fusion": made.fusion.model_copy(update={"warm_up_steps": 127})})


class Engines:
    """Answers requests and remembers them."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.clips: dict[tuple[int, int], np.ndarray] = {}
        self.windows: dict[tuple[int, int], dict[str, np.ndarray]] = {}

    def answer(self, requests: Sequence[Any]) -> list[np.ndarray]:
        return [self._one(request) for request in requests]

    def _one(self, request: Any) -> np.ndarray:
        self.asked[request.stage] += 1
        if request.stage == "video":
            clip = request.feeds["frames"]
            self.clips[request.track, request.step] = clip[:, 0, 0, 0].copy()
            return np.array([clip[-1, 0, 0, 0], clip[0, 0, 0, 0]], np.float32)
        if request.stage == "audio":
            span = request.feeds["waveform"]
            return np.array([span[-1], span[0]], np.float32) * 1000
        self.windows[request.track, request.step] = dict(request.feeds)
        values = {"fusion": [0.25, -0.5], "valence_net": [0.25], "arousal_net": [-0.5]}
        return np.array(values[request.stage], np.float32)

    def rows(self, step: int, modality: str = "video", track: int = 0) -> list[int]:
        """The steps that the window ending at `step` shows; 0 where it shows zeros."""
        return [round(value) for value in self.windows[track, step][modality][:, 0].tolist()]


def frames(steps: range) -> tuple[list[np.ndarray], np.ndarray]:
    return [np.full((8, 8, 3), step % 256, np.uint8) for step in steps], np.array(steps) * STEP_S


def sound(steps: range) -> np.ndarray:
    return np.repeat(np.array(steps, np.float32) / 1000, SAMPLES)


def played(session: Session, engines: Engines, video: range, audio: range, faces: Any = None) -> list[Any]:
    if len(video):
        session.push_video(*frames(video), faces=faces)
    if len(audio):
        session.push_audio(sound(audio), audio[0] * STEP_S)
    session.flush()
    return drained(session, engines)


def drained(session: Session, engines: Engines) -> list[Any]:
    while waiting := session.pending():
        session.resolve(waiting, engines.answer(waiting))
    return session.poll()


def steps_of(estimates: Sequence[Any]) -> list[int]:
    return [round(e.t_s / STEP_S) for e in estimates]


def test_a_hop_of_a_clip_gives_an_estimate_and_costs_a_clip_every_16_steps() -> None:
    engines = Engines()
    got = played(Session(contract()), engines, range(250), range(250))
    assert steps_of(got) == list(range(15, 250, 16))
    assert [e.warming_up for e in got] == [True] * 7 + [False] * 8, "the first whole window ends at step 127"
    assert engines.asked == {"video": 15, "audio": 15, "fusion": 15}
    for modality in ("video", "audio"):
        assert engines.rows(15, modality) == [15] * 8
        assert engines.rows(47, modality) == [15] * 6 + [31, 47]
        assert engines.rows(127, modality) == [15, 31, 47, 63, 79, 95, 111, 127]
        assert engines.rows(239, modality) == [127, 143, 159, 175, 191, 207, 223, 239]
    assert engines.windows[0, 127]["video"][:, 1].tolist() == list(range(0, 128, 16)), "the clips meet without overlap"
    assert engines.windows[0, 127]["audio"][:, 1].tolist() == pytest.approx(list(range(0, 128, 16)))
    assert {(e.valence, e.arousal) for e in got} == {(0.25, -0.5)}


def test_a_hop_of_one_gives_an_estimate_and_costs_a_clip_every_step_and_never_eight() -> None:
    engines = Engines()
    got = played(Session(contract(), hop_steps=1), engines, range(150), range(150))
    assert steps_of(got) == list(range(150))
    assert [e.warming_up for e in got] == [True] * 127 + [False] * 23
    assert engines.asked == {"video": 150, "audio": 150, "fusion": 150}
    assert engines.rows(0) == [0] * 8
    assert engines.rows(20) == [4] * 7 + [20]
    assert engines.rows(40) == [8] * 6 + [24, 40]
    assert engines.rows(149) == [37, 53, 69, 85, 101, 117, 133, 149]


@pytest.mark.parametrize(("hop", "clips"), [(16, 15), (32, 15), (8, 30), (10, 120), (24, 30), (100, 19), (128, 15)])
def test_only_steps_that_some_window_holds_are_encoded(hop: int, clips: int) -> None:
    """240 steps. At 10 every second step is held; at 100 the run at 99 holds 7, at 199 8, and 4 the one to come."""
    engines = Engines()
    got = played(Session(contract(), hop_steps=hop), engines, range(240), range(240))
    assert steps_of(got) == list(range(hop - 1, 240, hop))
    assert engines.asked["video"] == engines.asked["audio"] == clips


def test_a_hop_that_would_leave_steps_undescribed_is_refused() -> None:
    with pytest.raises(UsageError, match="a hop of 129 steps"):
        Session(contract(), hop_steps=129)


def test_the_first_crop_stands_for_those_before_it() -> None:
    engines = Engines()
    played(Session(contract(), hop_steps=1), engines, range(20), range(20))
    assert engines.clips[0, 0].tolist() == [0] * 16
    assert engines.clips[0, 3].tolist() == [0] * 12 + [0, 1, 2, 3]
    assert engines.clips[0, 15].tolist() == list(range(16))
    assert engines.clips[0, 17].tolist() == list(range(2, 18))


def test_a_face_that_comes_late_has_windows_clips_and_warm_up_of_its_own() -> None:
    here, there = Face(3, (0, 0, 8, 8), 0.9), Face(8, (0, 0, 8, 8), 0.8)
    faces = [[here] if step < 21 else [here, there] for step in range(170)]
    engines = Engines()
    got = played(Session(contract()), engines, range(170), range(170), faces)
    late = [e for e in got if e.track == 8]
    assert steps_of(late) == list(range(31, 170, 16)), "runs of all tracks fall together"
    assert [e.warming_up for e in late] == [True] * 8 + [False], "warm 127 steps after step 21"
    assert engines.rows(31, track=8) == [31] * 8
    assert engines.rows(31, "audio", track=8) == [31] * 8, "what was heard before the face came is not its own"
    assert engines.clips[8, 31].tolist() == [21] * 6 + list(range(22, 32))
    assert engines.rows(63, track=8) == [31] * 6 + [47, 63]
    assert engines.rows(63, track=3) == [15] * 5 + [31, 47, 63]
    assert engines.asked["video"] == 10 + 9 and engines.asked["audio"] == 10


def test_what_is_missing_at_the_oldest_step_is_repeated_as_missing() -> None:
    engines = Engines()
    got = played(Session(contract()), engines, range(128), range(20, 128))
    assert engines.rows(15, "audio") == [0] * 8
    assert engines.rows(47, "audio") == [0] * 6 + [31, 47], "silence is not filled with what is heard later"
    assert engines.rows(47) == [15] * 6 + [31, 47]
    assert got[0].modalities == ("video",) and got[1].modalities == ("video", "audio")


def test_a_face_that_is_lost_leaves_zeros_and_no_crop() -> None:
    face = Face(0, (0, 0, 8, 8), 0.9)
    faces = [[] if 40 <= step < 70 else [face] for step in range(100)]
    engines = Engines()
    got = played(Session(contract()), engines, range(100), range(100), faces)
    assert engines.rows(95) == [15] * 3 + [31, 0, 0, 79, 95]
    assert engines.clips[0, 79].tolist() == [*range(34, 40), *range(70, 80)]
    assert [e.modalities for e in got][2:4] == [("audio",)] * 2


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_one_modality_alone(modality: str) -> None:
    engines = Engines()
    there, none = range(64), range(0)
    session = Session(contract(), modalities=[modality])
    got = played(session, engines, *((there, none) if modality == "video" else (none, there)))
    assert steps_of(got) == [15, 31, 47, 63]
    other = "audio" if modality == "video" else "video"
    assert engines.rows(63, modality) == [15] * 5 + [31, 47, 63] and engines.rows(63, other) == [0] * 8
    assert engines.asked == {modality: 4, "fusion": 4}


def test_each_dimension_may_have_a_network_of_its_own_on_the_same_window() -> None:
    stages = (("arousal_net", ("arousal",)), ("valence_net", ("valence",)))
    engines = Engines()
    session = Session(contract(stages=stages))
    session.push_video(*frames(range(32)))
    session.push_audio(sound(range(32)), 0.0)
    encoders = [r for r in session.pending() if r.stage in ("video", "audio")]
    session.resolve(encoders, engines.answer(encoders))
    waiting = session.pending()
    assert [(r.stage, r.step) for r in waiting] == [(s, k) for k in (15, 31) for s in ("arousal_net", "valence_net")]
    assert waiting[0].feeds is waiting[1].feeds
    later = waiting[2:]
    session.resolve(later, engines.answer(later))
    assert session.poll() == [], "the earlier estimate leaves first"
    got = drained(session, engines)
    assert steps_of(got) == [15, 31] and {(e.valence, e.arousal) for e in got} == {(0.25, -0.5)}


def test_after_a_gap_windows_clips_and_hops_begin_anew() -> None:
    engines = Engines()
    session = Session(contract())
    session.push_video(*frames(range(135)))
    session.push_audio(sound(range(135)), 0.0)
    session.mark_gap("the camera went away")
    got = played(session, engines, range(150, 185), range(150, 185))
    assert steps_of(got) == [*range(15, 135, 16), 165, 181]
    assert [e.warming_up for e in got] == [True] * 7 + [False] + [True] * 2
    assert engines.rows(165) == [165] * 8 and engines.rows(181, "audio") == [165] * 7 + [181]
    assert engines.clips[0, 165].tolist() == list(range(150, 166))


def test_what_comes_after_the_last_run_has_no_estimate() -> None:
    for steps, estimates in ((15, 0), (16, 1), (31, 1), (32, 2)):
        engines = Engines()
        assert len(played(Session(contract()), engines, range(steps), range(steps))) == estimates


def test_clips_that_wait_share_their_crops_and_stay_as_they_were() -> None:
    random = np.random.default_rng(0)
    for count in (1, 2, 5, 16):
        crops = random.integers(0, 256, (70, 4, 4, 3), dtype=np.uint8)
        spans = CropSpans(count)
        taken = [spans.push(crop) for crop in crops]
        for last, span in enumerate(taken):
            want = crops[[max(0, last - back) for back in reversed(range(count))]]
            np.testing.assert_array_equal(span if count > 1 else span[None], want)
        if count > 1:
            assert sum(not np.shares_memory(a, b) for a, b in pairwise(taken)) <= 70 / count
