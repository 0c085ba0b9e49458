"""The whole claim at once: RCMA exported to ONNX and streamed equals PyTorch on the whole clip, within 1e-4.

The reference encodes every step of the clip in one batch with the torch modules and runs the torch fusion on each
window that the hop asks for. Nothing of the runtime takes part in it.
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
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("gi", reason="the demo's bundle is calibrated on a drawn clip, for which GStreamer is needed")

import affectrt.models
from affectrt.bundle.contract import Contract
from affectrt.models import load_checkpoint
from affectrt.models.rcma import Rcma
from affectrt.runtime.engines import open_engines
from affectrt.runtime.scheduler import Scheduler
from affectrt.runtime.session import Session

STEPS = 330  # more than a window of 300, so that windows slide
RATE, HOP_SAMPLES, SPAN = 16000, 640, 15600


@dataclass(frozen=True)
class Streamed:
    contract: Contract
    scheduler: Scheduler
    model: Rcma
    frames: np.ndarray
    waveform: np.ndarray
    features: list[torch.Tensor]


@pytest.fixture(scope="module")
def streamed() -> Iterator[Streamed]:
    checkpoint = load_checkpoint(Path(affectrt.models.__path__[0]) / "weights" / "rcma-demo.safetensors")
    model = checkpoint.model
    assert isinstance(model, Rcma)
    random = np.random.default_rng(5)
    size = model.config.resize_px
    # Frames already of the size that crops are cut from: cutting is tested elsewhere, here it must be exact.
    frames = random.integers(0, 256, (STEPS, size, size, 3), dtype=np.uint8)
    waveform = 0.2 * random.standard_normal(STEPS * HOP_SAMPLES) * np.abs(np.sin(np.arange(STEPS * HOP_SAMPLES) / 9e3))
    waveform = waveform.astype(np.float32)
    edge = (size - model.config.crop_px) // 2
    crops = np.ascontiguousarray(frames[:, edge:-edge, edge:-edge])
    spans = audio_spans(waveform)
    with torch.inference_mode():
        features = [model.encoders["video"](torch.from_numpy(crops)), model.encoders["audio"](torch.from_numpy(spans))]
    bundle = demo_bundles(Path(__file__).parents[1] / "build" / "doubles")["rcma"]
    assert bundle.manifest.provenance.checkpoint_sha256 == checkpoint.sha256
    with ExitStack() as stack:
        engines = open_engines(bundle, "fp32", stack)
        scheduler = Scheduler(bundle.contract, engines, max_batch=16)
        yield Streamed(bundle.contract, scheduler, model, frames, waveform, features)


def audio_spans(waveform: np.ndarray) -> np.ndarray:
    """Every step's 15 600 samples, the last sample repeated past the end; shape (steps, 15 600)."""
    padded = np.pad(waveform, (0, RATE), "edge")
    return np.stack([padded[at : at + SPAN] for at in range(0, len(waveform), HOP_SAMPLES)])


def window(features: np.ndarray, last: int, length: int) -> np.ndarray:
    taken = features[max(0, last - length + 1) : last + 1]
    return np.pad(taken, ((0, length - len(taken)), (0, 0)))


def offline(s: Streamed, steps: int, hop: int) -> np.ndarray:
    """Estimates (steps, 2) of a clip of `steps` steps, window by window, in PyTorch."""
    estimates = np.full((steps, 2), np.nan)
    # A clip that ends sooner pads the audio of its last second.
    tail = audio_spans(s.waveform[: steps * HOP_SAMPLES])[-25:]
    with torch.inference_mode():
        audio = torch.cat([s.features[1][: steps - 25], s.model.encoders["audio"](torch.from_numpy(tail))])
    features = (s.features[0][:steps].numpy(), audio.numpy())
    runs = sorted({*range(hop - 1, steps, hop), steps - 1})
    done = 0
    for start in range(0, len(runs), 16):
        batch = runs[start : start + 16]
        inputs = [torch.from_numpy(np.stack([window(f, last, 300) for last in batch])) for f in features]
        with torch.inference_mode():
            values = s.model.fusion(*inputs).numpy()
        for last, value in zip(batch, values, strict=True):
            place = min(last, 299)
            count = last + 1 - done
            estimates[done : last + 1] = value[place - count + 1 : place + 1]
            done = last + 1
    return estimates


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    hop=st.sampled_from([1, 7, 10, 25, 100, 300]),
    frames_a_push=st.integers(1, 60),
    samples_a_push=st.sampled_from([160, 1024, 4800, 50_000]),
    shorter=st.integers(0, 130),
)
def test_streaming_equals_pytorch_offline(
    streamed: Streamed, seed: int, hop: int, frames_a_push: int, samples_a_push: int, shorter: int
) -> None:
    s = streamed
    steps = STEPS - shorter
    waveform = s.waveform[: steps * HOP_SAMPLES]
    random = np.random.default_rng(seed)
    session = Session(s.contract, hop_steps=hop)
    estimates: list[Any] = []
    frame, sample, samples = 0, 0, len(waveform)
    while frame < steps or sample < samples:
        if frame < steps and (sample >= samples or random.random() < 0.5):
            count = int(random.integers(1, frames_a_push + 1))
            end = min(steps, frame + count)
            session.push_video(list(s.frames[frame:end]), np.arange(frame, end) / 25)
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
    estimates += session.poll()
    want = offline(s, steps, hop)
    got = np.array([[e.valence, e.arousal] for e in estimates])
    assert [round(e.t_s * 25) for e in estimates] == list(range(steps))
    assert want.std(axis=0).min() > 1e-3, "a constant would prove nothing"
    assert np.abs(got - want).max() <= 1e-4
