"""A real face that wears its own annotation: a grey bar on the forehead is valence, wherever the face goes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from doubles.face_clips import HEAD, Person, Place, backdrop, head, picture
from doubles.legible import CONTRAST, GREY, Values

from affectrt.training.prepared import PreparedVideo

__all__ = ["CROP_PX", "levels_of_found", "recording"]

CROP_PX = 112
# In the photograph, where hair falls on the forehead; and well inside of that, in a crop aligned by five points.
BAR = (194, 48, 254, 84)
READ = slice(21, 30), slice(45, 67)


def recording(
    people: Sequence[tuple[bool, Sequence[Place | None], Values]], size: tuple[int, int], seed: int = 7
) -> npt.NDArray[np.uint8]:
    """(pictures, height, width, 3) of people, each (mirrored, where the face is in every picture, its valence)."""
    room = backdrop(*size, seed=seed)
    heads = [
        head(mirrored=mirrored, gain=(0.5, 0.7, 1.2) if mirrored else (1.0, 1.0, 1.0)) for mirrored, _, _ in people
    ]
    frames = []
    for row in range(len(people[0][2])):
        shown = [
            (_wearing(worn, float(valence[row]), mirrored), place)
            for worn, (mirrored, places, valence) in zip(heads, people, strict=True)
            if (place := places[row]) is not None
        ]
        frames.append(picture(room, shown))
    return np.stack(frames)


def _wearing(person: Person, valence: float, mirrored: bool) -> Person:
    rgba = person.rgba.copy()
    x0, x1 = BAR[0] - HEAD[0], BAR[2] - HEAD[0]
    if mirrored:
        x0, x1 = rgba.shape[1] - x1, rgba.shape[1] - x0
    rgba[BAR[1] - HEAD[1] : BAR[3] - HEAD[1], x0:x1, :3] = GREY + CONTRAST * valence
    return Person(rgba, person.middle)


def levels_of_found(video: PreparedVideo) -> Values:
    """(steps,) valence as the bar shows it in the crop of each step; NaN where no face was found."""
    spans = video.spans()
    rows = spans.crops_of_step[:, -1]
    bars = (np.asarray(spans.crops[row])[READ] if row >= 0 else None for row in rows)
    return np.array([np.nan if bar is None else (bar.mean() - GREY) / CONTRAST for bar in bars])
