"""A model in plain NumPy whose every part can be told apart, and a scheduler that computes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from affectrt.bundle.contract import Contract

__all__ = ["DIM_A", "DIM_V", "RATE", "STEP_HZ", "NumpyScheduler", "contract", "encode_audio", "encode_video", "fuse"]

RATE = 16000
STEP_HZ = 25.0
DIM_V, DIM_A = 5, 3
rng = np.random.default_rng(7)
PROJECT_V = rng.normal(size=(3, DIM_V)).astype(np.float32) / 200
PROJECT_A = rng.normal(size=(4, DIM_A)).astype(np.float32)
MIX = rng.normal(size=(DIM_V + DIM_A, 2)).astype(np.float32)


def contract(
    *,
    window: int = 12,
    stride: int = 1,
    span_frames: int = 1,
    output: str = "per_step",
    anchor: str = "start",
    span_s: float = 0.3,
    grid: int = 160,
    warm_up: int = 4,
    short_window: str = "pad_end",
) -> Contract:
    samples = int(span_s * RATE)
    frame = [8, 8, 3] if span_frames == 1 else [span_frames, 8, 8, 3]
    return Contract.model_validate(
        {
            "system": "double",
            "variant": "numpy",
            "step_hz": STEP_HZ,
            "video": {
                "input": {"name": "frames", "dtype": "uint8", "shape": frame},
                "feature_dim": DIM_V,
                "span_frames": span_frames,
                "resize_px": 8,
                "crop_px": 8,
            },
            "audio": {
                "input": {"name": "waveform", "dtype": "float32", "shape": [samples]},
                "feature_dim": DIM_A,
                "sample_rate_hz": RATE,
                "span_samples": samples,
                "anchor": anchor,
                "grid_samples": grid,
            },
            "fusion": {
                "stages": [{"stage": "fusion", "outputs": ["valence", "arousal"]}],
                "window_steps": window,
                "stride_steps": stride,
                "default_hop_steps": 1,
                "output": output,
                "short_window": short_window,
                "warm_up_steps": warm_up,
            },
            "outputs": [{"name": "valence"}, {"name": "arousal"}],
        }
    )


def encode_video(span: np.ndarray) -> np.ndarray:
    return np.asarray(span.reshape(-1, 3).astype(np.float64).mean(0) @ PROJECT_V, np.float32)


def encode_audio(span: np.ndarray) -> np.ndarray:
    s = span.astype(np.float64)
    return np.asarray(np.array([s.mean(), s.std(), s[0], s[-1]]) @ PROJECT_A, np.float32)


def fuse(video: np.ndarray, audio: np.ndarray, per_step: bool) -> np.ndarray:
    """Depends on the place in the window and on every step of it, as attention over time does."""
    place = np.linspace(1, 2, len(video))[:, None]
    both = np.concatenate([video, audio], 1).astype(np.float64) * place
    total = both.mean(0, keepdims=True)
    values = np.tanh((both + total) @ MIX if per_step else total @ MIX)
    return np.asarray(values if per_step else values[0], np.float32)


class NumpyScheduler:
    def __init__(self, c: Contract) -> None:
        self.per_step = c.fusion.output == "per_step"
        self.encoded: list[tuple[str, int]] = []

    def infer(self, requests: list[Any]) -> list[np.ndarray]:
        out = []
        for r in requests:
            if r.stage == "fusion":
                out.append(fuse(r.feeds["video"], r.feeds["audio"], self.per_step))
            else:
                self.encoded.append((r.stage, r.step))
                out.append(encode_video(r.feeds["frames"]) if r.stage == "video" else encode_audio(r.feeds["waveform"]))
        return out
