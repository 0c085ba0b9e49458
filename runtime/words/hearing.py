"""What all recognisers share: where their sound lies on media time, and what of their words was told already."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from .word import Word, WordsChunk

__all__ = ["LONGEST_S", "Hearing", "pcm_from_samples"]

LONGEST_S = 20.0
"""An utterance without a pause is ended by force: what it costs to decode and to tell anew grows with its length."""

# Timestamps of a microphone tremble; a hole in a damaged file is larger.
_TREMBLE_S = 0.1
_PARTIAL_S = 0.3
_SIGN_OF_LIFE_S = 1.0


class Hearing:
    """Counts the sound that a recogniser was given, in seconds since it began, and makes chunks of what it says.

    What is final stays: words are cut at the end of what was final before, those that lie before it are left out.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._origin_s = 0.0
        self._samples = 0
        self._since_s = 0.0
        self._told: tuple[str, ...] = ()
        self._told_s = 0.0
        self._partial_s = 0.0

    # -- sound ---------------------------------------------------------------------------------------------------------

    def follows(self, pts_s: float) -> bool:
        """Whether sound at this media time continues what was heard; otherwise the recogniser has to begin anew."""
        return self._samples == 0 or abs(pts_s - self.heard_s) <= _TREMBLE_S

    def push(self, samples: int, pts_s: float, *, idle: bool) -> None:
        """Count sound that follows. Between utterances (`idle`) a clock that drifts is followed."""
        if self._samples == 0 or idle:
            self._origin_s = pts_s - self._samples / self._rate_hz
        self._samples += samples

    def restart(self) -> None:
        """The recogniser has begun anew, and so does the counting."""
        self._samples = 0

    def at(self, seconds: float) -> float:
        """The media time of a moment in the recogniser's own seconds."""
        return self._origin_s + seconds

    @property
    def heard_s(self) -> float:
        """The media time up to which there was sound."""
        return self.at(self._samples / self._rate_hz)

    @property
    def since_s(self) -> float:
        """Where the utterance that is heard now may begin: what lies before is final."""
        return self._since_s

    # -- words ---------------------------------------------------------------------------------------------------------

    def partial_is_due(self) -> bool:
        """Whether it is worth asking for the words so far: three times a second of sound."""
        if 0 <= self.heard_s - self._partial_s < _PARTIAL_S:
            return False
        self._partial_s = self.heard_s
        return True

    def partial(self, words: Iterable[Word], until_s: float) -> list[WordsChunk]:
        """The words so far. A chunk when they are others than before, and once a second to say how far hearing is."""
        said = self._cut(words)
        texts = tuple(word.text for word in said)
        if texts == self._told and until_s - self._told_s < _SIGN_OF_LIFE_S:
            return []
        self._told, self._told_s = texts, until_s
        return [WordsChunk(said, self._since_s, max(until_s, self._since_s), self._since_s)]

    def final(self, words: Iterable[Word], until_s: float) -> list[WordsChunk]:
        """The words of an utterance that is over, and silence up to `until_s`; nothing where that is no news."""
        said, since_s = self._cut(words), self._since_s
        if until_s <= since_s and not said:
            return []
        until_s = max([until_s, since_s, *(word.end_s for word in said)])
        quiet = not said and not self._told
        if quiet and until_s - since_s < _PARTIAL_S:
            return []
        self._since_s, self._told, self._told_s = until_s, (), until_s
        return [WordsChunk(said, since_s, until_s, until_s)]

    def end(self) -> list[WordsChunk]:
        """After the last utterance: nothing more is said."""
        return [WordsChunk((), self._since_s, math.inf, math.inf)]

    def _cut(self, words: Iterable[Word]) -> Sequence[Word]:
        since_s = self._since_s
        return tuple(Word(w.text, max(w.start_s, since_s), w.end_s) for w in words if w.end_s > since_s)


def pcm_from_samples(samples: npt.NDArray[np.float32]) -> bytes:
    """Samples in [-1, 1] → 16 bits; what lies outside is cut off, what is no number is silence."""
    whole = np.nan_to_num(np.asarray(samples, np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
    return (np.clip(whole, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()
