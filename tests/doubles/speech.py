"""Sentences spoken by espeak-ng, with the time of every word: what a recogniser is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
import numpy.typing as npt
from doubles.media import write_media

from affectrt.runtime.words import Word
from affectrt.training.synthetic.speech import Speaker

__all__ = ["SENTENCES", "Spoken", "error_rate", "speak"]

SENTENCES = (
    "I feel wonderful today and the sun is warm",
    "the weather is awful and I am sad",
    "we had a great party with happy people",
    "this is terrible news and I hate it",
    "my mother called me in the morning",
    "he lost his money and he is very angry",
    "they are going to the house by the river",
    "what a beautiful day for a walk with friends",
)
PAUSE_S = 0.8


@dataclass(frozen=True, eq=False)
class Spoken:
    """`samples` at `rate_hz`, and the words as they were said, on media time."""

    samples: npt.NDArray[np.float32]
    rate_hz: int
    words: tuple[Word, ...]

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate_hz

    def written(self, path: Path, *, frames: bool = False) -> Path:
        grey = np.full((round(self.seconds * 25), 24, 32, 3), 120, np.uint8) if frames else None
        encoder = None if path.suffix == ".wav" else "audioresample ! opusenc"
        return write_media(path, frames=grey, samples=self.samples, rate_hz=self.rate_hz, audio_encoder=encoder)


def speak(sentences: Sequence[str], voice: str = "en-us") -> Spoken:
    """One after another, with pauses between them, before the first and after the last."""
    parts: list[npt.NDArray[np.float64]] = []
    words: list[Word] = []
    at = 0
    with Speaker(voice) as speaker:
        pause = np.zeros(round(PAUSE_S * speaker.rate_hz))
        for sentence in sentences:
            said = speaker.say(sentence.split(), rate=150, pitch=50, pitch_range=50)
            at += len(pause)
            bounds = [*said.starts, len(said.samples)]
            for text, begin, end in zip(sentence.split(), bounds, bounds[1:], strict=False):
                words.append(Word(text, (at + begin) / speaker.rate_hz, (at + end) / speaker.rate_hz))
            parts += [pause, said.samples]
            at += len(said.samples)
        parts.append(pause)
    return Spoken(np.concatenate(parts).astype(np.float32), speaker.rate_hz, tuple(words))


def error_rate(said: Sequence[Word], heard: Sequence[Word]) -> float:
    """Word error rate: wrong, missing and invented words over the words that were said."""
    return float(jiwer.wer(" ".join(w.text.lower() for w in said), " ".join(w.text.lower() for w in heard)))
