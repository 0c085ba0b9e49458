"""CCC on stdout: one row per set of modalities, and what was selected by it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from affectrt.bundle import Bundle, Candidate, Selection
    from affectrt.training.evaluation import Agreement, Evaluation

__all__ = ["print_agreements", "print_author_notes", "print_measures", "print_scores", "print_selections"]

FEW_VIDEOS = 5


def print_scores(evaluations: Sequence[Evaluation]) -> None:
    """A table of CCC with 95 % intervals; the caller's evaluations share corpus, split and hop."""
    first = evaluations[0]
    table = Table(
        title=f"CCC on {first.corpus}, {first.split}: {len(first.videos)} videos, "
        f"{first.precision} on {first.backend}, hop {first.hop_steps}{_windows(first.windows)}",
        caption=f"95 % intervals from resampling videos{_few(len(first.videos))}{_compared(first.described_steps)}",
    )
    table.add_column("modalities")
    for name in first.ccc:
        table.add_column(name, justify="right")
    table.add_column("mean", justify="right")
    for evaluation in evaluations:
        cells = [interval.in_words() for interval in evaluation.ccc.values()]
        table.add_row("+".join(evaluation.modalities), *cells, f"{evaluation.mean:.3f}")
    Console(highlight=False).print(table)


def print_measures(evaluations: Sequence[Evaluation]) -> None:
    """A table of RMSE, Pearson's r and the authors' metrics; otherwise as `print_scores`."""
    first = evaluations[0]
    table = Table(title=f"other measures{_windows(first.windows)}")
    table.add_column("modalities")
    for metric, found in (("RMSE", first.rmse), ("r", first.pearson), *first.author.items()):
        for name in found:
            table.add_column(f"{metric}\n{name}", justify="right")
    for e in evaluations:
        cells = [interval.in_words() for found in (e.rmse, e.pearson) for interval in found.values()]
        cells += [f"{value:.3f}" for found in e.author.values() for value in found.values()]
        table.add_row("+".join(e.modalities), *cells)
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=180)
    console.print(table)


def print_author_notes() -> None:
    """What is wrong with the authors' metrics."""
    from affectrt.training.evaluation_report import AUTHOR_NOTES

    console = Console(highlight=False)
    for name, note in AUTHOR_NOTES.items():
        console.print(f"{name}: {note}", markup=False)


def print_agreements(agreements: Sequence[Agreement]) -> None:
    """Whether stream and offline windows say the same, a line for each set of modalities."""
    console = Console(highlight=False)
    for a in agreements:
        told = f"largest difference {a.largest:.2e} over {a.steps} steps"
        if a.video is not None and not a.agree:
            told += f", in {a.video}"
        if a.alone:
            told += f"; {a.alone} steps have an estimate of only one"
        word = "agree" if a.agree else "do not agree"
        console.print(f"{'+'.join(a.modalities)}: stream and offline windows {word}: {told}", markup=False)


def _few(videos: int) -> str:
    return f"; of {videos} alone they say little" if videos < FEW_VIDEOS else ""


def _windows(rule: str) -> str:
    return "" if rule == "stream" else f", {rule} windows"


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
        if chosen.judged:
            console.print(_judged(chosen))


def _judged(chosen: Selection) -> Table:
    first = chosen.judged[0]
    of = {"truth": "CCC", "agreement": "agreement with FP32 (CCC)"}[first.kind]
    table = Table(
        title=f"{of} on {first.corpus}, {first.videos} recordings",
        caption=f"95 % intervals from resampling videos, of the loss paired; it may be {first.max_loss:g}, and "
        f"{first.max_upper_loss:g} at its upper end",
    )
    for name in ("plan", "dimension"):
        table.add_column(name)
    for name in ("FP32", "plan's", "loss"):
        table.add_column(name, justify="right")
    table.add_column("guard")
    for found in chosen.judged:
        runs = ", ".join(f"{stage} {precision}" for stage, precision in found.plan.items())
        runs += f"; {found.kept} layers kept" if found.kept else ""
        runs += " (selected)" if found is chosen.guard else ""
        word = "; ".join(found.problems) or "passes"
        for dimension, row in found.ccc.items():
            figures = (row.reference.in_words(), row.candidate.in_words(), row.loss.in_words(4))
            table.add_row(runs, dimension, *figures, word)
            runs = word = ""
        if not found.ccc:
            table.add_row(runs, "", "", "", "", word)
    return table


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
