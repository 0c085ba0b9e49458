"""A small Aff-Wild2 in the layout of the release, with the defects of real files, that tells its own annotation."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from doubles.legible import RATE_HZ, Told, picture, tone, truth, words_of
from doubles.media import rotate_mp4, write_media

__all__ = ["HOLD", "write_affwild2"]

HOLD = 5  # rows of one arousal: sound that was encoded is not sharp to a picture
SIZE = (96, 96)
UNEVEN_S = (0.04, 0.02, 0.1, 0.04, 0.06)  # from picture to picture, over and over
LEFT_RIGHT = ("_left", "_right")


def write_affwild2(root: Path, *, only: tuple[str, ...] = ()) -> dict[str, Told]:
    """Trial → what it should tell. `only`: these videos (base names) of all that there are.

    `street` 30 pictures a second, rows with -5 in both columns and in one, pictures without a crop, a transcript;
    `room` 25 a second and plain; `mute` without sound; `pair` with a left and a right trial; `blink` of 7 pictures;
    `phone` recorded on its side; `uneven` with a frame rate that varies.
    """
    told: dict[str, Told] = {}
    chosen = only or ("street", "room", "mute", "pair", "blink", "phone", "uneven")
    if "street" in chosen:
        told["street"] = _trial(
            root, "street", 100, 30, 1, both=range(12, 17), valence=(40, 41), arousal=(70,), unseen=(*range(24, 31), 55)
        )
    if "room" in chosen:
        told["room"] = _trial(root, "room", 60, 25, 2, both=(0, 1, 33), unseen=(0, 59))
    if "mute" in chosen:
        told["mute"] = _trial(root, "mute", 40, 25, 3, sound=False)
    if "pair" in chosen:
        told |= _pair(root, 50, 25)
    if "blink" in chosen:
        told["blink"] = _trial(root, "blink", 7, 30, 6, split="validate")
    if "phone" in chosen:
        told["phone"] = _trial(root, "phone", 45, 30, 7, split="validate", turned=True)
    if "uneven" in chosen:
        told["uneven"] = _trial(root, "uneven", 60, None, 8, split="validate", unseen=(9, 10))
    return told


def _trial(
    root: Path,
    name: str,
    rows: int,
    fps: int | None,
    seed: int,
    *,
    split: str = "train",
    both: range | tuple[int, ...] = (),
    valence: tuple[int, ...] = (),
    arousal: tuple[int, ...] = (),
    unseen: tuple[int, ...] = (),
    sound: bool = True,
    turned: bool = False,
) -> Told:
    drawn = truth(rows, seed, HOLD)
    last_s = 1 / (fps or 25)
    gaps = np.resize(UNEVEN_S, rows) if fps is None else np.full(rows, last_s)
    times = np.cumsum(gaps) - gaps if fps is None else np.arange(rows) / fps
    frames = np.stack([picture(value, *SIZE) for value in drawn[:, 0]])
    _media(root, name, frames, times, fps, drawn if sound else None, turned)
    written = drawn.copy()
    written[list(both)] = -5
    written[list(valence), 0] = -5
    written[list(arousal), 1] = -5
    _annotate(root, split, name, written)
    _crops(root, name, drawn, unseen)
    return _told(root, name, times, drawn, written, unseen, sound)


def _pair(root: Path, rows: int, fps: int) -> dict[str, Told]:
    """One recording of two people with one voice: each half of the picture is one of them."""
    times = np.arange(rows) / fps
    left, right = truth(rows, 4, HOLD), truth(rows, 5, HOLD)
    right[:, 1] = left[:, 1]
    halves = [[picture(float(v), SIZE[0], SIZE[1] // 2) for v in of[:, 0]] for of in (left, right)]
    frames = np.stack([np.concatenate(both, axis=1) for both in zip(*halves, strict=True)])
    _media(root, "pair", frames, times, fps, left, False)
    told = {}
    for suffix, drawn, unseen in zip(LEFT_RIGHT, (left, right), ((3, 4), (20,)), strict=True):
        written = drawn.copy()
        written[10:13] = -5
        _annotate(root, "validate", f"pair{suffix}", written)
        _crops(root, f"pair{suffix}", drawn, unseen)
        told[f"pair{suffix}"] = _told(root, "pair", times, drawn, written, unseen, True)
    return told


def _told(
    root: Path,
    base: str,
    times: np.ndarray,
    drawn: np.ndarray,
    written: np.ndarray,
    unseen: tuple[int, ...],
    sound: bool,
) -> Told:
    words = words_of(times, drawn[:, 1], float(times[-1] + 0.04)) if sound else []
    (root / "said").mkdir(exist_ok=True)
    said = {"words": [{"word": w.text, "start": w.start_s, "end": w.end_s} for w in words]}
    (root / f"said/{base}.json").write_text(json.dumps(said))
    values = np.where((written == -5).any(axis=1, keepdims=True), np.nan, written)
    return Told(times, drawn, values, unseen, sound)


def _media(
    root: Path,
    name: str,
    frames: np.ndarray,
    times: np.ndarray,
    fps: int | None,
    drawn: np.ndarray | None,
    turned: bool,
) -> None:
    (root / "raw_videos").mkdir(parents=True, exist_ok=True)
    samples = None
    if drawn is not None:
        # sampled as the container's encoders like it
        rate = 3 * RATE_HZ
        samples = tone(times, drawn[:, 1], float(times[-1] + (1 / fps if fps else 0.1)), rate)
    path = root / f"raw_videos/{name}{'.mp4' if fps else '.mkv'}"
    if turned:
        lying = write_media(root / f"{name}.mp4", frames=np.rot90(frames, 1, (1, 2)).copy(), fps=fps, samples=samples)
        rotate_mp4(lying, path)
        lying.unlink()
    else:
        write_media(path, frames=frames, pts_s=None if fps else times, fps=fps or 25, samples=samples)


def _annotate(root: Path, split: str, name: str, rows: np.ndarray) -> None:
    folder = root / "6th_ABAW_Annotations/VA" / split
    folder.mkdir(parents=True, exist_ok=True)
    lines = [",".join("-5" if value == -5 else f"{value:.4f}" for value in row) for row in rows]
    (folder / f"{name}.txt").write_text("\n".join(["valence,arousal", *lines]) + "\n")


def _crops(root: Path, name: str, drawn: np.ndarray, unseen: tuple[int, ...]) -> None:
    folder = root / "cropped_aligned" / name
    folder.mkdir(parents=True)
    for row, (valence, _) in enumerate(drawn):
        if row not in unseen:
            cv2.imwrite(str(folder / f"{row + 1:05d}.jpg"), picture(float(valence))[..., ::-1])
