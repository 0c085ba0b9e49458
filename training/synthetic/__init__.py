"""A made-up corpus: drawn faces and synthetic voices that show a known valence and arousal.

In the order of the data: `affect_path` (the truth, and what face and voice each show of it) → `identity` (who) →
`voice`, `motion` and `face` (sound and pictures) → `clip` (both together) → `encode` (real media files) →
`corpus` (many of them in Aff-Wild2's layout).

No person and no recording stands behind any of it; it proves that a pipeline works, never that a model reads people.
"""

from .affect_path import AffectPath, ideal_ccc, make_path
from .clip import Clip, make_clip
from .corpus import make_corpus
from .encode import write_clip
from .face import FaceState, draw_face
from .identity import Identity, make_identity
from .voice import Voice, synthesise_voice

__all__ = [
    "AffectPath",
    "Clip",
    "FaceState",
    "Identity",
    "Voice",
    "draw_face",
    "ideal_ccc",
    "make_clip",
    "make_corpus",
    "make_identity",
    "make_path",
    "synthesise_voice",
    "write_clip",
]
