"""One clip: a person, a path through the plane, the pictures and the sound that show it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from affectrt.runtime.words import Word

from .affect_path import RATE_HZ, AffectPath, make_path
from .face import FaceState, draw_face
from .identity import Identity
from .motion import face_states
from .spoken import speak
from .voice import SAMPLE_RATE_HZ, synthesise_voice

__all__ = ["Clip", "clip_path", "make_clip"]


@dataclass(frozen=True, eq=False)
class Clip:
    """`samples`: mono float32; picture i and row i of the truth belong to media time i / `fps`.

    `words` and `espeak`, the version of espeak-ng that said them, are of spoken clips alone.
    """

    identity: Identity
    path: AffectPath
    samples: npt.NDArray[np.float32]
    states: list[FaceState] = field(repr=False)
    size_px: int
    fps: float = RATE_HZ
    sample_rate_hz: int = SAMPLE_RATE_HZ
    words: tuple[Word, ...] = ()
    espeak: str | None = None

    @property
    def truth(self) -> npt.NDArray[np.float32]:
        """(steps, 2): valence, arousal."""
        return self.path.truth.astype(np.float32)

    def frames(self) -> Iterator[npt.NDArray[np.uint8]]:
        """RGB pictures (size_px, size_px, 3), drawn as they are asked for."""
        for state in self.states:
            yield draw_face(self.identity.face, state, self.size_px)


def _streams(seed: int) -> list[np.random.Generator]:
    """Path, sound, moves; the error of the words, and speech."""
    return [np.random.default_rng(s) for s in np.random.SeedSequence([seed, 2]).spawn(5)]


def clip_path(seed: int, seconds: float, *, spoken: bool = False) -> AffectPath:
    """The path of the clip with this seed, without its pictures and sound."""
    steps = round(seconds * RATE_HZ)
    if steps < 1:
        raise ValueError(f"a clip lasts at least one picture ({1 / RATE_HZ} s), not {seconds} s")
    path, _, _, words, _ = _streams(seed)
    return make_path(path, steps, words if spoken else None)


def make_clip(
    identity: Identity, seed: int, *, seconds: float = 24.0, size_px: int = 128, spoken: bool = False
) -> Clip:
    """The same identity, seed and lengths always give the same clip, at 25 pictures a second.

    `spoken`: it says words instead of syllables, by espeak-ng, on whose version it depends; MissingDependency without.
    """
    _, sound, moves, _, speech = _streams(seed)
    path = clip_path(seed, seconds, spoken=spoken)
    if path.words is None:
        voice = synthesise_voice(identity.voice, path.voice, sound)
        return Clip(identity, path, voice.samples, face_states(path.face, voice.mouth, moves), size_px)
    said = speak(identity.voice, path.voice, path.words, speech)
    states = face_states(path.face, said.mouth, moves)
    return Clip(identity, path, said.samples, states, size_px, words=said.words, espeak=said.espeak)
