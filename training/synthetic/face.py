"""Draws a face: who it is comes from the identity, what it shows and does from the state.

Head coordinates: x to the viewer's right, y down, the head's centre at (0, 0), crown at y = -0.86, chin at y = 0.80;
the frame spans [-1, 1] on both axes. Everything is drawn with OpenCV polygons at a multiple of the final size and
averaged down; soft shading is a small blurred map that multiplies the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from .face_parts import draw_back_hair, draw_beard, draw_ears, draw_front_hair, draw_glasses, draw_nose
from .identity import FaceIdentity
from .pen import Floats, Pen, Pose, arc, blend, closed_curve

__all__ = ["SHOWN_LIMIT", "FaceState", "draw_face"]

Image = npt.NDArray[np.uint8]

SHOWN_LIMIT = 1.5  # shown values beyond ± this look the same
SHADE_PX = 64
TILE = 2  # the noise tile is so many frames wide and high

# Light that goes through skin comes out warm: red darkens least.
SHADE_TINT = np.stack([255 - share * (255.0 - np.arange(256)) for share in (0.72, 1.0, 1.06)], axis=-1)
SHADE_TINT = np.clip(SHADE_TINT, 0, 255).astype(np.uint8)[None]

TEETH, TONGUE, MOUTH_INSIDE = (240, 236, 226), (178, 84, 86), (62, 22, 26)

ALONG_LID = np.linspace(-1, 1, 9)  # from the inner corner of the eye to the outer
LID_BOW = np.sqrt(1 - ALONG_LID**2)
ALONG_LIP = np.linspace(-1, 1, 13)
LIP_BOW = 1 - ALONG_LIP**2
CUPID = 1 - 0.35 * np.exp(-((ALONG_LIP / 0.16) ** 2))
ALONG_BROW = np.linspace(0, 1, 7)[:, None]

HEAD = np.array(
    [
        (0.0, -0.86), (0.32, -0.80), (0.53, -0.55), (0.59, -0.18), (0.56, 0.16), (0.46, 0.47), (0.26, 0.72),
        (0.0, 0.80), (-0.26, 0.72), (-0.46, 0.47), (-0.56, 0.16), (-0.59, -0.18), (-0.53, -0.55), (-0.32, -0.80),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class FaceState:
    """One instant of a face.

    `valence`, `arousal`: what it shows, clipped at ±`SHOWN_LIMIT`; `speech`, `blink`: 0 ... 1; `gaze`: (x, y) in
    [-1, 1]; `yaw`, `pitch`: turning as a share of the features' shift; `roll` in radians; `shift` in half frames;
    `light`: brightness factor; `noise_at`: which part of the sensor noise, (x, y) in [0, 1).
    """

    valence: float
    arousal: float
    speech: float = 0.0
    blink: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    light: float = 1.0
    noise_at: tuple[float, float] = (0.0, 0.0)


@lru_cache(maxsize=8)
def _backdrop(identity: FaceIdentity, px: int) -> Image:
    rng = np.random.default_rng(identity.texture_seed)
    rows = np.linspace(identity.background[0], identity.background[1], 6).astype(np.float32)
    wall = np.repeat(rows[:, None, :], 6, axis=1) + rng.normal(0, 12, (6, 6, 1)).astype(np.float32)
    return np.clip(cv2.resize(wall, (px, px), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


@lru_cache(maxsize=8)
def _light_field(identity: FaceIdentity, px: int) -> npt.NDArray[np.float32]:
    axis = np.linspace(-1, 1, px, dtype=np.float32)
    slope = identity.light_from[0] * axis[None, :] + identity.light_from[1] * axis[:, None]
    warm = np.array([1 + 0.06 * identity.light_warmth, 1.0, 1 - 0.08 * identity.light_warmth], np.float32)
    field: npt.NDArray[np.float32] = ((1 + identity.light_contrast * slope)[:, :, None] * warm / 255).astype(np.float32)
    return field


@lru_cache(maxsize=8)
def _noise_tile(identity: FaceIdentity, px: int) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng([identity.texture_seed, px])
    side = TILE * px
    return (identity.camera_noise * rng.standard_normal((side, side, 3), np.float32)).astype(np.float32)


def _head(identity: FaceIdentity, jaw_drop: float) -> Floats:
    points = HEAD.copy()
    low = points[:, 1] > 0.1
    points[:, 0] *= identity.width * np.where(points[:, 1] > 0.3, identity.jaw, 1.0)
    points[low, 1] = 0.1 + (points[low, 1] - 0.1) * (identity.chin + jaw_drop / 0.7)
    return closed_curve(points)


def _curve(x: Floats, y: Floats) -> Floats:
    return np.stack([x, y], axis=1)


def _band(x: Floats, upper: Floats, lower: Floats) -> Floats:
    """The area between two curves over the same x."""
    return np.vstack([_curve(x, upper), _curve(x, lower)[::-1]])


def _draw_eye(pen: Pen, shade: Pen, identity: FaceIdentity, state: FaceState, side: int, e: float, r: float) -> None:
    x, y, half = 0.25 * side * identity.eye_gap, -0.11, 0.135 * identity.eye_size
    low = 0.052 * identity.eye_size * max(0.2, 0.8 + 0.2 * r - 0.55 * max(e, 0.0))
    up = 0.098 * identity.eye_size * (0.60 + 0.45 * r - 0.10 * abs(e))
    up = max(up, 0.026)
    up = (1 - state.blink) * up - state.blink * 0.8 * low
    lid = x + half * side * ALONG_LID
    upper = _curve(lid, y - 0.012 * ALONG_LID - up * LID_BOW)
    lower = _curve(lid, y - 0.012 * ALONG_LID + low * LID_BOW)
    pen.fill(np.vstack([upper, lower[::-1]]), (238, 236, 232))
    iris_x, iris_y = x + 0.045 * state.gaze[0], y - 0.012 + 0.02 * state.gaze[1]
    radius = 0.072 * identity.eye_size
    pen.disc(iris_x, iris_y, radius, blend(identity.iris, (0, 0, 0), 0.45))
    pen.disc(iris_x, iris_y, 0.8 * radius, identity.iris)
    pen.disc(iris_x, iris_y, 0.42 * radius, (12, 10, 12))
    pen.disc(iris_x - 0.025, iris_y - 0.03, 0.26 * radius, (250, 250, 250))
    # the lids hide what the eye's opening does not show of the iris
    for edge, reach in ((upper, y - 0.105), (lower, y + 0.095)):
        pen.fill(np.vstack([edge, [(lid[-1], reach), (lid[0], reach)]]), identity.skin)
    dark = blend(identity.skin, (24, 14, 14), 0.85)
    pen.line(upper, dark, 0.026)
    pen.line(lower[1:-1], blend(identity.skin, dark, 0.45), 0.010)
    crease = upper[1:-1] - (0.0, 0.036)
    pen.line(crease, blend(identity.skin, dark, 0.28), 0.010)
    shade.fill(arc(x, y - 0.05, 0.19, 0.13), 226)
    if e > 0:  # the raised cheek folds below a smiling eye
        shade.line(_curve(lid, lower[:, 1] + 0.05), round(255 - 60 * e), 0.03)


def _draw_brow(pen: Pen, identity: FaceIdentity, side: int, e: float, r: float) -> None:
    inner, middle, outer = (
        (0.10 + 0.020 * e, -0.305 - 0.085 * r - 0.075 * e),
        (0.25, -0.365 - 0.080 * r - 0.005 * e),
        (0.42, -0.300 - 0.050 * r + 0.030 * e),
    )
    knots = np.array([inner, middle, outer])
    t = ALONG_BROW
    curve = (1 - t) ** 2 * knots[0] + 2 * t * (1 - t) * (2 * knots[1] - (knots[0] + knots[2]) / 2) + t**2 * knots[2]
    weight = 0.028 * identity.brow_weight * np.array([0.8, 1.1, 1.15, 1.0, 0.8, 0.55, 0.2])[:, None]
    band = np.vstack([curve - (0.0, 1.0) * weight, (curve + (0.0, 1.0) * weight)[::-1]])
    colour = blend(identity.hair_colour, (30, 22, 20), 0.35)
    pen.fill(band * (side, 1), colour)


def _draw_mouth(pen: Pen, shade: Pen, identity: FaceIdentity, opening: float, e: float) -> None:
    x = 0.225 * identity.mouth_width * (1 + 0.24 * e) * ALONG_LIP
    middle = 0.435 + 0.055 * e - 0.165 * e * ALONG_LIP**2
    over, under = middle - 0.35 * opening * LIP_BOW, middle + 0.65 * opening * LIP_BOW
    top = over - 0.048 * identity.lip_weight * LIP_BOW * CUPID
    bottom = under + 0.062 * identity.lip_weight * LIP_BOW
    inside = _band(x, over, under)
    if opening > 0.012:
        pen.fill(inside, MOUTH_INSIDE)
        tongue = np.maximum(under - 0.35 * opening, over)
        pen.fill(_band(0.7 * x, tongue, under), TONGUE)
        teeth = np.minimum(over + 0.055, over + 0.6 * (under - over))
        pen.fill(_band(x, over, teeth), TEETH)
    pen.fill(_band(x, top, over), blend(identity.lips, (40, 10, 16), 0.12))
    pen.fill(_band(x, under, bottom), identity.lips)
    pen.line(_curve(x, over), blend(identity.lips, (30, 8, 12), 0.65), 0.012)
    corner = x[-1]
    for side in (-1, 1):  # corners, and the fold from the nose to the mouth that a smile deepens
        shade.disc(side * (corner + 0.02), middle[-1], 0.035, 205)
        fold = np.array([(0.15, 0.16), (0.23, 0.24), (corner + 0.055, middle[-1] - 0.03)]) * (side, 1)
        shade.line(fold, round(250 - 55 * max(e, 0.0)), 0.04)
    shade.fill(arc(0.0, float(bottom[6]) + 0.05, 0.13, 0.035), 218)


def _draw_shading(shade: Pen, identity: FaceIdentity, e: float) -> None:
    away = -1 if identity.light_from[0] > 0 else 1
    depth = round(255 - 150 * identity.light_contrast)
    outline = np.array([(0.30, -0.7), (0.42, -0.2), (0.36, 0.3), (0.2, 0.75), (0.5, 0.6), (0.66, 0.0), (0.6, -0.6)])
    shade.fill(outline * (away, 1), depth)
    shade.fill(np.array([(0.0, -0.12), (0.05, 0.02), (0.09, 0.13), (0.02, 0.13)]) * (away, 1), 222)
    shade.fill(arc(0.0, 0.175, 0.11 * identity.nose_width, 0.03), 200)
    if e < 0:  # a frown draws two furrows between the brows and presses the chin
        for side in (-1, 1):
            shade.line(np.array([(0.035, -0.34), (0.045, -0.22)]) * (side, 1), round(255 + 130 * e), 0.025)
        shade.fill(arc(0.0, 0.66, 0.12, 0.05), round(255 + 50 * e))


def draw_face(identity: FaceIdentity, state: FaceState, size_px: int) -> Image:
    """RGB picture (size_px, size_px, 3); the same arguments always give the same pixels."""
    px = size_px * (2 if size_px >= 96 else 4)
    e = float(np.clip(state.valence / SHOWN_LIMIT, -1, 1))
    r = float(np.clip(state.arousal / SHOWN_LIMIT, -1, 1))
    opening = 0.012 + 0.075 * max(0.0, 0.35 + 0.65 * r) + 0.035 * max(e, 0.0) + 0.13 * state.speech
    pose = Pose(state.yaw, state.pitch, state.roll, state.scale, state.shift)

    canvas = _backdrop(identity, px).copy()
    pen = Pen(canvas, pose)
    shade_map = np.full((SHADE_PX, SHADE_PX), 255, np.uint8)
    shade = Pen(shade_map, pose)

    draw_back_hair(pen, identity)
    body = Pen(canvas, Pose(0.0, 0.0, 0.3 * state.roll, state.scale, (0.5 * state.shift[0], 0.5 * state.shift[1])))
    body.fill(
        np.array([(-0.30, 0.4), (0.30, 0.4), (0.32, 1.3), (-0.32, 1.3)]), blend(identity.skin, (60, 30, 20), 0.18)
    )
    body.fill(
        closed_curve(
            np.array([(-1.3, 1.4), (-0.85, 1.0), (-0.32, 0.88), (0.0, 1.02), (0.32, 0.88), (0.85, 1.0), (1.3, 1.4)])
        ),
        identity.clothes,
    )
    shade.fill(arc(0.0, 0.84 + 0.5 * opening, 0.34, 0.10), 150)
    draw_ears(pen, identity)
    jaw_drop = 0.55 * opening
    head = _head(identity, jaw_drop)
    shade.fill(head, 255)
    pen.fill(head, identity.skin)
    _draw_shading(shade, identity, e)
    draw_beard(pen, identity, jaw_drop)
    draw_nose(pen, identity)
    _draw_mouth(pen, shade, identity, opening, e)
    for side in (-1, 1):
        _draw_eye(pen, shade, identity, state, side, e, r)
        _draw_brow(pen, identity, side, e, r)
    draw_front_hair(pen, identity)
    draw_glasses(pen, identity)

    picture = cv2.resize(canvas, (size_px, size_px), interpolation=cv2.INTER_AREA).astype(np.float32)
    soft = cv2.resize(cv2.GaussianBlur(shade_map, (0, 0), 1.1), (size_px, size_px), interpolation=cv2.INTER_LINEAR)
    picture *= _light_field(identity, size_px)
    picture *= cv2.LUT(cv2.cvtColor(soft, cv2.COLOR_GRAY2RGB), SHADE_TINT)
    picture *= state.light
    x, y = (int(at * (TILE - 1) * size_px) for at in state.noise_at)
    picture += _noise_tile(identity, size_px)[y : y + size_px, x : x + size_px]
    image: Image = np.clip(picture, 0, 255).astype(np.uint8)
    return image
