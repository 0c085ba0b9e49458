"""The parts of a drawn face that affect does not move: hair, ears, nose, glasses."""

from __future__ import annotations

import numpy as np

from .identity import FaceIdentity
from .pen import Floats, Pen, arc, blend, closed_curve

__all__ = ["draw_back_hair", "draw_beard", "draw_ears", "draw_front_hair", "draw_glasses", "draw_nose"]

LONG_HAIR = np.array(
    [(0.0, -0.97), (0.45, -0.88), (0.70, -0.5), (0.74, 0.1), (0.78, 0.7), (0.62, 1.1), (0.3, 1.0),
     (-0.3, 1.0), (-0.62, 1.1), (-0.78, 0.7), (-0.74, 0.1), (-0.70, -0.5), (-0.45, -0.88)]
)  # fmt: skip
SKULL_HAIR = np.array(
    [(0.0, -0.96), (0.40, -0.88), (0.62, -0.55), (0.64, -0.1), (0.3, 0.0), (-0.3, 0.0), (-0.64, -0.1),
     (-0.62, -0.55), (-0.40, -0.88)]
)  # fmt: skip

STUBBLE = np.array(
    [(0.0, -0.865), (0.33, -0.80), (0.535, -0.55), (0.575, -0.25), (0.50, -0.5), (0.3, -0.63),
     (0.0, -0.66), (-0.3, -0.63), (-0.50, -0.5), (-0.575, -0.25), (-0.535, -0.55), (-0.33, -0.80)]
)  # fmt: skip
BEARD = np.array(
    [(0.57, 0.08), (0.47, 0.47), (0.27, 0.72), (0.0, 0.80), (-0.27, 0.72), (-0.47, 0.47), (-0.57, 0.08),
     (-0.44, 0.22), (-0.30, 0.32), (-0.12, 0.28), (0.0, 0.30), (0.12, 0.28), (0.30, 0.32), (0.44, 0.22)]
)  # fmt: skip


def draw_back_hair(pen: Pen, identity: FaceIdentity) -> None:
    """What lies behind the head."""
    colour = blend(identity.hair_colour, (0, 0, 0), 0.3)
    scale = (identity.width, 1.0)
    if identity.hair == "long":
        pen.fill(closed_curve(LONG_HAIR * scale), colour)
    elif identity.hair == "curly":
        for angle in np.linspace(-2.9, 2.9, 15):
            x, y = 0.62 * np.sin(angle), -0.22 - 0.60 * np.cos(angle)
            if y < 0.3:
                pen.disc(x * identity.width, y, 0.19, colour)
    elif identity.hair == "bun":
        pen.disc(0.1 * identity.parting, -0.93, 0.24, colour)
        pen.fill(closed_curve(SKULL_HAIR * scale), colour)
    elif identity.hair == "short":
        pen.fill(closed_curve(SKULL_HAIR * scale), colour)


def draw_ears(pen: Pen, identity: FaceIdentity) -> None:
    dark = blend(identity.skin, (80, 30, 20), 0.30)
    for side in (-1, 1):
        x = 0.60 * identity.width * side
        pen.fill(arc(x, 0.02, 0.075, 0.15), identity.skin)
        pen.fill(arc(x + 0.012 * side, 0.02, 0.04, 0.09), dark)


def draw_beard(pen: Pen, identity: FaceIdentity, jaw_drop: float) -> None:
    if not identity.beard:
        return
    knots = BEARD * (0.99 * identity.width, 1)
    low = BEARD[:, 1] > 0.4
    knots[low, 0] *= identity.jaw
    knots[low, 1] = 0.1 + (knots[low, 1] - 0.1) * (identity.chin + jaw_drop / 0.7)
    pen.fill(closed_curve(knots), blend(identity.skin, identity.hair_colour, identity.beard))


def draw_nose(pen: Pen, identity: FaceIdentity) -> None:
    dark = blend(identity.skin, (70, 26, 20), 0.45)
    bottom = 0.17 * identity.nose_length
    wing = 0.085 * identity.nose_width
    for side in (-1, 1):
        nostril = np.array([(wing * 0.95, bottom - 0.05), (wing * 1.05, bottom - 0.01), (wing * 0.6, bottom + 0.012)])
        pen.line(nostril * (side, 1), dark, 0.014)
        pen.fill(arc(0.55 * wing * side, bottom + 0.004, 0.022, 0.011), blend(identity.skin, (40, 10, 10), 0.65))
    light = blend(identity.skin, (255, 250, 240), 0.28)
    pen.fill(arc(0.0, bottom - 0.045, 0.028, 0.030), light)


def _fringe(identity: FaceIdentity) -> Floats:
    """The hairline from one temple over the forehead to the other."""
    x = np.array([0.55, 0.40, 0.2, 0.0, -0.2, -0.40, -0.55])
    height = -0.60 + 0.06 * identity.fringe
    line = height - 0.05 * np.cos(np.pi * (x - 0.35 * identity.parting))
    line[[0, -1]] = (-0.16, -0.16)
    line[[1, -2]] = height + 0.09
    return np.stack([x, line], axis=1)


def draw_front_hair(pen: Pen, identity: FaceIdentity) -> None:
    if identity.hair == "shaved":
        stubble = blend(identity.skin, identity.hair_colour, 0.35)
        pen.fill(closed_curve(STUBBLE * (identity.width, 1)), stubble)
        return
    fringe = _fringe(identity)
    over = np.array(
        [(-0.62, -0.4), (-0.55, -0.68), (-0.35, -0.88), (0.0, -0.965), (0.35, -0.88), (0.55, -0.68), (0.62, -0.4)]
    )
    cap = np.vstack([fringe, over]) * (identity.width, 1)
    pen.fill(closed_curve(cap), identity.hair_colour)
    if identity.hair == "curly":
        for x, y in ((-0.48, -0.58), (-0.3, -0.72), (-0.08, -0.78), (0.16, -0.77), (0.36, -0.69), (0.52, -0.54)):
            pen.disc(x * identity.width, y, 0.15, identity.hair_colour)
        return
    gleam = blend(identity.hair_colour, (255, 244, 230), 0.22)
    sheen = np.array([(-0.40, -0.72), (-0.2, -0.83), (0.05, -0.86), (0.28, -0.82)]) * (identity.width, 1)
    pen.line(sheen, gleam, 0.035)
    if identity.hair == "long":
        for side in (-1, 1):
            lock = np.array(
                [(0.50, -0.66), (0.60, -0.3), (0.63, 0.2), (0.66, 0.8), (0.80, 0.75), (0.76, 0.0), (0.68, -0.5)]
            )
            pen.fill(closed_curve(lock * (side * identity.width, 1)), identity.hair_colour)


def draw_glasses(pen: Pen, identity: FaceIdentity) -> None:
    if identity.glasses == "none":
        return
    frame = (36, 32, 34)
    for side in (-1, 1):
        x = 0.25 * side * identity.eye_gap
        if identity.glasses == "round":
            rim = arc(x, -0.10, 0.195, 0.185)
        else:
            rim = closed_curve(
                np.array([(-0.2, -0.13), (0.0, -0.155), (0.2, -0.13), (0.18, 0.13), (0.0, 0.16), (-0.18, 0.13)])
            )
            rim = rim + np.array((x, -0.09))
        pen.line(rim, frame, 0.022, closed=True)
        pen.line(np.array([(x + 0.19 * side, -0.13), (0.58 * side * identity.width, -0.10)]), frame, 0.02)
    pen.line(np.array([(-0.06, -0.13), (0.0, -0.15), (0.06, -0.13)]), frame, 0.022)
