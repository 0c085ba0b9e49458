"""Estimates beside the annotation over time, as the papers draw them: one SVG for each video."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from .evaluation import Played
from .play import Rows

__all__ = ["COLOURS", "series_svg", "thinned"]

# Blue and orange stay apart for every eye; the annotation is grey and broader.
COLOURS = {"valence": "#2a5d9f", "arousal": "#d2691e"}
TRUTH = "#8a94a0"
POINTS = 600
WIDTH, HEIGHT, LEFT, TOP, GAP = 900, 120, 34, 16, 26


def thinned(times_s: Rows, values: Rows, points: int = POINTS) -> tuple[Rows, Rows]:
    """At most `points` of a series: means over as many rows each, NaN where none of them has a value."""
    each = max(1, -(-len(values) // points))
    if each == 1:
        return times_s, values
    starts = np.arange(0, len(values), each)
    known = ~np.isnan(values)
    counts = np.add.reduceat(known.astype(np.float64), starts)
    sums = np.add.reduceat(np.where(known, values, 0.0), starts)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return np.add.reduceat(times_s, starts) / np.diff([*starts, len(values)]), means


def series_svg(played: Played, outputs: Sequence[str]) -> str:
    """A panel for each output, -1 … 1 over seconds of media time."""
    last = float(played.times_s[-1]) if len(played.times_s) else 0.0
    scale = (WIDTH - LEFT - 10) / max(last, 1e-9)
    panels = [_panel(played, column, name, scale, last) for column, name in enumerate(outputs)]
    height = len(panels) * (HEIGHT + TOP + GAP)
    label = f"{' and '.join(outputs)} of {played.name}: estimates and annotation over time"
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" aria-label="{escape(label)}">'
        f"{''.join(panels)}</svg>"
    )


def _panel(played: Played, column: int, name: str, scale: float, last: float) -> str:
    top = column * (HEIGHT + TOP + GAP) + TOP
    right, middle = WIDTH - 10, top + HEIGHT / 2
    drawn = [
        f'<rect x="{LEFT}" y="{top}" width="{right - LEFT}" height="{HEIGHT}" fill="none" stroke="{TRUTH}"/>'
        f'<path d="M{LEFT} {middle}H{right}" stroke="{TRUTH}" stroke-dasharray="3"/>'
        f'<text x="{LEFT}" y="{top - 4}">{escape(name)}</text>'
        f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">1</text>'
        f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">−1</text>'
        f'<text x="{LEFT}" y="{top + HEIGHT + 14}">0 s</text>'
        f'<text x="{right}" y="{top + HEIGHT + 14}" text-anchor="end">{last:.1f} s</text>'
    ]
    lines = ((played.truth, TRUTH, 3.0, "truth"), (played.rows, COLOURS.get(name, "#2a5d9f"), 1.4, "estimate"))
    for rows, colour, width, what in lines:
        times, values = thinned(played.times_s, rows[:, column])
        x = LEFT + times * scale
        y = middle - np.clip(values, -1, 1) * HEIGHT / 2
        drawn.append(
            f'<path class="{what}" d="{_path(x, y)}" fill="none" stroke="{colour}" stroke-width="{width}" '
            'stroke-linejoin="round" stroke-linecap="round"/>'
        )
    return "".join(drawn)


def _path(x: Iterable[float], y: Iterable[float]) -> str:
    """Broken where there is no value; one value alone is a dot."""
    parts, drawing = [], False
    for at, value in zip(x, y, strict=True):
        if np.isnan(value):
            drawing = False
            continue
        parts.append(f"{'L' if drawing else 'M'}{at:.1f} {value:.1f}" + ("" if drawing else "h0"))
        drawing = True
    return "".join(parts)
