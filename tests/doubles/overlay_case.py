"""A run for the overlay: frames of one grey, one face, and estimates that come after them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from affectrt.runtime.estimate import Estimate, Quality
from affectrt.runtime.faces import Face, Frame
from affectrt.runtime.sinks import Header, OverlaySink
from affectrt.runtime.sources import FileSource, Outcome, VideoChunk, VideoWish

__all__ = ["FACE", "GREY", "HEADER", "HZ", "SIZE", "estimate", "frame", "header", "near", "play", "read"]

HZ = 25
SIZE = (320, 240)
GREY = 120
HEADER = Header(
    bundle="tiny",
    bundle_sha256="ab" * 32,
    precision="fp32",
    backend="onnxruntime",
    source="clip.mp4",
    step_hz=float(HZ),
    hop_steps=5,
    described_steps=1,
    modalities=("video", "audio"),
    outputs=tuple({"name": name, "low": -1.0, "high": 1.0, "neutral": 0.0} for name in ("valence", "arousal")),
    look_ahead_s=0.4,
)
FACE = Face(0, (100, 60, 200, 180), 0.9)


def frame(size: tuple[int, int] = SIZE, grey: int = GREY) -> Frame:
    return np.full((size[1], size[0], 3), grey, np.uint8)


def estimate(step: int, **changed: Any) -> Estimate:
    facts: dict[str, Any] = {
        "t_s": step / HZ,
        "valence": 0.5,
        "arousal": -0.5,
        "track": 0,
        "modalities": ("video", "audio"),
        "quality": Quality(),
    }
    return Estimate(**{**facts, **changed})


def read(path: Path) -> tuple[list[Frame], list[float], Outcome, float | None]:
    with FileSource(path, video=VideoWish(max_side_px=2000)) as source:
        chunks = [event for event in source if isinstance(event, VideoChunk)]
        frames = [f for chunk in chunks for f in chunk.frames]
        return frames, [float(c.pts_s[0]) for c in chunks], source.outcome, source.duration_s


def near(pixel: Any, colour: tuple[int, int, int], within: int = 40) -> bool:
    """Encoded with half the colour resolution, a pixel is not exactly what was drawn."""
    return bool(np.abs(np.asarray(pixel, int) - colour).max() <= within)


def play(sink: OverlaySink, steps: int, *, behind: int = 15, size: tuple[int, int] = SIZE, from_s: float = 0.0) -> None:
    """Frames, and `behind` frames later the estimates of their times, five at once."""
    sink.open(HEADER)
    for step in range(steps):
        sink.show(frame(size), from_s + step / HZ, [FACE])
        if step % 5 == 4 and step >= behind:
            sink.write([estimate(s, t_s=from_s + s / HZ) for s in range(step - behind - 4, step - behind + 1)])


def header(**changed: Any) -> Header:
    return Header(**{**{name: getattr(HEADER, name) for name in HEADER.__slots__}, **changed})
