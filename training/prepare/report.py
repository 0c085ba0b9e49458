"""The page about a prepared corpus: what was dropped and why, where its annotation lies, faces, lengths, frame rates.

One HTML file that loads nothing from elsewhere. It shows figures alone, nobody's face.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..prepared import PreparedCorpus, PreparedVideo
from .writer import write_text

__all__ = ["page", "write_report"]

CELLS = 20
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2430}
table{border-collapse:collapse;font-size:13px}td,th{padding:.2rem .7rem;border-bottom:1px solid #dde2e8;text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}h2{margin-top:2.2rem}svg{max-width:100%}
.wide{overflow-x:auto}svg text{font:12px system-ui,sans-serif;fill:#1c2430}
.pictures{display:flex;flex-wrap:wrap;gap:2rem}
@media(prefers-color-scheme:dark){body{background:#14181d;color:#dfe5ec}td,th{border-color:#333b45}
svg text{fill:#dfe5ec}}"""


def write_report(corpus: PreparedCorpus, path: Path) -> Path:
    write_text(path, page(corpus))
    return path


def page(corpus: PreparedCorpus) -> str:
    """The whole page, from the corpus alone."""
    record = corpus.record
    videos = corpus.all_videos
    title = f"{escape(corpus.name)}: a prepared corpus"
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>",
        f"<h1>{title}</h1><p>{record.kind}, clock of {record.clock}, faces {record.faces}.",
        f"{escape(record.licence)}</p>",
        _table(("", *SUMMED), _summed(corpus)),
        "<h2>What is missing, and why</h2>",
        _left_out(corpus),
        _dropped(videos),
        "<h2>Where the annotation lies</h2><p>The share of annotated steps in each cell of the valence-arousal plane; "
        "an empty cell is one that nobody can learn from this corpus.</p><div class=pictures>",
        *(
            f"<figure>{_plane(_counts(corpus, split))}<figcaption>{split}</figcaption></figure>"
            for split in corpus.splits
        ),
        "</div><h2>Lengths and frame rates</h2><div class=pictures>",
        _bars("videos by length", _lengths(videos)),
        _bars("videos by pictures a second", _rates(videos)),
        "</div><h2>Videos</h2><div class=wide>",
        _table(VIDEO_COLUMNS, (_video_row(video) for video in videos)),
        f"</div><h2>Made by</h2>{_table(('', ''), record.made_by.model_dump().items())}",
        f"<p>Fingerprint <code>{corpus.fingerprint}</code></p></html>",
    ]
    return "\n".join(parts) + "\n"


SUMMED = ("videos", "people", "hours", "steps", "annotated", "with a face", "with sound", "words")


def _summed(corpus: PreparedCorpus) -> Iterable[tuple[object, ...]]:
    for split in corpus.splits:
        records = [video.record for video in corpus.videos(split)]
        steps = sum(r.steps for r in records)
        told = len({r.subject for r in records if r.subject is not None}) or "not told"
        shares = (_share(sum(getattr(r, of) for r in records), steps) for of in ("annotated", "seen", "heard"))
        hours = f"{sum(r.seconds for r in records) / 3600:.2f}"
        yield split, len(records), told, hours, steps, *shares, sum(r.words for r in records)


def _left_out(corpus: PreparedCorpus) -> str:
    if not corpus.record.left_out:
        return "<p>No video was left out.</p>"
    rows = ((one.name, one.split or "", one.reason) for one in corpus.record.left_out)
    return f"<h3>Videos left out</h3>{_table(('video', 'split', 'why'), rows)}"


def _dropped(videos: Sequence[PreparedVideo]) -> str:
    rows: list[tuple[object, ...]] = [(v.name, why, count) for v in videos for why, count in v.record.dropped.items()]
    rows += [(v.name, note, "") for v in videos for note in v.record.notes]
    if not rows:
        return "<p>Nothing was dropped from a video.</p>"
    return f"<h3>Dropped from videos</h3><div class=wide>{_table(('video', 'what', 'how many'), rows)}</div>"


VIDEO_COLUMNS = ("video", "split", "person", "seconds", "steps", "annotated", "face", "sound", "pictures/s", "pause, s")


def _video_row(video: PreparedVideo) -> tuple[object, ...]:
    r = video.record
    shares = (_share(count, r.steps) for count in (r.annotated, r.seen, r.heard))
    rate = "" if r.picture_hz is None else f"{r.picture_hz:.2f}"
    pause = "" if r.longest_pause_s is None else f"{r.longest_pause_s:.3f}"
    return r.name, r.split, r.subject or "", f"{r.seconds:.1f}", r.steps, *shares, rate, pause


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _counts(corpus: PreparedCorpus, split: str) -> npt.NDArray[np.float64]:
    """(CELLS, CELLS) counts of annotated steps: arousal from low to high, then valence."""
    counts = np.zeros((CELLS, CELLS))
    edges = np.linspace(-1, 1, CELLS + 1)
    for video in corpus.videos(split):
        truth = np.asarray(video.truth(), np.float64)
        known = truth[~np.isnan(truth).any(axis=1)]
        counts += np.histogram2d(known[:, 1], known[:, 0], bins=(edges, edges))[0]
    return counts


def _plane(counts: npt.NDArray[np.float64]) -> str:
    """The darker, the more; by the logarithm, because neutral moments outnumber all others."""
    side = 260 // CELLS
    size, left = side * CELLS, 40
    top = np.log1p(counts.max())
    cells = []
    for row, column in zip(*np.nonzero(counts), strict=True):
        x, y = left + int(column) * side, size - (int(row) + 1) * side
        share = counts[row, column] / counts.sum()
        cells.append(
            f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill="#2f6fb3" '
            f'fill-opacity="{0.15 + 0.85 * np.log1p(counts[row, column]) / top:.2f}"><title>{share:.2%}</title></rect>'
        )
    covered = np.count_nonzero(counts) / counts.size
    half = size / 2
    return (
        f'<svg viewBox="0 0 {left + size + 10} {size + 40}" width="{left + size + 10}" role="img" '
        f'aria-label="coverage of the valence-arousal plane: {covered:.0%} of its cells">{"".join(cells)}'
        f'<rect x="{left}" y="0" width="{size}" height="{size}" fill="none" stroke="#8a94a0"/>'
        f'<path d="M{left} {half}H{left + size}M{left + half} 0V{size}" stroke="#8a94a0" stroke-dasharray="3"/>'
        f'<text x="{left + half}" y="{size + 16}" text-anchor="middle">valence −1 … 1</text>'
        f'<text x="{left + half}" y="{size + 34}" text-anchor="middle">{covered:.0%} of the cells</text>'
        f'<text transform="translate({left - 10} {half}) rotate(-90)" text-anchor="middle">arousal −1 … 1</text></svg>'
    )


def _lengths(videos: Sequence[PreparedVideo]) -> Sequence[tuple[str, int]]:
    ends = (10, 30, 60, 120, 300, 600, 1200)
    at = np.searchsorted(ends, [video.record.seconds for video in videos], side="right")
    names = [
        f"under {ends[0]} s",
        *(f"{a} to {b} s" for a, b in pairwise(ends)),
        f"{ends[-1]} s and more",
    ]
    counts = Counter(at.tolist())
    return [(name, counts[index]) for index, name in enumerate(names)]


def _rates(videos: Sequence[PreparedVideo]) -> Sequence[tuple[str, int]]:
    rates = Counter(round(v.record.picture_hz, 1) for v in videos if v.record.picture_hz is not None)
    return [(f"{rate:g}", rates[rate]) for rate in sorted(rates)]


def _bars(title: str, counts: Sequence[tuple[str, int]]) -> str:
    most = max((count for _, count in counts), default=0) or 1
    lines = []
    for index, (name, count) in enumerate(counts):
        y = 18 * index
        lines.append(
            f'<text x="108" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="116" y="{y + 2}" width="{200 * count / most:.1f}" height="13" fill="#2f6fb3"/>'
            f'<text x="{122 + 200 * count / most:.1f}" y="{y + 13}">{count}</text>'
        )
    height = 18 * len(counts) + 6
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 360 {height}" width="360" role="img" '
        f'aria-label="{escape(title)}">{"".join(lines)}</svg></figure>'
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: object) -> str:
    number = isinstance(value, (int, float)) or (isinstance(value, str) and value[:1].isdigit())
    return f"<td{' class=n' if number else ''}>{escape('' if value is None else str(value))}</td>"
