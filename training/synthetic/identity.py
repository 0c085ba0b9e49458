"""Who is seen and heard: everything about a person that does not change with affect, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["FaceIdentity", "Hair", "Identity", "VoiceIdentity", "make_identity"]

Colour = tuple[int, int, int]  # RGB
Hair = Literal["short", "long", "curly", "bun", "shaved"]

# A light-to-deep scale; tones in between are interpolated.
SKIN_SCALE = ((250, 222, 200), (238, 196, 164), (214, 160, 122), (172, 116, 82), (124, 80, 56), (84, 54, 40))
# Darkest skins take the first few, lightest ones any: hair must stand out from the face.
HAIR_COLOURS = (
    (32, 26, 26),
    (48, 34, 28),
    (150, 148, 146),
    (78, 50, 34),
    (62, 66, 92),
    (142, 60, 36),
    (150, 96, 52),
    (204, 164, 96),
)
IRIS_COLOURS = ((74, 46, 28), (108, 72, 38), (70, 104, 76), (72, 112, 150), (96, 104, 112), (46, 32, 26))


@dataclass(frozen=True)
class FaceIdentity:
    """Lengths are factors around 1 on the average face; `light_from` is (x, y) in [-1, 1], x to the right."""

    skin: Colour
    hair_colour: Colour
    iris: Colour
    lips: Colour
    clothes: Colour
    background: tuple[Colour, Colour]
    hair: Hair
    fringe: float
    parting: float
    width: float
    jaw: float
    chin: float
    eye_size: float
    eye_gap: float
    brow_weight: float
    nose_length: float
    nose_width: float
    mouth_width: float
    lip_weight: float
    beard: float
    glasses: Literal["none", "round", "square"]
    light_from: tuple[float, float]
    light_warmth: float
    light_contrast: float
    camera_noise: float
    texture_seed: int


@dataclass(frozen=True)
class VoiceIdentity:
    """`formant_scale` is 1 for an average vocal tract and grows as it gets shorter; levels are in dB."""

    base_f0_hz: float
    formant_scale: float
    breath_level_db: float
    tilt_db_per_octave: float
    syllable_s: float
    microphone_gain_db: float
    background_level_db: float


@dataclass(frozen=True)
class Identity:
    name: str
    face: FaceIdentity
    voice: VoiceIdentity


def _blend(a: Colour, b: Colour, share: float) -> Colour:
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _any_colour(rng: np.random.Generator, low: int, high: int) -> Colour:
    red, green, blue = (int(c) for c in rng.integers(low, high, 3))
    return red, green, blue


def _make_face(rng: np.random.Generator) -> FaceIdentity:
    tone = rng.uniform(0, len(SKIN_SCALE) - 1.001)
    skin = _blend(SKIN_SCALE[int(tone)], SKIN_SCALE[int(tone) + 1], tone % 1)
    hairs: tuple[Hair, ...] = ("short", "long", "curly", "bun", "shaved")
    hair = hairs[int(rng.choice(5, p=[0.3, 0.28, 0.17, 0.15, 0.1]))]
    glasses: tuple[Literal["none", "round", "square"], ...] = ("none", "round", "square")
    wall = _blend(_any_colour(rng, 60, 215), (140, 140, 140), 0.55)
    bearded = hair in ("short", "shaved", "curly") and rng.random() < 0.4
    return FaceIdentity(
        skin=skin,
        hair_colour=HAIR_COLOURS[int(rng.integers(3 if tone > 2.5 else len(HAIR_COLOURS)))],
        iris=IRIS_COLOURS[int(rng.integers(len(IRIS_COLOURS)))],
        lips=_blend(skin, (172, 52, 62), rng.uniform(0.35, 0.7)),
        clothes=_any_colour(rng, 30, 200),
        background=(wall, _blend(wall, _any_colour(rng, 20, 235), rng.uniform(0.1, 0.4))),
        hair=hair,
        fringe=rng.uniform(-1, 1),
        parting=rng.uniform(-1, 1),
        width=rng.uniform(0.92, 1.1),
        jaw=rng.uniform(0.88, 1.12),
        chin=rng.uniform(0.94, 1.05),
        eye_size=rng.uniform(0.88, 1.14),
        eye_gap=rng.uniform(0.94, 1.07),
        brow_weight=rng.uniform(0.7, 1.35),
        nose_length=rng.uniform(0.85, 1.12),
        nose_width=rng.uniform(0.8, 1.25),
        mouth_width=rng.uniform(0.9, 1.12),
        lip_weight=rng.uniform(0.75, 1.3),
        beard=rng.uniform(0.35, 0.8) if bearded else 0.0,
        glasses=glasses[int(rng.choice(3, p=[0.72, 0.14, 0.14]))],
        light_from=(rng.uniform(-1, 1), rng.uniform(-1, 0.2)),
        light_warmth=rng.uniform(-1, 1),
        light_contrast=rng.uniform(0.05, 0.3),
        camera_noise=rng.uniform(1.0, 4.5),
        texture_seed=int(rng.integers(2**31)),
    )


def _make_voice(rng: np.random.Generator) -> VoiceIdentity:
    height = rng.uniform(-1, 1)  # low and long vocal tract ... high and short one
    return VoiceIdentity(
        base_f0_hz=155.0 * 2 ** (0.5 * height + rng.normal(0, 0.07)),
        formant_scale=1 + 0.05 * height + rng.normal(0, 0.01),
        breath_level_db=rng.normal(0, 1.0),
        tilt_db_per_octave=rng.normal(0, 0.5),
        syllable_s=rng.uniform(0.17, 0.23),
        microphone_gain_db=rng.normal(0, 1.5),
        background_level_db=rng.uniform(-58, -46),
    )


def make_identity(seed: int, index: int) -> Identity:
    """The `index`-th person of the corpus with this seed; the same two numbers always give the same person."""
    face, voice = np.random.SeedSequence([seed, index, 1]).spawn(2)
    return Identity(
        name=f"person-{index:04d}",
        face=_make_face(np.random.default_rng(face)),
        voice=_make_voice(np.random.default_rng(voice)),
    )
