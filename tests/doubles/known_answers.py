"""Engines whose right answer is known: valence and arousal read from grey, and a corpus that shows them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from doubles.clip_contract import clip_contract

from affectrt.bundle.contract import Contract
from affectrt.training.corpus import Corpus
from affectrt.training.evaluate import Opened
from affectrt.training.synthetic import write_clip

__all__ = ["CLIPS", "CONTRACT", "KNOWN", "KNOWN_MEANS", "KnownEngine", "grey_corpus", "random_truths"]

CONTRACT = Contract.model_validate(
    {
        "system": "known",
        "variant": "answers",
        "step_hz": 25.0,
        "video": {
            "input": {"name": "frames", "dtype": "uint8", "shape": [8, 8, 3]},
            "feature_dim": 2,
            "resize_px": 8,
            "crop_px": 8,
        },
        "audio": {
            "input": {"name": "waveform", "dtype": "float32", "shape": [640]},
            "feature_dim": 1,
            "sample_rate_hz": 16000,
            "span_samples": 640,
            "anchor": "start",
        },
        "fusion": {
            "stages": [{"outputs": ["valence", "arousal"]}],
            "window_steps": 20,
            "default_hop_steps": 7,
            "output": "per_step",
            "warm_up_steps": 0,
        },
        "outputs": [{"name": "valence"}, {"name": "arousal"}],
    }
)


class KnownEngine:
    """Reads valence from a picture's left half and arousal from its right half: black −1, white 1."""

    inputs: Mapping[str, object] = {}
    outputs: Mapping[str, object] = {}
    provenance: Mapping[str, str] = {"backend": "known"}

    def __init__(self, stage: str, *, per_window: bool = False) -> None:
        self._stage = stage
        self._per_window = per_window

    def infer(self, feeds: Mapping[str, npt.NDArray[np.generic]]) -> Mapping[str, npt.NDArray[np.generic]]:
        if self._stage == "video":
            frames = feeds["frames"].astype(np.float32) / 127.5 - 1
            if frames.ndim == 5:  # clips: the mean picture
                frames = frames.mean(axis=1)
            halves = [frames[:, :, :3].mean(axis=(1, 2, 3)), frames[:, :, 5:].mean(axis=(1, 2, 3))]
            return {"features": np.stack(halves, axis=1)}
        if self._stage == "audio":
            return {"features": np.abs(feeds["waveform"]).mean(axis=1, keepdims=True)}
        # one row a window: that of its newest span
        return {"estimates": feeds["video"][:, -1] if self._per_window else feeds["video"]}

    def close(self) -> None: ...

    def __enter__(self) -> KnownEngine:
        return self

    def __exit__(self, *_: object) -> None: ...


# One clip of 12 frames a window, hence estimates that are means over 12 steps, every 5 steps.
CLIPS = clip_contract(span_frames=12, window_steps=1, stride_steps=1, hop_steps=1, resize_px=8)
KNOWN_MEANS = Opened(CLIPS, {s: KnownEngine(s, per_window=True) for s in CLIPS.stages}, "fp32")  # type: ignore[dict-item,misc]
KNOWN = Opened(CONTRACT, {stage: KnownEngine(stage) for stage in CONTRACT.stages}, "fp32")  # type: ignore[dict-item,misc]


def grey_corpus(root: Path, fps: float, truths: list[npt.NDArray[np.float64]]) -> Corpus:
    """Clips that show `truths` as grey, a new random level each picture, and their annotation."""
    labels = root / "6th_ABAW_Annotations" / "VA" / "test"
    labels.mkdir(parents=True)
    for index, truth in enumerate(truths):
        frames = np.repeat(((truth + 1) * 127.5).round().astype(np.uint8), 32, axis=1)
        frames = np.broadcast_to(frames[:, None, :, None], (len(truth), 64, 64, 3))
        sound = np.full(round(len(truth) / fps * 16000), 0.1, np.float32)
        write_clip(root / "raw_videos" / f"clip-{index}.mp4", iter(frames), fps=fps, samples=sound)
        rows = "".join(f"{v:.6f},{a:.6f}\n" for v, a in truth)
        (labels / f"clip-{index}.txt").write_text("valence,arousal\n" + rows)
    return Corpus.open(root)


def random_truths(count: int, rows: int) -> list[npt.NDArray[np.float64]]:
    rng = np.random.default_rng(3)
    return [rng.uniform(-0.8, 0.8, (rows, 2)) for _ in range(count)]
