"""CCC on stdout: one row per set of modalities, and what was selected by it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from affectrt.bundle import Bundle, Candidate
    from affectrt.bundle.manifest import Interval
    from affectrt.training.evaluate import Evaluation

__all__ = ["print_scores", "print_selections"]


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


def print_selections(bundle: Bundle) -> None:
    """A table of candidates and one of what is lost, for each target that something was selected for."""
    # A pipe has no width; a table must not be cut to fit one.
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=140)
    for chosen in bundle.manifest.selections:
        table = Table(title=f"{chosen.target}, on {chosen.machine}" + (", forced" if chosen.forced else ""))
        for name in ("stage", "precision"):
            table.add_column(name)
        for name in ("MB", "ms a row", "speed", "of peak", "error", "kept"):
            table.add_column(name, justify="right")
        table.add_column("verdict")
        for row in chosen.candidates:
            table.add_row(*_cells(row))
        console.print(table)
        if chosen.guard is None:
            console.print("nothing was judged: FP32 runs\n")
            continue
        of = {"truth": "CCC", "agreement": "agreement with FP32 (CCC)"}[chosen.guard.kind]
        table = Table(
            title=f"{of} on {chosen.guard.corpus}, {chosen.guard.videos} recordings: "
            + ("the guard passes" if chosen.guard.passed else "the guard does NOT pass"),
            caption="95 % intervals from resampling videos; of the loss, paired by video",
        )
        table.add_column("")
        for name in ("FP32", "selected", "loss"):
            table.add_column(name, justify="right")
        for dimension, found in chosen.guard.ccc.items():
            table.add_row(dimension, _told(found.reference), _told(found.candidate), _told(found.loss, 4))
        console.print(table)


def _cells(row: Candidate) -> tuple[str, ...]:
    gain = row.speed_up
    return (
        row.stage,
        row.precision,
        f"{row.size_bytes / 1e6:.2f}",
        "" if row.latency_ms is None else f"{row.latency_ms:.3f}",
        "" if gain is None else f"{gain.value:.2f}× [{gain.low:.2f}, {gain.high:.2f}]",
        "" if row.share_of_peak is None else f"{row.share_of_peak:.0%}",
        "" if row.error is None else f"{row.error:.2%}",
        str(len(row.kept) or ""),
        row.verdict,
    )


def _compared(described_steps: int) -> str:
    if described_steps == 1:
        return ""
    return f"; estimates against means of the annotation over the {described_steps} steps up to theirs"


def _told(interval: Interval, digits: int = 3) -> str:
    if interval.low is None or interval.high is None:
        return f"{interval.value:.{digits}f}"
    return f"{interval.value:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"
