"""What a calibration decided and why, on one page: costs and losses of every candidate, layers, answers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from affectrt.bundle.manifest import Candidate, Guarded, Selection

from .calibration_figures import Answers, answers_svg, sensitivity_svg
from .page import document, fact_list, table, write_page

__all__ = ["CalibrationResult", "calibration_html", "write_calibration_page"]

WIDE_PX, NARROW_PX = 960, 380
WORDS = {
    "truth": "<b>CCC</b> is the concordance correlation coefficient against the annotation: 1 is a perfect copy, 0 "
    "none. FP32 and each choice answered the same videos; <b>loss</b> is the difference, its interval from resampling "
    "whole videos, the same ones for both.",
    "agreement": "<b>No truth is known here.</b> The figures are the concordance (CCC) between the answers in FP32 and "
    "those of each choice, 1 being the same answers; they say nothing about how good either is.",
}


@dataclass(frozen=True)
class CalibrationResult:
    """`answers`, where shown: times in seconds, FP32's estimates of one recording, those of what was chosen."""

    bundle: str
    selections: Sequence[Selection]
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    answers: tuple[Sequence[float], Answers, Answers] | None = None


def write_calibration_page(result: CalibrationResult, path: str | os.PathLike[str]) -> Path:
    """Write the page to `path`, whole or not at all."""
    return write_page(calibration_html(result), path)


def calibration_html(result: CalibrationResult) -> str:
    """The page as text."""
    title = f"{result.bundle}: {'; '.join(_in_words(chosen) for chosen in result.selections)}"
    parts = [f'<p class="kicker">affectrt calibrate</p>\n<h1>{escape(title)}</h1>']
    for chosen in result.selections:
        parts += [f"<h2>{escape(chosen.target)}: every candidate</h2>", _candidates(chosen)]
        if chosen.forced:
            parts.append('<p class="note"><b>Forced.</b> A person chose against the guard or the clock.</p>')
        if chosen.judged:
            parts += [f"<h2>{escape(chosen.target)}: what is lost</h2>", _judged(chosen)]
        if chosen.sensitivities:
            kept = {(row.stage, layer) for row in chosen.candidates for layer in row.kept}
            figure = _both(
                sensitivity_svg(chosen.sensitivities, kept, f"{chosen.target}-wide", WIDE_PX),
                sensitivity_svg(chosen.sensitivities, kept, f"{chosen.target}-narrow", NARROW_PX),
            )
            parts += [f"<h2>{escape(chosen.target)}: each layer alone in eight bits</h2>", figure]
    if result.answers is not None:
        parts += [
            "<h2>The answers</h2><p>FP32 as the broad line, the chosen precisions on it.</p>",
            _both(
                answers_svg(*result.answers, "answers-wide", WIDE_PX),
                answers_svg(*result.answers, "answers-narrow", NARROW_PX),
            ),
        ]
    if result.facts:
        parts += ["<h2>What was measured, and where</h2>", fact_list(result.facts)]
    parts.append("<footer>The same numbers are in the bundle's manifest, under selections.</footer>")
    return document(f"affectrt calibrate: {title}", "\n".join(parts))


def _in_words(chosen: Selection) -> str:
    runs = ", ".join(f"{stage} {precision}" for stage, precision in chosen.plan.items())
    return f"{chosen.target} runs {runs}"


def _candidates(chosen: Selection) -> str:
    head = ("stage", "precision", "size", "a row", "speed", "of peak", "error", "kept", "verdict")
    return f'<div class="wide-scroll">{table(head, [_row(row) for row in chosen.candidates])}</div>'


def _row(row: Candidate) -> list[str]:
    gain = row.speed_up
    return [
        escape(row.stage),
        escape(row.precision),
        f"{row.size_bytes / 1e6:.2f} MB",
        "" if row.latency_ms is None else f"{row.latency_ms:.3f} ms",
        "" if gain is None else f"{gain.value:.2f}×",
        "" if row.share_of_peak is None else f"{row.share_of_peak:.0%}",
        "" if row.error is None else f"{row.error:.2%}",
        str(len(row.kept) or ""),
        escape(row.verdict),
    ]


def _judged(chosen: Selection) -> str:
    head = ("plan", "kept", "CCC", "FP32", "plan's", "loss", "guard")
    rows = [
        [
            *(_plan(found, chosen), str(found.kept or ""), name),
            *(of.reference.in_words(), of.candidate.in_words(), of.loss.in_words(4)),
            escape("; ".join(found.problems)) or "passes",
        ]
        for found in chosen.judged
        for name, of in found.ccc.items()
    ]
    first = chosen.judged[0]
    where = f"{escape(first.corpus)}, {first.videos} recordings, computed by {escape(first.backend)}."
    allowed = f"Allowed: {first.max_loss:g}, and {first.max_upper_loss:g} at the upper end of the interval."
    return f'<div class="wide-scroll">{table(head, rows)}</div><p>{where} {allowed} {WORDS[first.kind]}</p>'


def _plan(found: Guarded, chosen: Selection) -> str:
    runs = ", ".join(f"{stage} {precision}" for stage, precision in found.plan.items())
    return f"<b>{escape(runs)}</b>" if found is chosen.guard else escape(runs)


def _both(wide: str, narrow: str) -> str:
    return f'<figure><div class="wide">{wide}</div><div class="narrow">{narrow}</div></figure>'
