"""The written rules of a stream: gaps, leaps, missing modalities, several faces, wrong use, bounded state."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import EngineError, MediaError, UsageError
from affectrt.runtime.faces import Face
from affectrt.runtime.session import Session

RATE = 16000


def contract(window: int = 10, warm_up: int = 5, *, outputs: Any = None) -> Contract:
    return Contract.model_validate(
        {
            "system": "double",
            "variant": "means",
            "step_hz": 25,
            "video": {
                "input": {"name": "frames", "dtype": "uint8", "shape": [8, 8, 3]},
                "feature_dim": 1,
                "resize_px": 8,
                "crop_px": 8,
            },
            "audio": {
                "input": {"name": "waveform", "dtype": "float32", "shape": [3200]},
                "feature_dim": 1,
                "sample_rate_hz": RATE,
                "span_samples": 3200,
                "anchor": "start",
                "grid_samples": 160,
            },
            "fusion": {
                "stages": outputs or [{"stage": "fusion", "outputs": ["valence", "arousal"]}],
                "window_steps": window,
                "default_hop_steps": 5,
                "output": "per_step",
                "warm_up_steps": warm_up,
            },
            "outputs": [{"name": "valence"}, {"name": "arousal"}],
        }
    )


def answer(requests: list[Any]) -> list[np.ndarray]:
    """Video feature = mean brightness, audio feature = mean sample; valence = video, arousal = audio."""
    out = []
    for r in requests:
        if r.stage == "video":
            out.append(np.array([r.feeds["frames"].mean() / 255], np.float32))
        elif r.stage == "audio":
            out.append(np.array([r.feeds["waveform"].mean()], np.float32))
        elif r.stage == "valence_net":
            out.append(r.feeds["video"])
        elif r.stage == "arousal_net":
            out.append(r.feeds["audio"])
        else:
            out.append(np.concatenate([r.feeds["video"], r.feeds["audio"]], axis=1))
    return out


def drain(session: Session) -> list[Any]:
    while waiting := session.pending():
        session.resolve(waiting, answer(waiting))
    return session.poll()


def frames(count: int, brightness: int = 102) -> np.ndarray:
    return np.full((count, 8, 8, 3), brightness, np.uint8)


def test_each_dimension_may_have_a_network_of_its_own() -> None:
    two = contract(
        outputs=[{"stage": "arousal_net", "outputs": ["arousal"]}, {"stage": "valence_net", "outputs": ["valence"]}]
    )
    results = []
    for c in (contract(), two):
        session = Session(c)
        session.push_video(frames(20), np.arange(20) / 25)
        session.push_audio(np.full(RATE, 0.25, np.float32), 0.0)
        session.flush()
        results.append([(e.t_s, e.valence, e.arousal) for e in drain(session)])
    assert results[0] == results[1]
    assert len(results[0]) == 25
    assert results[0][3] == pytest.approx((0.12, 0.4, 0.25))


def test_audio_much_shorter_than_video_goes_missing_and_says_so() -> None:
    session = Session(contract())
    session.push_audio(np.full(RATE // 2, 0.5, np.float32), 0.0)
    session.end("audio")
    session.push_video(frames(50), np.arange(50) / 25)
    session.flush()
    got = drain(session)
    assert len(got) == 50
    assert [e.modalities for e in got[:13]] == [("video", "audio")] * 13
    assert [e.modalities for e in got[13:]] == [("video",)] * 37
    assert got[12].arousal == pytest.approx(0.5), "the last sample is repeated to fill the span"
    assert got[20].arousal == 0.0 and got[20].quality.audio is False


def test_video_that_stops_is_held_then_missing() -> None:
    session = Session(contract())
    session.push_video(frames(10), np.arange(10) / 25)
    session.push_audio(np.zeros(RATE, np.float32), 0.0)
    session.flush()
    got = drain(session)
    assert len(got) == 25
    held = [e for e in got if "video" in e.modalities]
    assert len(held) == 10 + 5, "held for 0.2 s = 5 steps"
    assert got[14].valence == pytest.approx(0.4) and got[15].valence == 0.0


def test_hole_in_the_audio_is_silence_and_missing() -> None:
    session = Session(contract())
    session.push_audio(np.full(8000, 0.5, np.float32), 0.0)
    session.push_audio(np.full(8000, 0.5, np.float32), 1.0)
    session.push_video(frames(36), np.arange(36) / 25)
    session.flush()
    got = drain(session)
    assert [round(e.t_s * 25) for e in got if "audio" not in e.modalities] == list(range(13, 25))


def test_overlapping_audio_is_heard_once() -> None:
    session = Session(contract())
    session.push_audio(np.full(8000, 0.5, np.float32), 0.0)
    session.push_audio(np.full(8000, -0.5, np.float32), 0.25)
    session.push_video(frames(18), np.arange(18) / 25)
    session.flush()
    got = drain(session)
    assert len(got) == 18
    assert got[0].arousal == pytest.approx(0.5) and got[13].arousal == pytest.approx(-0.5)


def test_small_jitter_of_audio_timestamps_cuts_nothing() -> None:
    session = Session(contract())
    tone = np.sin(np.arange(RATE) / 10).astype(np.float32)
    for start in range(0, RATE, 1024):
        jitter_s = 0.0 if start == 0 else 0.004 if start % 2048 else -0.004
        session.push_audio(tone[start : start + 1024], start / RATE + jitter_s)
    waiting = [r for r in session.pending() if r.stage == "audio"]
    for request in waiting:
        begin = request.step * 640
        np.testing.assert_array_equal(request.feeds["waveform"], tone[begin : begin + 3200])
    assert len(waiting) == 21


def test_gap_ends_the_segment_and_warms_up_again() -> None:
    session = Session(contract())
    session.push_video(frames(12), np.arange(12) / 25)
    session.push_audio(np.full(7680, 0.5, np.float32), 0.0)
    session.mark_gap("the camera went away")
    session.push_video(frames(12, 204), 3.0 + np.arange(12) / 25)
    session.push_audio(np.full(7680, 0.25, np.float32), 3.0)
    session.flush()
    got = drain(session)
    assert [round(e.t_s * 25) for e in got] == [*range(12), *range(75, 87)]
    assert [e.warming_up for e in got] == ([True] * 5 + [False] * 7) * 2
    assert got[12].valence == pytest.approx(0.8) and got[12].arousal == pytest.approx(0.25)
    assert session.gaps == ["the camera went away"]


def test_estimates_before_a_gap_leave_first_even_when_computed_last() -> None:
    session = Session(contract())
    session.push_video(frames(5), np.arange(5) / 25)
    session.push_audio(np.zeros(3200, np.float32), 0.0)
    session.mark_gap("cut")
    early = session.pending()
    session.push_video(frames(5), 2 + np.arange(5) / 25)
    session.push_audio(np.zeros(3200, np.float32), 2.0)
    session.flush()
    while late := [r for r in session.pending() if r not in early]:
        session.resolve(late, answer(late))
    assert session.poll() == []
    times = [round(e.t_s * 25) for e in drain(session)]
    assert times == [0, 1, 2, 3, 4, 50, 51, 52, 53, 54]


def test_timestamps_that_leap_are_a_gap_not_a_million_steps() -> None:
    session = Session(contract())
    session.push_video(frames(3), [0.0, 0.04, 1e9])
    session.flush()
    assert len(session.gaps) == 1 and "leap" in session.gaps[0]
    assert len(drain(session)) == 3


def test_audio_that_ended_before_a_gap_is_not_waited_for_after_it() -> None:
    session = Session(contract())
    session.push_audio(np.full(3200, 0.5, np.float32), 0.0)
    session.end("audio")
    session.push_video(frames(5), np.arange(5) / 25)
    session.push_video(frames(10), 100 + np.arange(10) / 25)
    got = drain(session)
    assert [round(e.t_s * 25) for e in got] == [0, 1, 2, 3, 4, *range(2500, 2510)]
    assert [e.modalities for e in got[5:]] == [("video",)] * 10


def test_media_after_the_end_changes_nothing() -> None:
    session = Session(contract(), modalities=["video"])
    session.push_video(frames(5), np.arange(5) / 25)
    session.flush()
    assert len(drain(session)) == 5
    session.push_video(frames(5), 100 + np.arange(5) / 25)
    session.flush()
    assert drain(session) == [] and session.gaps == []


def test_frames_that_go_back_in_time_are_dropped() -> None:
    session = Session(contract(), modalities=["video"])
    session.push_video(frames(4), [0.0, 0.04, 0.02, 0.08])
    session.flush()
    assert len(drain(session)) == 3


def test_two_faces_have_timelines_of_their_own() -> None:
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, 8:] = 255
    left, right = Face(3, (0, 0, 8, 8), 0.9), Face(7, (8, 0, 16, 8), 0.8)
    session = Session(contract(), hop_steps=5)
    faces = [[left] if k < 6 else [left, right] for k in range(20)]
    session.push_video([picture] * 20, np.arange(20) / 25, faces)
    session.push_audio(np.full(12800, 0.5, np.float32), 0.0)
    session.flush()
    got = drain(session)
    by_track = {n: [e for e in got if e.track == n] for n in (3, 7)}
    assert [round(e.t_s * 25) for e in by_track[3]] == list(range(20))
    assert [round(e.t_s * 25) for e in by_track[7]] == list(range(6, 20))
    assert {e.valence for e in by_track[3]} == {0.0} and {e.valence for e in by_track[7]} == {1.0}
    assert by_track[7][0].warming_up and by_track[7][0].quality.face_score == 0.8


def test_estimates_stay_inside_the_declared_range() -> None:
    session = Session(contract(), modalities=["audio"])
    session.push_audio(np.full(RATE, 0.5, np.float32), 0.0)
    session.flush()
    while waiting := session.pending():
        session.resolve(waiting, [result * 3 for result in answer(waiting)])
    assert {e.arousal for e in session.poll()} == {1.0}


def test_wrong_use_is_refused() -> None:
    with pytest.raises(UsageError, match="hop of 11 steps"):
        Session(contract(), hop_steps=11)
    with pytest.raises(MediaError, match="the source has text, the model takes audio, video"):
        Session(contract(), modalities=["text"])
    session = Session(contract())
    with pytest.raises(MediaError, match="finite media time"):
        session.push_video(frames(1), [float("nan")])
    session.push_video(frames(1), [0.0])
    (request,) = session.pending()
    session.resolve([request], answer([request]))
    with pytest.raises(KeyError):
        session.resolve([request], answer([request]))


@pytest.mark.parametrize("stage", ["video", "fusion"])
def test_a_result_that_is_not_a_number_is_an_error(stage: str) -> None:
    session = Session(contract(), modalities=["video"])
    session.push_video(frames(5), np.arange(5) / 25)
    with pytest.raises(EngineError, match="not a number"):
        while waiting := session.pending():
            results = answer(waiting)
            for request, result in zip(waiting, results, strict=True):
                if request.stage == stage:
                    result[...] = np.nan
            session.resolve(waiting, results)


@pytest.mark.parametrize("steps", [97, 98, 99, 186, 189])
def test_the_last_run_of_a_long_stream_holds_its_whole_window(steps: int) -> None:
    session, held = Session(contract(window=11), modalities=["video"]), {}
    for step in range(steps):
        session.push_video(frames(1, 100 + step % 100), [step / 25])
        drain(session)
    session.flush()
    for request in session.pending():
        held[request.step] = request.feeds["video"][:, 0] * 255
    assert held[steps - 1] == pytest.approx([100 + step % 100 for step in range(steps - 11, steps)])


def test_state_does_not_grow_with_the_stream() -> None:
    session = Session(contract(window=50))
    second = np.zeros(RATE, np.float32)
    sizes = []
    tracemalloc.start()
    for t in range(240):
        session.push_video(frames(25), t + np.arange(25) / 25)
        session.push_audio(second, float(t))
        assert len(drain(session)) > 0
        if t in (60, 239):
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert sizes[1] - sizes[0] < 64_000, sizes
