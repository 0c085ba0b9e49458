"""CCC on stdout: one row per set of modalities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from affectrt.bundle.manifest import Interval
    from affectrt.training.evaluate import Evaluation

__all__ = ["print_scores"]


def print_scores(evaluations: Sequence[Evaluation]) -> None:
    """A table of CCC with 95 % intervals; the caller's evaluations share corpus, split and hop."""
    first = evaluations[0]
    table = Table(
        title=f"CCC on {first.corpus}, {first.split}: {len(first.videos)} videos, "
        f"{first.precision} on {first.backend}, hop {first.hop_steps}",
        caption=f"95 % intervals from resampling videos{_compared(first.described_steps)}",
    )
    table.add_column("modalities")
    for name in first.ccc:
        table.add_column(name, justify="right")
    table.add_column("mean", justify="right")
    for evaluation in evaluations:
        cells = [_told(interval) for interval in evaluation.ccc.values()]
        table.add_row("+".join(evaluation.modalities), *cells, f"{evaluation.mean:.3f}")
    Console(highlight=False).print(table)


def _compared(described_steps: int) -> str:
    if described_steps == 1:
        return ""
    return f"; estimates against means of the annotation over the {described_steps} steps up to theirs"


def _told(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return f"{interval.value:.3f}"
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
