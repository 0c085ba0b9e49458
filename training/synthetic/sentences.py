"""What is said: small sentences whose words stand near the point of the plane that the text shows at their time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .lexicon import JOINTS, LEXICON, TEMPLATES, Kind

__all__ = ["Shown", "Writer"]

Shown = Callable[[float], tuple[float, float]]
"""Media time in seconds → (valence, arousal) that the text shows."""

# How far a word may stand from what is shown, as deviations; arousal binds less.
NEAR_VALENCE, NEAR_AROUSAL = 0.12, 0.4
CLAUSES = (0.45, 0.4, 0.15)  # shares of sentences of one, two and three clauses
EXCLAIMING_AROUSAL = 0.5
SECONDS_A_WORD = 0.32


class Writer:
    """Clause after clause; a sentence has one to three of them."""

    def __init__(self, rng: np.random.Generator, shown: Shown) -> None:
        self._rng = rng
        self._shown = shown
        self._left = 0
        self._template = -1

    def clause(self, at_s: float) -> tuple[tuple[str, ...], bool]:
        """The words of the clause that begins at `at_s`, with punctuation, and whether a sentence ends with it."""
        begins = self._left == 0
        if begins:
            self._left = 1 + int(self._rng.choice(len(CLAUSES), p=CLAUSES))
        template = int(self._rng.integers(len(TEMPLATES) - 1))
        template += template >= self._template >= 0  # never the same one twice in a row
        self._template = template
        words: list[str] = [] if begins else [JOINTS[int(self._rng.integers(len(JOINTS)))]]
        for slot in TEMPLATES[template].split():
            if slot.startswith("{"):
                words.append(self._choose(slot[1:-1], at_s + (len(words) + 0.5) * SECONDS_A_WORD, words))  # type: ignore[arg-type]
            else:
                words.append("I" if slot == "i" else slot)
        if begins:
            words[0] = words[0].capitalize()
        self._left -= 1
        if self._left == 0:
            aroused = self._shown(at_s)[1] > EXCLAIMING_AROUSAL
            words[-1] += "!" if aroused else "."
        else:
            words[-1] += ","
        return tuple(words), self._left == 0

    def _choose(self, kind: Kind, at_s: float, said: list[str]) -> str:
        valence, arousal = np.clip(self._shown(at_s), -1, 1)
        words = [s for s in LEXICON[kind] if s.word not in said]
        far = np.array([s.valence for s in words]) - valence if kind != "adverb" else np.zeros(len(words))
        odds = -0.5 * (far / NEAR_VALENCE) ** 2
        odds -= 0.5 * ((np.array([s.arousal for s in words]) - arousal) / NEAR_AROUSAL) ** 2
        odds = np.exp(odds - odds.max())
        return words[int(self._rng.choice(len(words), p=odds / odds.sum()))].word
