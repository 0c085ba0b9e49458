"""The words of spoken clips and what they say of valence and arousal: plain English that every dictionary has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = ["LEXICON", "NEUTRAL_WORDS", "TEMPLATES", "Kind", "Sentiment", "every_word"]

Kind = Literal["adjective", "noun", "verb", "adverb"]


@dataclass(frozen=True)
class Sentiment:
    """A word and the point of the plane that it stands for, both in [-1, 1]."""

    word: str
    valence: float
    arousal: float


_CALM, _EVEN, _ROUSED = -0.6, 0.0, 0.6

# kind → valence → words by arousal: calm; even; roused. Adverbs say nothing of valence.
_LEVELS: Mapping[Kind, Mapping[float, str]] = {
    "adjective": {
        -0.9: "hopeless miserable gloomy; awful terrible horrible; furious terrifying violent",
        -0.55: "sad tired lonely; bad unpleasant unhappy; angry nervous frightening",
        -0.25: "dull boring sleepy; poor odd weak; restless loud hectic",
        0.0: "quiet plain still; normal usual common; sudden fast quick",
        0.25: "soft mild gentle; fine decent good; lively eager active",
        0.55: "calm relaxed cozy; nice pleasant happy; exciting cheerful bright",
        0.9: "peaceful heavenly blissful; wonderful beautiful lovely; amazing fantastic brilliant",
    },
    "noun": {
        -0.9: "grave sorrow; tragedy death; disaster terror",
        -0.55: "loss shame; trouble sickness; fight danger",
        -0.25: "delay fog; mistake doubt; noise traffic",
        0.0: "table paper; house letter; street train",
        0.25: "garden evening; story meal; game market",
        0.55: "rest comfort; friend gift; party dance",
        0.9: "peace heaven; love beauty; victory triumph",
    },
    "verb": {
        -0.9: "mourn; dread; hate",
        -0.55: "miss; regret; fear",
        -0.25: "avoid; question; rush",
        0.0: "notice; see; move",
        0.25: "accept; like; want",
        0.55: "trust; enjoy; welcome",
        0.9: "treasure; adore; celebrate",
    },
    "adverb": {0.0: "slowly quietly softly; often maybe again; really suddenly quickly"},
}

LEXICON: Mapping[Kind, tuple[Sentiment, ...]] = MappingProxyType(
    {
        kind: tuple(
            Sentiment(word, valence, arousal)
            for valence, cells in levels.items()
            for arousal, cell in zip((_CALM, _EVEN, _ROUSED), cells.split(";"), strict=True)
            for word in cell.split()
        )
        for kind, levels in _LEVELS.items()
    }
)

# Clauses; what stands in braces is chosen from the lexicon, everything else says nothing.
TEMPLATES: tuple[str, ...] = (
    "the {noun} was {adjective}",
    "i {verb} this {noun}",
    "it is such {adjective} {noun}",
    "we {adverb} {verb} the {noun}",
    "they feel {adjective}",
    "everything is {adjective} and {adjective}",
    "my {noun} seems {adjective}",
    "what {adjective} {noun}",
    "you had {noun} and {noun}",
    "now it looks {adjective}",
    "people {verb} that {adjective} {noun}",
    "there is {noun} today",
    "{adverb} she felt {adjective}",
    "he talks about {adjective} {noun}",
    "we {verb} and {verb} it",
    "today was {adverb} {adjective}",
)
JOINTS: tuple[str, ...] = ("and", "but", "so", "then", "because")

NEUTRAL_WORDS: tuple[str, ...] = tuple(
    sorted({word for line in (*TEMPLATES, *JOINTS) for word in line.split() if not word.startswith("{")})
)


def every_word() -> tuple[str, ...]:
    """All words that a clip may hold, in lower case, sorted."""
    return tuple(sorted({s.word for words in LEXICON.values() for s in words} | set(NEUTRAL_WORDS)))
