"""The whole claim at once: CAV exported to ONNX and streamed equals PyTorch on whole windows of media, within 1e-4.

The reference cuts every step's clip and piece of audio out of the whole recording, encodes them with the torch modules
and runs the torch fusion on eight of them; some windows go through the whole network from raw media instead. Nothing of
the runtime takes part in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from doubles.demo_bundles import demo_bundles

pytest.importorskip("gi", reason="the demo's bundle is calibrated on a drawn clip, for which GStreamer is needed")

import affectrt.models
from affectrt.bundle.contract import Contract
from affectrt.models import load_checkpoint
from affectrt.models.cav import Cav
from affectrt.models.sizes import cav_demo_config
from affectrt.runtime.engines import open_engines
from affectrt.runtime.scheduler import Scheduler
from affectrt.runtime.session import Session

STEPS = 151  # windows reach back 128 steps, so that the last ones slide off the beginning
CLIP, CLIPS = 16, 8
RATE, STEP_SAMPLES, SPAN = 16_000, 640, 10_240


@dataclass(frozen=True)
class Recording:
    frames: np.ndarray
    waveform: np.ndarray
    clips: np.ndarray
    """Every step's 16 newest crops, the first repeated in front; shape (steps, 16, px, px, 3)."""
    pieces: np.ndarray
    """Every step's 10 240 newest samples, silence before the beginning; shape (steps, 10 240)."""


@dataclass(frozen=True)
class Streamed:
    contract: Contract
    scheduler: Scheduler
    recording: Recording
    whole: np.ndarray
    """The estimates of the windows that end at each step, (steps, 2), in PyTorch."""


@pytest.fixture(scope="module")
def recording() -> Recording:
    config = cav_demo_config()
    random = np.random.default_rng(5)
    # Frames already of the size that crops are cut from: cutting is tested elsewhere, here it must be exact.
    shape = (STEPS, config.resize_px, config.resize_px, 3)
    level = 127 + 100 * np.sin(np.arange(STEPS) / 11)[:, None, None, None]
    frames = np.clip(level + random.normal(0, 40, shape), 0, 255).astype(np.uint8)
    time = np.arange(STEPS * STEP_SAMPLES)
    waveform = 0.2 * random.standard_normal(len(time)) * np.abs(np.sin(time / 9e3)) + 0.1 * np.sin(time**1.2 / 900)
    waveform = waveform.astype(np.float32)
    edge = (config.resize_px - config.crop_px) // 2
    crops = frames[:, edge:-edge, edge:-edge]
    newest = np.arange(STEPS)[:, None] + np.arange(1 - CLIP, 1)
    padded = np.concatenate([np.zeros(SPAN, np.float32), waveform])
    ends = np.arange(1, STEPS + 1) * STEP_SAMPLES + SPAN
    return Recording(
        frames, waveform, crops[np.maximum(newest, 0)], np.stack([padded[end - SPAN : end] for end in ends])
    )


@pytest.fixture(scope="module")
def streamed(recording: Recording) -> Iterator[Streamed]:
    # Trained weights: with random ones all windows look nearly alike.
    checkpoint = load_checkpoint(Path(affectrt.models.__path__[0]) / "weights" / "cav-demo.safetensors")
    model = checkpoint.model
    assert isinstance(model, Cav)
    features = [encoded(model.encoders["video"], recording.clips), encoded(model.encoders["audio"], recording.pieces)]
    bundle = demo_bundles(Path(__file__).parents[1] / "build" / "doubles")["cav"]
    assert bundle.manifest.provenance.checkpoint_sha256 == checkpoint.sha256
    with ExitStack() as stack:
        scheduler = Scheduler(bundle.contract, open_engines(bundle, "fp32", stack))
        yield Streamed(bundle.contract, scheduler, recording, whole_windows(model, recording, features))


def encoded(encoder: torch.nn.Module, spans: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return np.concatenate([encoder(torch.from_numpy(spans[at : at + 16])).numpy() for at in range(0, STEPS, 16)])


def held_at(last: np.ndarray) -> np.ndarray:
    """The eight steps of the windows that end at the steps `last`: 16 apart, the oldest that there is repeated."""
    held = last[:, None] - CLIP * np.arange(CLIPS - 1, -1, -1)
    return np.where(held < 0, last[:, None] % CLIP, held)


def whole_windows(model: Cav, recording: Recording, features: list[np.ndarray]) -> np.ndarray:
    held = held_at(np.arange(STEPS))
    with torch.inference_mode():
        estimates: np.ndarray = model.fusions["fusion"](*(torch.from_numpy(rows[held]) for rows in features)).numpy()
        for last in (5, 31, 140):
            media = (recording.clips[held[last]], recording.pieces[held[last]])
            end_to_end = model(*(torch.from_numpy(spans[None]) for spans in media)).numpy()
            assert np.abs(estimates[last] - end_to_end[0]).max() <= 1e-5
    return estimates


@pytest.mark.parametrize(
    ("hop", "frames_a_push", "samples_a_push", "shorter"),
    [(1, 7, 1024, 0), (16, 1, 160, 0), (16, 60, 50_000, 11), (16, 5, 4800, 29), (24, 3, 1024, 2)],
)
def test_streaming_cav_equals_pytorch_on_whole_windows(
    streamed: Streamed, hop: int, frames_a_push: int, samples_a_push: int, shorter: int
) -> None:
    steps = STEPS - shorter
    estimates = stream(streamed, steps, hop, frames_a_push, samples_a_push)
    assert [round(e.t_s * 25) for e in estimates] == list(range(hop - 1, steps, hop))
    assert [e.warming_up for e in estimates] == [step < 127 for step in range(hop - 1, steps, hop)]
    got = np.array([[e.valence, e.arousal] for e in estimates])
    want = streamed.whole[hop - 1 : steps : hop]
    assert streamed.whole.std(axis=0).min() > 0.02, "a constant would prove nothing"
    assert np.abs(got - want).max() <= 1e-4


def stream(s: Streamed, steps: int, hop: int, frames_a_push: int, samples_a_push: int) -> list[Any]:
    waveform = s.recording.waveform[: steps * STEP_SAMPLES]
    random = np.random.default_rng(hop + samples_a_push)
    session = Session(s.contract, hop_steps=hop)
    estimates: list[Any] = []
    frame, sample = 0, 0
    while frame < steps or sample < len(waveform):
        if frame < steps and (sample >= len(waveform) or random.random() < 0.5):
            end = min(steps, frame + int(random.integers(1, frames_a_push + 1)))
            session.push_video(list(s.recording.frames[frame:end]), np.arange(frame, end) / 25)
            frame = end
        else:
            count = int(random.integers(1, samples_a_push + 1))
            session.push_audio(waveform[sample : sample + count], sample / RATE)
            sample += count
        if random.random() < 0.3:
            waiting = session.pending()
            session.resolve(waiting, s.scheduler.infer(waiting))
            estimates += session.poll()
    session.flush()
    while waiting := session.pending():
        session.resolve(waiting, s.scheduler.infer(waiting))
    return estimates + session.poll()
