"""Streaming equals offline for any contract, source and chunking: against a plain whole-clip evaluation in NumPy.

The reference below knows nothing of sessions: it lays out the whole clip, encodes every step, and runs the fusion on
every window that the hop asks for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from doubles.numpy_model import (
    DIM_A,
    DIM_V,
    RATE,
    STEP_HZ,
    NumpyScheduler,
    contract,
    encode_audio,
    encode_video,
    fuse,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from affectrt.bundle.contract import Contract
from affectrt.runtime.faces import crop_face, whole_frame
from affectrt.runtime.session import Session


def offline(c: Contract, frames: Any, pts: Any, audio: np.ndarray, offset: int, hop: int) -> dict[int, tuple[Any, ...]]:
    """step → (valence, arousal, has video, has audio), computed on the whole clip at once."""
    half, v, a, f = 0.5 / STEP_HZ, c.video, c.audio, c.fusion
    assert v is not None and a is not None
    end = offset + len(audio) if len(audio) else 0
    video_steps = sum(1 for k in range(100_000) if k / STEP_HZ - half <= pts[-1] + 1e-6) if len(frames) else 0
    count = max(video_steps, int(np.floor(end * STEP_HZ / RATE + 1e-9)))
    seen: list[int | None] = []
    for k in range(count):
        t = k / STEP_HZ
        later = [i for i, p in enumerate(pts) if p >= t - half - 1e-6]
        if later and pts[later[0]] < t + half - 1e-6:
            seen.append(later[0])
        else:
            before = (later[0] if later else len(pts)) - 1
            seen.append(before if before >= 0 and t - pts[before] <= v.max_hold_s + 1e-6 else None)
    crops = [None if i is None else crop_face(frames[i], whole_frame(frames[i]), 8, 8) for i in seen]
    wave = np.concatenate(
        [np.zeros(offset, np.float32), audio, np.full(RATE, audio[-1] if len(audio) else 0, np.float32)]
    )
    features_v = np.zeros((count, DIM_V), np.float32)
    features_a = np.zeros((count, DIM_A), np.float32)
    heard = np.zeros(count, bool)
    shown: list[np.ndarray] = []
    for k in range(count):
        crop = crops[k]
        if crop is not None:
            shown.append(crop)
            span = shown[-v.span_frames :]
            span = [span[0]] * (v.span_frames - len(span)) + span
            features_v[k] = encode_video(np.stack(span))
        start = a.grid_samples * int(np.floor((k + (a.anchor == "end")) * RATE / (a.grid_samples * STEP_HZ) + 0.5))
        start -= a.span_samples if a.anchor == "end" else 0
        instant = start if a.anchor == "start" else start + a.span_samples - 1
        if offset <= instant < end:
            heard[k] = True
            padded = np.concatenate([np.zeros(a.span_samples, np.float32), wave])
            features_a[k] = encode_audio(padded[start + a.span_samples : start + 2 * a.span_samples])
    runs = list(range(hop - 1, count, hop))
    if f.output == "per_step" and count and (not runs or runs[-1] != count - 1):
        runs.append(count - 1)
    estimates: dict[int, tuple[Any, ...]] = {}
    begin = next((k for k in range(count) if crops[k] is not None), count) if len(frames) else 0
    for last in (run for run in runs if run >= begin):
        steps = list(range(last, begin - 1, -f.stride_steps))[: f.window_steps][::-1]
        values = fuse(window(c, features_v, steps), window(c, features_a, steps), f.output == "per_step")
        if f.output == "per_window":
            estimates[last] = (*values, crops[last] is not None, heard[last])
        else:
            for row, step in enumerate(steps):
                if step not in estimates:
                    estimates[step] = (*values[row], crops[step] is not None, heard[step])
    return estimates


def window(c: Contract, features: np.ndarray, steps: list[int]) -> np.ndarray:
    missing = c.fusion.window_steps - len(steps)
    if c.fusion.short_window == "repeat_first":
        return features[[steps[0]] * missing + steps]
    return np.pad(features[steps], ((0, missing), (0, 0)))


def stream(c: Contract, frames: Any, pts: Any, audio: np.ndarray, offset: int, hop: int, cuts: Any, seed: int) -> Any:
    """Push the clip in random chunks, resolve random subsets of the requests in random order."""
    random = np.random.default_rng(seed)
    session, scheduler = Session(c, hop_steps=hop), NumpyScheduler(c)
    estimates, f, s = [], 0, 0
    while f < len(frames) or s < len(audio):
        if f < len(frames) and (s >= len(audio) or random.random() < 0.5):
            n = int(random.integers(1, cuts[0] + 1))
            session.push_video(frames[f : f + n], pts[f : f + n])
            f += n
            if f >= len(frames):
                session.end("video")
        else:
            n = int(random.integers(1, cuts[1] + 1))
            session.push_audio(audio[s : s + n], (offset + s) / RATE)
            s += n
            if s >= len(audio):
                session.end("audio")
        waiting = session.pending()
        some = [waiting[i] for i in random.permutation(len(waiting))[: random.integers(0, len(waiting) + 1)]]
        session.resolve(some, scheduler.infer(some))
        estimates += session.poll()
    session.flush()
    while waiting := session.pending():
        session.resolve(waiting, scheduler.infer(waiting))
    return estimates + session.poll(), scheduler


def held_by_some_window(c: Contract, hop: int, step: int) -> bool:
    """Whether a run, which the stream may not have reached, looks at this step."""
    looks_back = range(0, c.fusion.span_steps, c.fusion.stride_steps)
    runs = range(hop - 1, step + c.fusion.span_steps + hop, hop)
    return any(run - step in looks_back for run in runs)


def clip(seed: int, count: int, fps: float, jitter: float, seconds: float) -> tuple[Any, Any, np.ndarray]:
    random = np.random.default_rng(seed)
    pts = np.cumsum(np.r_[0, (1 + jitter * random.uniform(-0.9, 4, count - 1).clip(-0.9)) / fps])[:count]
    frames = random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return frames, pts, random.normal(0, 0.3, int(seconds * RATE)).astype(np.float32).clip(-1, 1)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**16),
    count=st.integers(1, 60),
    fps=st.sampled_from([25.0, 30.0, 15.0, 50.0, 4.0, 29.97]),
    jitter=st.sampled_from([0.0, 0.0, 1.0]),
    seconds=st.sampled_from([0.01, 0.4, 1.0, 2.4, 3.0]),
    offset=st.sampled_from([0, 0, 3200, 8001]),
    late_s=st.sampled_from([0.0, 0.0, 0.3, 0.77]),
    window=st.integers(2, 30),
    hop_share=st.floats(0, 1),
    shape=st.sampled_from(
        [
            {},
            {"anchor": "end"},
            {"grid": 1, "span_s": 0.05},
            {"output": "per_window", "stride": 3, "span_frames": 4},
            {"stride": 2, "span_frames": 2, "output": "per_window", "anchor": "end"},
            {"stride": 4, "span_frames": 4, "output": "per_window", "anchor": "end", "short_window": "repeat_first"},
            {"stride": 3, "span_frames": 5, "output": "per_window", "short_window": "repeat_first", "grid": 1},
            {"output": "per_window", "short_window": "repeat_first"},
        ]
    ),
    cuts=st.tuples(st.integers(1, 20), st.sampled_from([1, 160, 999, 20_000])),
)
def test_streaming_equals_offline(seed, count, fps, jitter, seconds, offset, late_s, window, hop_share, shape, cuts):  # type: ignore[no-untyped-def]
    c = contract(window=window, **shape)
    hop = 1 + round(hop_share * (c.fusion.span_steps - 1))
    if cuts[1] == 1:
        seconds = min(seconds, 0.4)
    frames, pts, audio = clip(seed, count, fps, jitter, seconds)
    pts = pts + late_s
    begin = next(k for k in range(100) if k / STEP_HZ + 0.5 / STEP_HZ - 1e-6 > pts[0])
    want = offline(c, frames, pts, audio, offset, hop)
    got, scheduler = stream(c, frames, pts, audio, offset, hop, cuts, seed)
    assert [round(e.t_s * STEP_HZ) for e in got] == sorted(want)
    for e in got:
        valence, arousal, video, heard = want[round(e.t_s * STEP_HZ)]
        assert abs(e.valence - valence) <= 1e-4 and abs(e.arousal - arousal) <= 1e-4
        assert e.modalities == tuple(n for n, real in (("video", video), ("audio", heard)) if real)
        assert e.warming_up == (round(e.t_s * STEP_HZ) - begin < c.fusion.warm_up_steps)
    assert len(scheduler.encoded) == len(set(scheduler.encoded)), "a step was encoded twice"
    assert all(held_by_some_window(c, hop, step) for _, step in scheduler.encoded), "a step was encoded for nobody"


def test_one_update_costs_one_step_not_a_window() -> None:
    c = contract(window=50)
    frames, pts, audio = clip(1, 200, 25.0, 0.0, 8.5)
    got, scheduler = stream(c, frames, pts, audio, 0, 1, (1, 640), 3)
    assert len(got) == 212  # 8.5 s of audio outlast 8 s of video by 12.5 steps
    assert sum(stage == "video" for stage, _ in scheduler.encoded) == 200
    assert sum(stage == "audio" for stage, _ in scheduler.encoded) == 212


def test_held_frames_are_encoded_once() -> None:
    frames, pts, audio = clip(1, 20, 10.0, 0.0, 2.0)
    _, scheduler = stream(contract(), frames, pts, audio, 0, 4, (3, 640), 3)
    assert sum(stage == "video" for stage, _ in scheduler.encoded) == 20


def test_clip_shorter_than_its_window_hop_still_gives_every_step() -> None:
    frames, pts, audio = clip(2, 7, 25.0, 0.0, 0.28)
    got, _ = stream(contract(window=30), frames, pts, audio, 0, 30, (2, 640), 3)
    assert len(got) == 7


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_one_modality_alone(modality: str) -> None:
    c = contract()
    frames, pts, audio = clip(3, 50, 25.0, 0.0, 2.0)
    empty = np.zeros(0, np.float32)
    session, scheduler = Session(c, modalities=[modality], hop_steps=5), NumpyScheduler(c)
    if modality == "video":
        session.push_video(frames, pts)
        want = offline(c, frames, pts, empty, 0, 5)
    else:
        session.push_audio(audio, 0.0)
        want = offline(c, frames[:0], pts[:0], audio, 0, 5)
    session.flush()
    while waiting := session.pending():
        session.resolve(waiting, scheduler.infer(waiting))
    got = session.poll()
    assert len(got) == 50 == len(want)
    for step, e in enumerate(got):
        assert e.modalities == (modality,)
        assert abs(e.valence - want[step][0]) <= 1e-4 and abs(e.arousal - want[step][1]) <= 1e-4
