"""The look of a report: one stylesheet for screen (light and dark), print and narrow windows, and small HTML pieces."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .figures import LIGHT

__all__ = ["document", "fact_list", "image", "table", "write_page"]

DARK: Mapping[str, str] = {
    "ink": "#e8e6e0",
    "muted": "#9c9fa6",
    "rule": "#363a42",
    "truth": "#6f6c64",
    "first": "#7fb0ea",
    "second": "#f0975a",
    "third": "#74c9a2",
    "shade": "#23262c",
    "decode": "#6b6a66",
    "align": "#55544f",
    "video": "#3f73b5",
    "audio": "#5f8dbd",
    "fusion": "#86699f",
    "sink": "#77756e",
}
SURFACES = {
    "light": {"page": "#fbfaf7", "card": "#f3f1ea", "note": "#fdf1dc", "note-edge": "#d99a2b"},
    "dark": {"page": "#17191d", "card": "#1f2227", "note": "#2e2716", "note-edge": "#c58f34"},
}

STYLE = """
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 -apple-system, "Segoe UI", Roboto,
  "Noto Sans", "Liberation Sans", "DejaVu Sans", Arial, sans-serif; -webkit-text-size-adjust: 100% }
main { max-width: 1024px; margin: 0 auto; padding: 44px 32px 64px }
.kicker, figcaption, th, .unit, footer { color: var(--muted) }
.kicker { font-size: 14px; letter-spacing: .04em; margin: 0 0 10px }
h1 { font-size: 31px; line-height: 1.25; font-weight: 600; letter-spacing: -.012em; margin: 0 0 24px; max-width: 33em;
  text-wrap: balance }
h2 { font-size: 19px; font-weight: 600; margin: 52px 0 6px; letter-spacing: -.005em }
p { margin: 6px 0 12px; max-width: 44em }
.note { background: var(--note); border-left: 5px solid var(--note-edge); padding: 12px 18px; margin: 0 0 30px;
  border-radius: 0 6px 6px 0; max-width: none }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 14px; margin: 0 0 8px; padding: 0 }
.tile { background: var(--card); border-radius: 8px; padding: 13px 16px 12px }
.tile b { display: block; font-size: 31px; line-height: 1.15; font-weight: 600; font-variant-numeric: tabular-nums }
.tile span { display: block; font-size: 14px; line-height: 1.35; color: var(--muted) }
.tile span:first-child { color: var(--ink) }
figure { margin: 14px 0 0 }
figcaption { font-size: 14px; line-height: 1.45; margin-top: 6px }
svg { display: block; width: 100%; height: auto; overflow: visible; font-family: inherit }
.narrow { display: none } .narrow svg, .pair svg { max-width: 520px }
.strip { display: grid; gap: 4px; list-style: none; margin: 14px 0 8px }
.strip li { text-align: center; font-size: 12px; color: var(--muted); min-width: 0 }
.strip img { display: block; width: 100%; max-width: 92px; aspect-ratio: 1; margin: 0 auto 3px; border-radius: 5px }
.legend { display: flex; flex-wrap: wrap; gap: 4px 22px; font-size: 14px; margin: 14px 0 0; padding: 0;
  list-style: none }
.legend svg { display: inline-block; width: 34px; height: 10px; vertical-align: middle; margin-right: 7px }
.pair { display: grid; grid-template-columns: minmax(0, 10fr) minmax(0, 11fr); gap: 44px; align-items: start }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 15px; margin: 14px 0 10px;
  width: 100% }
table.small { max-width: 620px }
th, td { text-align: right; padding: 6px 0 6px 14px; border-bottom: 1px solid var(--rule); overflow-wrap: anywhere }
th { font-weight: 500; font-size: 14px } thead th { vertical-align: bottom }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
tbody th { color: var(--ink) } tr.total td, tr.total th { font-weight: 600; border-bottom: 0 }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 9px }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: 6px 48px }
.facts h3 { font-size: 15px; font-weight: 600; margin: 18px 0 4px }
dl { margin: 0; font-size: 14px; line-height: 1.45; display: grid; grid-template-columns: minmax(7em, max-content) 1fr }
dt { color: var(--muted); padding: 3px 14px 3px 0 } dd { margin: 0; padding: 3px 0; overflow-wrap: anywhere }
.wide-scroll { overflow-x: auto }
ul.plain { margin: 6px 0; padding-left: 1.15em; max-width: 44em } ul.plain li { margin: 4px 0 }
footer { margin-top: 52px; border-top: 1px solid var(--rule); padding-top: 12px; font-size: 13px }
@media (max-width: 700px) {
  main { padding: 26px 16px 40px } h1 { font-size: 24px } h2 { margin-top: 38px }
  .tiles { grid-template-columns: 1fr 1fr } .tile b { font-size: 26px } .pair { grid-template-columns: 1fr; gap: 4px }
  .wide { display: none } .narrow { display: block } .strip { gap: 2px }
  .strip li:nth-child(even) { display: none } .strip { grid-template-columns: repeat(var(--few), 1fr) !important }
  dl { grid-template-columns: 1fr } dt { padding-bottom: 0 } dd { padding-top: 0 }
  th, td { padding-left: 8px }
}
@media print {
  :root { --page: #fff } body { font-size: 12px } main { padding: 0; max-width: none } h1 { font-size: 21px }
  h2 { font-size: 15px; margin-top: 22px; break-after: avoid }
  .tile b { font-size: 22px } .tile span { font-size: 11px }
  .note { margin-bottom: 16px } .facts, .facts h3, dl, th, td, table, figcaption, .legend { font-size: 11px }
  th, td { padding-top: 2px; padding-bottom: 2px } dt, dd { padding-top: 1px; padding-bottom: 1px }
  .pair { grid-template-columns: 42fr 58fr; gap: 28px }
  figure, tr, .note, .tiles, .facts > *, .keep { break-inside: avoid } p, ul.plain { max-width: none }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact }
}
@page { margin: 16mm }
"""


def document(title: str, body: str) -> str:
    """A whole HTML page that needs nothing from anywhere."""
    light, dark = {**LIGHT, **SURFACES["light"]}, {**DARK, **SURFACES["dark"]}
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n:root {{ {_variables(light)} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {_variables(dark)} }} }}\n{STYLE.strip()}\n"
        f"</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def write_page(html: str, path: str | os.PathLike[str]) -> Path:
    """Write a page to `path`, whole or not at all."""
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        partial.write_text(html, encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, total: bool = False, small: bool = False) -> str:
    """Cells are HTML; the first of a row is its heading. `total`: the last row is what matters. `small`: not wide."""
    lines = [
        '<table class="small">' if small else "<table>",
        "<thead><tr>" + "".join(f'<th scope="col">{c}</th>' for c in head) + "</tr></thead>",
        "<tbody>",
    ]
    for index, row in enumerate(rows):
        mark = ' class="total"' if total and index == len(rows) - 1 else ""
        cells = f'<th scope="row">{row[0]}</th>' + "".join(f"<td>{c}</td>" for c in row[1:])
        lines.append(f"<tr{mark}>{cells}</tr>")
    return "\n".join([*lines, "</tbody>", "</table>"])


def fact_list(facts: Mapping[str, Mapping[str, str]]) -> str:
    """Name and value pairs under their headings; everything is escaped."""
    parts = []
    for heading, pairs in facts.items():
        items = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs.items())
        parts.append(f"<div><h3>{escape(heading)}</h3><dl>{items}</dl></div>")
    return f'<div class="facts">{"".join(parts)}</div>'


def image(rgb: npt.NDArray[np.uint8], *, side_px: int, text: str) -> str:
    """The largest centred square of a frame as inline JPEG, `side_px` wide."""
    import cv2

    height, width = rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    small = cv2.resize(rgb[top : top + side, left : left + side], (side_px, side_px), interpolation=cv2.INTER_AREA)
    done, content = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 86])
    if not done:
        raise RuntimeError("OpenCV cannot encode JPEG")
    data = base64.b64encode(content.tobytes()).decode("ascii")
    return f'<img alt="{escape(text)}" src="data:image/jpeg;base64,{data}">'


def _variables(colours: Mapping[str, str]) -> str:
    return "; ".join(f"--{name}: {colour}" for name, colour in colours.items())
