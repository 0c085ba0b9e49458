"""A small Aff-Wild2 with the defects that real files have, one a video, and its annotation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from doubles.media import rotate_mp4, write_media

__all__ = ["annotate", "pictures", "sound", "write_defects"]


def pictures(count: int, size: tuple[int, int] = (32, 48), seed: int = 1) -> np.ndarray:
    """Smooth pictures that all differ."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (count, 4, 4, 3), np.uint8)
    return np.stack([cv2.resize(one, size[::-1], interpolation=cv2.INTER_LINEAR) for one in coarse])


def sound(seconds: float, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(48_000 * seconds)).astype(np.float32)


def annotate(root: Path, name: str, rows: int | Sequence[str], split: str = "train") -> None:
    folder = root / "6th_ABAW_Annotations/VA" / split
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{i % 1000 / 1000:.3f},{-(i % 1000) / 1000:.3f}" for i in range(rows)] if isinstance(rows, int) else rows
    (folder / f"{name}.txt").write_text("\n".join(["valence,arousal", *lines]) + "\n")


def write_defects(root: Path) -> Path:
    media = root / "raw_videos"
    media.mkdir()
    write_media(media / "usual.mp4", frames=pictures(50), samples=sound(2.0))
    write_media(media / "silent.mp4", frames=pictures(30, seed=3))
    write_media(media / "loud-longer.mkv", frames=pictures(20, seed=4), samples=sound(1.6))
    write_media(media / "short.mp4", frames=pictures(3, seed=5), samples=sound(0.12))
    write_media(media / "thirty.mp4", frames=pictures(45, seed=6), fps=30, samples=sound(1.5))
    at = np.cumsum(np.tile([0.04, 0.02, 0.1, 0.04, 0.3], 8)) - 0.04
    write_media(media / "uneven.mkv", frames=pictures(40, seed=7), pts_s=at, samples=sound(float(at[-1])))
    upright = write_media(root / "upright.mp4", frames=pictures(25, seed=8), samples=sound(1.0))
    rotate_mp4(upright, media / "turned.mp4")
    for name, rows in (("usual", 50), ("silent", 30), ("loud-longer", 20), ("short", 3), ("thirty", 45)):
        annotate(root, name, rows)
    annotate(root, "uneven", 40, "validate")
    annotate(root, "turned", 25, "validate")
    return root
