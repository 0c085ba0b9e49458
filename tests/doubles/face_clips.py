"""Clips of real faces: scikit-image's public-domain portrait of an astronaut, moved, scaled, mirrored and covered.

The head is cut out with a soft edge and laid over a still background, so that where every face is is known exactly.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

__all__ = ["HZ", "Person", "Place", "backdrop", "cover", "head", "picture", "yunet_path"]

HZ = 25.0
# In the photograph: the head with hair, and the face's middle and height as YuNet sees them.
HEAD = (118, 0, 330, 232)
MIDDLE = (224.0, 118.0)
FACE_PX = 112.0
Frame = np.ndarray


def photograph() -> Frame:
    """uint8 RGB, (512, 512, 3); skips where scikit-image is not installed."""
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        pytest.skip("scikit-image, whose portrait is the face, is not installed (the extra `test` brings it)")
    bgr = cv2.imread(str(Path(found.origin).parent / "data" / "astronaut.png"))
    assert bgr is not None
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def yunet_path() -> Path:
    """A detector's file: $AFFECTRT_YUNET, or in ../shared/models beside the checkout; skips where there is none."""
    given = os.environ.get("AFFECTRT_YUNET")
    folder = Path(__file__).parents[3] / "shared" / "models"
    places = [Path(given)] if given else sorted(folder.glob("face_detection_yunet_*.onnx"))
    for place in places:
        if place.is_file():
            return place
    pytest.skip("no YuNet: AFFECTRT_YUNET=FILE names one (affectrt assets pull yunet brings it)")


@dataclass(frozen=True)
class Person:
    """A head with an opacity, RGBA float32, and where its face's middle is in it."""

    rgba: np.ndarray
    middle: tuple[float, float]


@dataclass(frozen=True)
class Place:
    """Where a person's face is in one frame: its middle, and its height in pixels."""

    x: float
    y: float
    face_px: float
    turn_deg: float = 0.0


def head(*, mirrored: bool = False, gain: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Person:
    x0, y0, x1, y1 = HEAD
    rgb = photograph()[y0:y1, x0:x1].astype(np.float32) * np.float32(gain)
    height, width = rgb.shape[:2]
    yy, xx = np.mgrid[:height, :width]
    far = np.hypot((xx - width / 2) / (width / 2), (yy - height / 2) / (height / 2))
    alpha = np.clip((1 - far) / 0.08, 0, 1).astype(np.float32)
    middle = (MIDDLE[0] - x0, MIDDLE[1] - y0)
    if mirrored:
        rgb, middle = rgb[:, ::-1], (width - middle[0], middle[1])
    return Person(np.ascontiguousarray(np.dstack([np.clip(rgb, 0, 255), alpha])), middle)


def backdrop(width: int, height: int, seed: int = 7) -> Frame:
    """A still room: soft blotches of several sizes, uint8 RGB."""
    rng = np.random.default_rng(seed)
    total = np.full((height, width, 3), 120.0, np.float32)
    for cells, weight in ((4, 40), (16, 20), (64, 10)):
        coarse = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        total += weight * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(total, 0, 255).astype(np.uint8)


def picture(background: Frame, people: Sequence[tuple[Person, Place]]) -> Frame:
    """One frame; later people stand in front of earlier ones."""
    frame = background.astype(np.float32)
    height, width = frame.shape[:2]
    for person, place in people:
        scale = place.face_px / FACE_PX
        turn = cv2.getRotationMatrix2D(person.middle, place.turn_deg, scale)
        turn[:, 2] += (place.x - person.middle[0], place.y - person.middle[1])
        source = person.rgba
        if scale < 1:  # no aliasing: a face that shrinks must not tremble by itself
            blurred = cv2.GaussianBlur(source, (0, 0), 0.5 / scale)
            source = np.ascontiguousarray(blurred)
        layer = cv2.warpAffine(source, turn, (width, height), flags=cv2.INTER_LINEAR)
        alpha = layer[:, :, 3:]
        frame = frame * (1 - alpha) + layer[:, :, :3] * alpha
    return np.clip(frame + 0.5, 0, 255).astype(np.uint8)


def cover(frame: Frame, x: float, width: float) -> Frame:
    """The frame behind a grey bar of full height centred at x."""
    left, right = max(0, round(x - width / 2)), max(0, round(x + width / 2))
    frame = frame.copy()
    frame[:, left:right] = 128
    return frame
