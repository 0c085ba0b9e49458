"""The page about an evaluation: figures with their intervals, modalities taken away, and every video over time.

One HTML file that loads nothing from elsewhere. It shows curves, nobody's face.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from affectrt.bundle.manifest import Interval

from .evaluation import AGREE, Agreement, Evaluation, Examination
from .evaluation_figure import POINTS, series_svg
from .prepare.writer import write_text

__all__ = ["AUTHOR_NOTES", "WINDOWS_NOTES", "letters", "page", "write_report"]

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2430}
table{border-collapse:collapse;font-size:13px}td,th{padding:.2rem .7rem;border-bottom:1px solid #dde2e8;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}h2{margin-top:2.2rem}svg{max-width:100%;height:auto}
.wide{overflow-x:auto}svg text{font:12px system-ui,sans-serif;fill:#1c2430}.warn{border-left:4px solid #d2691e;
padding-left:.8rem}@media(prefers-color-scheme:dark){body{background:#14181d;color:#dfe5ec}
td,th{border-color:#333b45}svg text{fill:#dfe5ec}}"""

WINDOWS_NOTES = {
    "stream": "through the session that a live run uses",
    "offline": "the session's windows, formed over the features of the whole recording",
    "published": "the authors' windows: 300 rows every 200 and one at the end, overlaps averaged, over annotated rows; "
    "of one estimate a window, every whole window at a hop of 1",
}
AUTHOR_NOTES = {
    "ccc_author_rcma": "The RCMA code's: a covariance divided by n over variances divided by n − 1. A perfect copy "
    "would not reach 1; it lies below Lin's by up to (n − 1)/n.",
    "ccc_author_cav": "The CAV code's “accuracy”: estimates and annotation are each stretched to [0, 1], then the "
    "estimates are moved to the annotation's mean. The annotation it is judged by repairs errors of scale and offset, "
    "so it is no measure of agreement and must not be set beside a CCC.",
}
METRIC_WORDS = {"ccc": "CCC", "rmse": "RMSE", "pearson": "Pearson's r"}


def letters(modalities: Sequence[str]) -> str:
    """A, V, T, AV, AT, VT, AVT."""
    return "".join(letter for letter in "AVT" if letter in {name[0].upper() for name in modalities})


def write_report(examinations: Sequence[Examination], agreements: Sequence[Agreement], model: str, path: Path) -> Path:
    write_text(path, page(examinations, agreements, model))
    return path


def page(examinations: Sequence[Examination], agreements: Sequence[Agreement], model: str) -> str:
    """The whole page; `examinations` as `training.evaluate.examine` gives them, the first in detail."""
    first = examinations[0].evaluation
    title = f"{escape(model)} on {escape(first.corpus)}, {escape(first.split)}"
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>",
        f"<h1>{title}</h1><p>{len(first.videos)} videos, {escape(first.precision)} on {escape(first.backend)}, "
        f"hop {first.hop_steps}.{_compared(first)}</p>",
        "<h2>Modalities, together and taken away</h2><p>Over all videos together, with 95 % intervals from resampling "
        "videos. A modality that is not named was zeros to the fusion.</p>",
    ]
    for rule in dict.fromkeys(e.evaluation.windows for e in examinations):
        of_rule = [e.evaluation for e in examinations if e.evaluation.windows == rule]
        parts.append(f"<h3>{rule}</h3><p>{escape(WINDOWS_NOTES[rule])}</p><div class=wide>{_matrix(of_rule)}</div>")
    if agreements:
        parts += ["<h2>Stream against offline windows</h2>", _agreement(agreements)]
    if first.author:
        parts += ["<h2>The authors' own metrics</h2>", _authors([e.evaluation for e in examinations])]
    parts += [f"<h2>Videos</h2><p>{escape(_told(first))}</p><div class=wide>{_videos(first)}</div>"]
    parts.append(
        "<h2>Over time</h2><p>Grey and broad: the annotation. Coloured: the estimate. A series of more than "
        f"{POINTS} rows is drawn as {POINTS} means or fewer.</p>"
    )
    for score, played in zip(first.videos, examinations[0].played, strict=True):
        found = ", ".join(f"{name} {value:.3f}" for name, value in score.ccc.items() if not math.isnan(value))
        names = tuple(score.ccc)
        parts.append(f"<h3>{escape(score.name)}</h3><p>{'CCC: ' + found if found else 'not annotated'}</p>")
        parts.append(series_svg(played, names))
    return "\n".join([*parts, "</html>"]) + "\n"


def _told(evaluation: Evaluation) -> str:
    return f"{evaluation.windows}, {'+'.join(evaluation.modalities)}"


def _compared(evaluation: Evaluation) -> str:
    if evaluation.described_steps == 1:
        return ""
    return (
        f" Every estimate is compared with the mean of the annotation over the {evaluation.described_steps} steps up "
        "to its own; such figures cannot be set beside those of single pictures."
    )


def _matrix(evaluations: Sequence[Evaluation]) -> str:
    names = tuple(evaluations[0].ccc)
    if not names:
        return "<p>Nothing is annotated: there are no figures.</p>"
    columns = ["", "modalities", *(f"{METRIC_WORDS[m]}, {name}" for m in METRIC_WORDS for name in names), "mean CCC"]
    rows = []
    for e in evaluations:
        by_metric: tuple[Mapping[str, Interval], ...] = (e.ccc, e.rmse, e.pearson)
        cells = [found[name].in_words() if name in found else "" for found in by_metric for name in names]
        rows.append((letters(e.modalities), "+".join(e.modalities), *cells, f"{e.mean:.3f}"))
    return _table(columns, rows)


def _agreement(agreements: Sequence[Agreement]) -> str:
    rows = [
        (letters(a.modalities), "yes" if a.agree else "no", f"{a.largest:.2e}", a.video or "", a.steps, a.alone)
        for a in agreements
    ]
    table = _table(("", "agree", "largest difference", "in", "steps of both", "steps of one alone"), rows)
    if all(a.agree for a in agreements):
        return f"<p>They agree: no estimate differs by more than {AGREE:g}.</p>{table}"
    return f"<p class=warn>They do not agree to {AGREE:g} everywhere.</p>{table}"


def _authors(evaluations: Sequence[Evaluation]) -> str:
    parts = [f"<p class=warn><b>{name}</b>: {escape(note)}</p>" for name, note in AUTHOR_NOTES.items()]
    columns = ["windows", "", *(f"{m}, {name}" for m, found in evaluations[0].author.items() for name in found)]
    rows = [
        (e.windows, letters(e.modalities), *(f"{value:.3f}" for found in e.author.values() for value in found.values()))
        for e in evaluations
    ]
    return "".join(parts) + _table(columns, rows)


def _videos(evaluation: Evaluation) -> str:
    names = tuple(evaluation.videos[0].ccc) if evaluation.videos else ()
    measured = (f"{words}, {name}" for words in METRIC_WORDS.values() for name in names)
    columns = ["video", "person", "rows", "estimated", *measured]
    rows = []
    for v in evaluation.videos:
        values = [found[name] for found in (v.ccc, v.rmse, v.pearson) for name in names if name in found]
        rows.append(
            (v.name, v.identity or "", v.rows, v.estimated, *("" if math.isnan(x) else f"{x:.3f}" for x in values))
        )
    return _table(columns, rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: object) -> str:
    text = str(value)
    number = isinstance(value, (int, float)) or text[:1].isdigit() or text[:1] == "-"
    return f"<td{' class=n' if number else ''}>{escape(text)}</td>"
