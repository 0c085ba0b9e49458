"""The fusions that the table compares: what each changes in a demo network, and what its paper says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from affectrt.models.configuration import Config
from affectrt.models.network import Network
from affectrt.models.systems import SYSTEMS

__all__ = ["OPTIONS", "PAPER_RECURSIONS", "TEXT_OPTIONS", "Option", "SystemName"]

SystemName = Literal["rcma", "cav", "rcma-text"]

# arXiv 2403.13659, fourth version, table 3: mean CCC of valence and arousal on fold 1 of Aff-Wild2 (video, audio and
# text, K × K maps) by the number of recursions. Read from published notes on the paper, not from the paper itself.
PAPER_RECURSIONS: Mapping[int, float] = MappingProxyType({1: 0.607, 2: 0.618, 3: 0.629, 4: 0.615})

BASELINES = ("video", "audio", "concatenation", "scores")


@dataclass(frozen=True)
class Option:
    """One fusion: its name in results, its words on the page, and the fields of the configuration that make it.

    `paper` is the mean CCC of valence and arousal that the paper gives for it, None where it gives none. `shipped`: the
    fusion of the committed demo weights.
    """

    system: SystemName
    name: str
    words: str
    changes: Mapping[str, object]
    paper: float | None = None
    shipped: bool = False

    @property
    def attends(self) -> bool:
        """Whether a modality looks at another; the rest are baselines."""
        return self.name not in BASELINES

    def network(self, demo: Config) -> Network:
        """A network of the demo's encoders and this fusion, with fresh weights from torch's global generator."""
        return SYSTEMS[self.system.removesuffix("-text")][1](dataclasses.replace(demo, **dict(self.changes)))


def _rcma(name: str, words: str, **changes: object) -> Option:
    return Option("rcma", name, words, changes)


def _recursions(form: str, words: str, shipped: int = 0, paper: Mapping[int, float] | None = None) -> list[Option]:
    return [
        Option(
            "rcma",
            f"{form}-{layers}",
            f"{words}, l = {layers}",
            {"attention": form, "attention_layers": layers},
            paper=(paper or {}).get(layers),
            shipped=layers == shipped,
        )
        for layers in (1, 2, 3, 4)
    ]


def _cav(name: str, words: str, *, shipped: bool = False, **changes: object) -> Option:
    return Option("cav", name, words, changes, shipped=shipped)


# RCMA's demo is `all-raw` with two layers, CAV's the attention as released: column softmax, sum, temperature 1.
OPTIONS: Mapping[SystemName, tuple[Option, ...]] = MappingProxyType(
    {
        "rcma": (
            _rcma("video", "video alone", modalities=("video",), attention_layers=0),
            _rcma("audio", "audio alone", modalities=("audio",), attention_layers=0),
            _rcma("concatenation", "concatenation, no attention", attention_layers=0),
            _rcma(
                "others-projected-2",
                "others-projected, l = 2",
                attention="others-projected",
                attention_layers=2,
            ),
            _rcma("all-projected-2", "all-projected, l = 2", attention="all-projected", attention_layers=2),
            *_recursions("all-raw", "all-raw", shipped=2),
            *_recursions("time-map", "time-map", paper=PAPER_RECURSIONS),
        ),
        "cav": (
            _cav("video", "video alone", modalities=("video",), fusion="concatenation"),
            _cav("audio", "audio alone", modalities=("audio",), fusion="concatenation"),
            _cav("concatenation", "concatenation (early)", fusion="concatenation"),
            _cav("scores", "mean of scores (late)", fusion="scores"),
            _cav("attention", "attention as released", fusion="cross-attention", shipped=True),
            _cav("attention-row", "attention, row softmax", fusion="cross-attention", softmax_axis="row"),
            _cav("attention-residual", "attention, residual + tanh", fusion="cross-attention", residual_tanh=True),
            _cav(
                "attention-concatenation", "attention, concatenated", fusion="cross-attention", combine="concatenation"
            ),
            _cav("attention-temperature", "attention, temperature 0.1", fusion="cross-attention", temperature=0.1),
        ),
    }
)

# What the words add to RCMA's demo: the same fusion over fewer modalities.
TEXT_OPTIONS: tuple[Option, ...] = (
    Option("rcma-text", "text", "text alone", {"modalities": ("text",), "attention_layers": 0}),
    Option("rcma-text", "video+audio", "video and audio", {"modalities": ("video", "audio")}),
    Option("rcma-text", "video+audio+text", "video, audio and text", {}, shipped=True),
)
