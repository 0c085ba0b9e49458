"""Who says how good a candidate is: something that plays videos through engines and compares the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from affectrt.bundle.manifest import Compared
from affectrt.runtime.engines.base import Engine

__all__ = ["Comparison", "Judge", "Played", "Rows"]

Rows = npt.NDArray[np.float64]
"""Estimates of one video, shape (rows, outputs); NaN where there is none."""

Played = Sequence[Rows]
"""One array a video, always in the same order."""

Comparison = Compared
"""Of one dimension, as a manifest keeps it: CCC of FP32 and of a candidate, and the loss, each with a 95 % interval."""


class Judge(Protocol):
    """Plays the same videos for every candidate. The order of `outputs` is that of the columns of what was played.

    `kind` "truth": CCC against annotation. "agreement": no truth is known, FP32 is taken for it, so that its CCC is 1
    and a candidate's is that between the two outputs. `corpus` says in words what is played.
    """

    @property
    def kind(self) -> Literal["truth", "agreement"]: ...

    @property
    def corpus(self) -> str: ...

    @property
    def videos(self) -> int: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...

    def play(self, engines: Mapping[str, Engine]) -> Played:
        """Every video through one engine per stage."""
        ...

    def compare(self, reference: Played, candidate: Played) -> Mapping[str, Comparison]:
        """By output. Both arguments come from `play` of this very judge."""
        ...
