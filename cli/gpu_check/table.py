"""What a check found, for people: outcomes, then one table for each kind of figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .figures import Build, Latency, Parity, Timed
from .record import GpuCheck, Outcome, in_words

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["outcome_line", "print_check"]

MARKS = {"passed": "ok", "failed": "FAILED", "absent": "--"}


def outcome_line(outcome: Outcome) -> str:
    """Such as `ok      12.3 s  copy bandwidth`."""
    reason = f": {outcome.reason}" if outcome.reason else ""
    return f"{MARKS[outcome.status]:<6} {outcome.seconds:6.1f} s  {outcome.step}{reason}"


def print_check(check: GpuCheck, console: Console) -> None:
    """Everything but the outcomes, which were told as they came."""
    kind = "SIMULATED: these figures say nothing about any machine\n" if check.simulated else ""
    console.print(f"\n{kind}{check.gpu}, revision {check.revision or 'unknown'}", markup=False)
    for title, facts in (("found", check.findings.facts), ("before", check.before), ("after", check.after)):
        if facts:
            console.print(f"{title}: {in_words(facts)}", style="dim", markup=False, soft_wrap=True)
    for title, columns, rows in _tables(check):
        _print(console, f"{title}, simulated" if check.simulated else title, columns, list(rows))


def _tables(check: GpuCheck) -> Iterable[tuple[str, Sequence[str], Iterable[Sequence[str]]]]:
    found = check.findings
    yield "libraries", ("name", "where"), ((row.name, row.where) for row in found.libraries)
    yield "checks", ("check", "", "seen"), ((c.name, "ok" if c.passed else "FAILED", c.seen) for c in found.checks)
    yield "copies", ("way", "GB/s"), ((row.kind, f"{row.gbyte_per_s:.1f}") for row in found.copies)
    yield (
        "matrix peak",
        ("precision", "library", "shape", "GMAC/s"),
        ((row.precision, row.library, row.shape, f"{row.gmac_per_s:.0f}") for row in found.peaks),
    )
    yield (
        "engines",
        ("bundle", "stage", "precision", "build s", "MB", "layers"),
        (
            (
                *_of(r),
                f"{r.build_s:.1f}",
                f"{r.size_bytes / 1e6:.2f}",
                _told(r.layers),
            )
            for r in found.builds
        ),
    )
    yield (
        "against ONNX Runtime on the CPU",
        ("bundle", "stage", "precision", "backend", "variant", "relative", "allowed", ""),
        (
            (
                *_of(r),
                r.backend,
                r.variant,
                f"{r.relative:.1e}",
                f"{r.tolerance:g}",
                "ok" if r.passed else "FAILED",
            )
            for r in found.parities
        ),
    )
    yield (
        "latency, ms a call",
        ("bundle", "stage", "precision", "backend", "variant", "clock", "copies", "batch", *LATENCIES),
        (
            (
                *_of(r),
                r.backend,
                r.variant,
                r.clock,
                "with" if r.transfers else "without",
                str(r.batch),
                *_cells(r.latency),
            )
            for r in found.timed
        ),
    )
    yield (
        "CCC beside FP32's on the CPU",
        ("bundle", "precision", "backend", "dimension", "FP32", "here", "loss"),
        (
            (
                r.bundle,
                r.asked,
                r.backend,
                name,
                r.reference[name].in_words(),
                r.ccc[name].in_words(),
                r.loss[name].in_words(4),
            )
            for r in found.accuracy
            for name in r.ccc
        ),
    )
    yield (
        "networks on PyTorch",
        ("network", "precision", "batch", "ms a row", "GMAC", "GMAC/s", "of peak", "of bound", "graph"),
        (
            (
                r.network,
                r.precision,
                str(r.batch),
                f"{r.ms_per_row:.3f}",
                f"{r.gmac_per_row:.2f}",
                f"{r.gmac_per_s:.0f}",
                _share(r.share_of_peak),
                _share(r.share_of_bound),
                "captured" if r.captured else "no",
            )
            for r in found.rooflines
        ),
    )


LATENCIES = ("p50", "p90", "p99", "p99.9", "max")


def _cells(latency: Latency) -> tuple[str, ...]:
    values = (latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms)
    return tuple(f"{value:.3f}" for value in values)


def _print(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        table.add_column(name)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print()
    console.print(table)


def _of(row: Build | Parity | Timed) -> tuple[str, str, str]:
    """Bundle, stage with the length of its sentences, and precision: what was asked for, and what it fell back to."""
    fell = "" if row.asked == row.precision else f"→{row.precision}"
    length = "" if isinstance(row, Build) or row.length is None else f" {row.length}"
    return row.bundle, f"{row.stage}{length}", f"{row.asked}{fell}"


def _told(layers: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in layers.items())


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"
