"""What a candidate may lose: the rule between a graph that is faster and a graph that is as good."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from affectrt.bundle.errors import UsageError

if TYPE_CHECKING:
    from .judging import Comparison

__all__ = ["Guard"]

LARGEST_LOSS = 2.0  # from CCC 1 to CCC −1


@dataclass(frozen=True)
class Guard:
    """Passes a candidate whose loss of CCC is at most `max_loss` in every dimension, and, so that chance cannot have
    passed it, the upper end of whose paired 95 % interval is at most `max_upper_loss`.

    Raises UsageError unless 0 ≤ `max_loss` ≤ `max_upper_loss` ≤ 2.
    """

    max_loss: float = 0.01
    max_upper_loss: float = 0.02

    def __post_init__(self) -> None:
        for flag, allowed in (("--max-loss", self.max_loss), ("--max-upper-loss", self.max_upper_loss)):
            if not 0 <= allowed <= LARGEST_LOSS:  # NaN too
                raise UsageError(
                    f"{flag} {allowed:g}", expected="a loss of CCC, 0 to 2", fix="--max-loss 0.01 --max-upper-loss 0.02"
                )
        if self.max_upper_loss < self.max_loss:
            raise UsageError(
                f"--max-upper-loss {self.max_upper_loss:g} is below --max-loss {self.max_loss:g}",
                expected="the interval may reach further than the loss itself, never less far",
                fix=f"--max-loss {self.max_loss:g} --max-upper-loss {min(2 * self.max_loss, LARGEST_LOSS):g}",
            )

    def problems(self, comparisons: Mapping[str, Comparison]) -> list[str]:
        """One line for each thing that keeps a candidate from passing; none: it passes.

        A guard that cannot speak passes nothing: no dimension, no interval (a single video has none), NaN, or an FP32
        so poor that an answer which never changes, whose CCC is 0, would pass as well.
        """
        if not comparisons:
            return ["nothing was compared"]
        return [f"{name}: {problem}" for name, found in comparisons.items() for problem in self._problems(found)]

    def _problems(self, found: Comparison) -> Iterator[str]:
        loss, upper, reference = found.loss.value, found.loss.high, found.reference
        if not all(map(math.isfinite, (loss, reference.value, found.candidate.value))):
            yield "no CCC could be computed"
            return
        if not loss <= self.max_loss:
            yield (
                f"loses {loss:.4f} CCC ({reference.value:.3f} to {found.candidate.value:.3f}), "
                f"more than {self.max_loss:g}"
            )
        if upper is None:
            yield "the loss has no interval, for which two videos or more are needed: the guard cannot speak"
            return
        if not upper <= self.max_upper_loss:
            yield (
                f"may lose {upper:.4f} CCC, the upper end of the 95 % interval of a loss of {loss:.4f}; "
                f"more than {self.max_upper_loss:g}"
            )
        highest = reference.value if reference.high is None else reference.high
        if reference.value <= self.max_loss and highest <= self.max_upper_loss:
            yield (
                f"FP32 itself has CCC {reference.value:.3f}, so that an answer which never changes would pass: "
                "the guard cannot speak"
            )
