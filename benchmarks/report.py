"""The demo's report: one HTML page that needs nothing from anywhere, made to be looked at before it is read."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from html import escape
from pathlib import Path

import numpy as np

from .demo_result import DIMENSIONS, PARTS, DemoResult, PrecisionRun, headline, number
from .figures import MARGIN_PX, RUN_ROLES, plane_svg, time_split_svg, timeline_svg
from .page import document, fact_list, image, table, write_page

__all__ = ["report_html", "write_report"]

NARROW_PX = 380
WIDE_PX = 960

NOTE = (
    "<b>Drawn faces, synthetic voice.</b> Both the training material and this clip come from a generator that knows "
    "the true valence and arousal because it drew them. The page shows that the chain works, from checkpoint to INT8 "
    "to live pipeline, and how fast. It says nothing about how well anything reads people."
)

MEANING = (
    "<b>CCC</b> is the concordance correlation coefficient over {over}: 1 is perfect agreement in shape, level and "
    "scale, 0 is none, negative is opposed. A curve of the right shape at the wrong level does not score 1. "
    "<b>Valence</b> runs from unpleasant (−1) to pleasant (+1), <b>arousal</b> from calm (−1) to excited (+1)."
)

NOT_FOR = (
    "Valence and arousal rate how an expression looks to an observer. They are not a reading of what someone feels, "
    "thinks or intends, and a neutral face is no evidence of a neutral mind.",
    "In the European Union, inferring emotions of people at work or in education is prohibited except for medical or "
    "safety reasons (AI Act, Article 5(1)(f)); where it is allowed, those exposed must be told (Article 50(3)).",
    "Not for decisions about a person: hiring, grading, policing, credit, insurance, border control, care.",
)

LIMITS = (
    "One short clip of one drawn identity. It was not among the identities of training, but it comes from the same "
    "generator, so the score says how well the model learnt that generator.",
    "The demo's model is far smaller than the papers'. Its speed is not theirs; <code>affectrt bench</code> measures "
    "the paper-size model on this machine.",
    "Speed is the median of a few runs in turn, on a machine that may have been doing other things: its load before "
    "them is among the facts above.",
)


def write_report(result: DemoResult, path: str | os.PathLike[str]) -> Path:
    """Write the page to `path`, whole or not at all."""
    return write_page(report_html(result), path)


def report_html(result: DemoResult) -> str:
    """The page as text. ValueError when the result holds no run."""
    if not result.runs:
        raise ValueError("a report needs at least one run")
    sections = (
        _head(result),
        _tiles(result),
        _clip(result),
        _agreement(result),
        _time(result),
        "<h2>What ran, and where</h2>" + fact_list(result.facts),
        "<h2>What this must not be used for</h2>" + _bullets(NOT_FOR),
        "<h2>Limits of this page</h2>" + _bullets(LIMITS),
        "<footer>Made by <code>affectrt demo</code>. The same numbers, unrounded, are in summary.json beside "
        "this page; every estimate is in predictions-*.jsonl.</footer>",
    )
    return document("affectrt demo: " + headline(result), "\n".join(s for s in sections if s))


def _head(result: DemoResult) -> str:
    made = f" · {escape(result.made_on)}" if result.made_on else ""
    return f'<p class="kicker">affectrt demo{made}</p>\n<h1>{escape(headline(result))}</h1>\n<p class="note">{NOTE}</p>'


def _tiles(result: DemoResult) -> str:
    last = result.runs[-1]
    tiles = []
    for name in DIMENSIONS:
        detail = _each(result, lambda run, name=name: number(run.ccc.get(name, math.nan)))  # type: ignore[misc]
        tiles.append((f"{name.capitalize()}, CCC", number(last.ccc.get(name, math.nan), 2), detail))
    detail = _each(result, lambda run: f"{number(result.times_real_time(run), 1)}×")
    tiles.append(("Times real time", f"{number(result.times_real_time(last), 0)}×", detail))
    if last.graph_bytes:
        detail = _each(result, lambda run: f"{run.graph_bytes / 1e6:.1f} MB")
        tiles.append(("Graphs", f"{last.graph_bytes / 1e6:.1f} MB", detail))
    cells = "".join(
        f'<div class="tile"><span>{escape(name)}</span><b>{value}</b><span>{escape(detail)}</span></div>'
        for name, value, detail in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _each(result: DemoResult, value: Callable[[PrecisionRun], str]) -> str:
    return " · ".join(f"{run.label} {value(run)}" for run in result.runs)


def _clip(result: DemoResult) -> str:
    figure = (
        f'<figure>{_strip(result)}<div class="wide">{timeline_svg(result, WIDE_PX)}</div>'
        f'<div class="narrow">{timeline_svg(result, NARROW_PX)}</div></figure>'
    )
    told = f"{escape(result.clip)}, {result.clip_s:.1f} s, {_rhythm(result)}"
    if result.warm_up_s > 0:
        told += (
            f" While it is warming up (shaded, {result.warm_up_s:.1f} s) the model has seen less media than it looks "
            "back at later."
        )
    return f"<h2>What the model saw, and what it said</h2>\n<p>{told}</p>\n{_legend(result)}\n{figure}"


def _rhythm(result: DemoResult) -> str:
    """How often there is an estimate, and of what."""
    often = f"at {result.step_hz:g} estimates a second"
    if result.estimate_every_s > 0:
        often = f"with an estimate every {result.estimate_every_s:.2f} s"
    if result.described_s == 0:
        return f"{often}."
    return (
        f"{often}, each of the mean over the {result.described_s:.2f} s up to its time. The truth is shown, and "
        "compared, as the same mean; at the beginning it is over what there is."
    )


def _strip(result: DemoResult) -> str:
    if not result.stills:
        return ""
    cells = "".join(
        f"<li>{image(s.rgb, side_px=184, text=f'frame at {s.t_s:.1f} seconds')}{s.t_s:.1f} s</li>"
        for s in result.stills
    )
    count = len(result.stills)
    # The columns span the time axis below them, so that a frame stands above its moment.
    style = (
        f"grid-template-columns: repeat({count}, 1fr); --few: {(count + 1) // 2}; padding: 0 "
        f"{100 * MARGIN_PX['right'] / WIDE_PX:.2f}% 0 {100 * MARGIN_PX['left'] / WIDE_PX:.2f}%"
    )
    return f'<ol class="strip" style="{style}">{cells}</ol>'


def _legend(result: DemoResult) -> str:
    drawn = "truth (drawn by the generator)"
    if result.described_s > 0:
        drawn = f"truth (drawn by the generator), mean over {result.described_s:.2f} s"
    entries = [("truth", 3.4, "", drawn)]
    for run, role, dashes in zip(result.runs, RUN_ROLES, ("", "5 3", "1.5 2.5"), strict=False):
        entries.append((role, 2.0, dashes, run.label))
    cells = "".join(
        f'<li><svg viewBox="0 0 34 10" aria-hidden="true"><line x1="0" y1="5" x2="34" y2="5" '
        f'style="stroke: var(--{role}); stroke-width: {width}; stroke-dasharray: {dashes or "none"}"/></svg>'
        f"{escape(text)}</li>"
        for role, width, dashes, text in entries
    )
    return f'<ul class="legend">{cells}</ul>'


def _agreement(result: DemoResult) -> str:
    caption = "Each path ends in a dot. Rings at 0.5 and 1."
    plane = f"<figure>{plane_svg(result)}<figcaption>{caption}</figcaption></figure>"
    words = f"<p>{MEANING.format(over=escape(result.ccc_over))}</p>"
    return (
        f'<div class="pair keep"><div><h2>The path through the plane</h2>{plane}</div>'
        f"<div><h2>Agreement with the truth</h2>{_ccc_table(result)}{words}</div></div>"
    )


def _ccc_table(result: DemoResult) -> str:
    first, others = result.runs[0], result.runs[1:]
    head = ["CCC", *(r.label for r in result.runs), *(f"{r.label} − {first.label}" for r in others)]
    rows = []
    for name in DIMENSIONS:
        values = [run.ccc.get(name, math.nan) for run in result.runs]
        rows.append([name, *map(number, values), *(number(v - values[0], sign=True) for v in values[1:])])
    html = table(head, rows)
    for run in others:
        apart = ", ".join(f"{name} {number(_apart(first, run, name))}" for name in DIMENSIONS)
        html += f"<p>Largest difference between {run.label} and {first.label} in any one estimate: {apart}.</p>"
    return html


def _apart(first: PrecisionRun, other: PrecisionRun, dimension: str) -> float:
    one, two = first.curve.of(dimension), other.curve.of(dimension)
    if one.shape != two.shape:
        return math.nan
    gaps = np.abs(one - two)
    return float(np.nanmax(gaps)) if np.isfinite(gaps).any() else math.nan


def _time(result: DemoResult) -> str:
    budget = 1000 / result.step_hz
    rows = []
    for part, name in PARTS.items():
        swatch = f'<span class="swatch" style="background: var(--{part})"></span>{name}'
        cells = []
        for run in result.runs:
            ran = run.plan.get(part, "")
            mark = f' <span class="unit">{escape(ran)}</span>' if ran else ""
            cells.append(number(result.ms_per_step(run, part), 2) + mark)
        rows.append([swatch, *cells])
    rows.append(["all parts", *(number(sum(result.ms_per_step(r, p) for p in PARTS), 2) for r in result.runs)])
    walls = [1000 * run.wall_s / max(1, result.steps) for run in result.runs]
    rows.append(["on the clock", *(number(wall, 2) for wall in walls)])
    rows.append(["× real time", *(number(result.times_real_time(run), 1) for run in result.runs)])
    html = table(["milliseconds a step", *(run.label for run in result.runs)], rows, total=True, small=True)
    return (
        "<h2>Where the time goes</h2>\n"
        f"<p>A step is {budget:.0f} ms of media; the figures are means over all of them. Decoding has threads of its "
        f'own; shown is the wait for it.</p>\n<figure><div class="wide">{time_split_svg(result, WIDE_PX)}</div>'
        f'<div class="narrow">{time_split_svg(result, NARROW_PX)}</div></figure>\n{html}'
    )


def _bullets(items: tuple[str, ...]) -> str:
    return '<ul class="plain">' + "".join(f"<li>{item}</li>" for item in items) + "</ul>"
