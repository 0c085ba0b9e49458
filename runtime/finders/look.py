"""What a face looks like, coarsely: enough to tell two people apart who cross, not to recognise anybody."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..faces import Frame
from ..five_point import aligned_square
from .geometry import Geometry

__all__ = ["Look", "likeness", "look_of"]

Look = npt.NDArray[np.float32]
"""The face turned upright, 12 x 12 pixels, RGB in [0, 1]."""

_PX = 12
# Measured on one portrait at several sizes and turns: it differs from itself by up to 0.15, from copies that are
# mirrored, tinted or much darker by 0.11 to 0.25; a copy darkened by a tenth is not told apart. So it weighs in among
# the likely, and keeps a number only from one who comes back and looks quite different.
_UNLIKE = 0.2


def look_of(picture: Frame, face: Geometry) -> Look | None:
    """None where the five points make no face."""
    try:
        square = aligned_square(picture, face.landmarks, _PX, 0.0)
    except ValueError:
        return None
    look: Look = square.astype(np.float32) / np.float32(255)
    return look


def likeness(one: Look, other: Look) -> float:
    """1: the same, 0: a mean difference of 0.2 or more."""
    return max(0.0, 1 - float(np.abs(one - other).mean()) / _UNLIKE)
