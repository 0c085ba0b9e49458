"""The fusion table as a picture: a dot per seed, mean and deviation; the paper's figures on a scale of their own."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from affectrt.bundle.errors import MissingDependency

from .fusion_options import OPTIONS, Option
from .fusion_results import FusionTable, SystemTable, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["INK", "MUTED", "RULE", "SHADE", "figure_png", "png_of", "require_matplotlib"]

# The colours of the demo's report: blue and orange stay apart for every eye, and panels and dots say the same again.
INK, MUTED, RULE, SHADE = "#22252b", "#6d7178", "#dcdad3", "#efece4"
COLOURS = {"valence": "#2a5d9f", "arousal": "#d2691e"}
SHIFTS = (-0.16, 0.16, 0.0)  # of the dots, in rows

WIDTH_PX, PNG_PX = 960, 1440
ROW_PX, HEAD_PX, FOOT_PX = 26, 46, 52
NAME_PX, PAPER_PX, GAP_PX, EDGE_PX = 190, 170, 22, 12


def require_matplotlib() -> None:
    """MissingDependency, before hours of work rather than after them."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "the picture of the table needs the Python module 'matplotlib'", fix="make setup"
        ) from error


def figure_png(table: FusionTable) -> bytes:
    """The picture on white, `PNG_PX` wide: a block of rows for each system."""
    from matplotlib.figure import Figure

    rows = [len(OPTIONS[system.system]) for system in table.systems]
    height = sum(HEAD_PX + ROW_PX * count + FOOT_PX for count in rows)
    figure = Figure(figsize=(WIDTH_PX / 72, height / 72), dpi=72, facecolor="white")
    panel = (WIDTH_PX - NAME_PX - PAPER_PX - 2 * GAP_PX - EDGE_PX) / 2
    top = 0.0
    for system, count in zip(table.systems, rows, strict=True):
        name = {"rcma": "RCMA", "cav": "CAV"}[system.system]
        bottom = 1 - (top + HEAD_PX + ROW_PX * count) / height
        figure.text(EDGE_PX / WIDTH_PX, 1 - (top + HEAD_PX - 10) / height, name, color=INK, weight="bold", size=15)
        left = float(NAME_PX)
        for output, width in (*((output, panel) for output in COLOURS), (None, PAPER_PX)):
            axes = figure.add_axes((left / WIDTH_PX, bottom, width / WIDTH_PX, ROW_PX * count / height))
            _draw_rows(axes, OPTIONS[system.system], names=left == NAME_PX)
            if output is None:
                _draw_paper(axes, OPTIONS[system.system])
            else:
                _draw_ccc(axes, system, output)
            left += width + GAP_PX
        top += HEAD_PX + ROW_PX * count + FOOT_PX
    return png_of(figure)


def _draw_ccc(axes: Axes, system: SystemTable, output: str) -> None:
    """The scale is that of the fusions of two modalities; a row to the left of it has its figures written out."""
    options, colour = OPTIONS[system.system], COLOURS[output]
    _draw_heading(axes, f"CCC, {output}", "on drawn people")
    fused = [spread(system.of(option), output) for option in options if "modalities" not in option.changes]
    low = _draw_scale(axes, min(f.mean - f.deviation for f in fused), max(f.mean + f.deviation for f in fused))
    for row, option in enumerate(options):
        results = system.of(option)
        found = spread(results, output)
        if found.mean < low:
            axes.annotate(
                f"◂ {found}", (0, row), xycoords=("axes fraction", "data"), color=colour, size=11, va="center_baseline"
            )
            continue
        ends = [found.mean - found.deviation, found.mean + found.deviation]
        axes.plot(ends, [row, row], color=colour, lw=2, zorder=2, solid_capstyle="butt")
        axes.plot([found.mean] * 2, [row - 0.3, row + 0.3], color=colour, lw=2.6, zorder=2, solid_capstyle="butt")
        for at, result in enumerate(results):
            place = (result.ccc[output], row + SHIFTS[at % len(SHIFTS)])
            axes.plot(*place, "o", ms=4.6, mfc="white", mec=colour, mew=1.2, zorder=3)


def _draw_paper(axes: Axes, options: Sequence[Option]) -> None:
    known = {row: option.paper for row, option in enumerate(options) if option.paper is not None}
    if not known:
        _draw_heading(axes, "CCC in the paper", "")
        axes.set_xticks([])
        axes.text(
            0, (len(options) - 1) / 2, "not found", color=MUTED, size=12, style="italic", ha="center", va="center"
        )
        axes.set_xlim(-1, 1)
        return
    _draw_heading(axes, "CCC in the paper", "Aff-Wild2, mean of both")
    _draw_scale(axes, min(known.values()), max(known.values()))
    axes.plot(list(known.values()), list(known), "D", color=MUTED, ms=6, zorder=3)


def _draw_rows(axes: Axes, options: Sequence[Option], *, names: bool) -> None:
    """One row an option, the first on top; the demo's is shaded."""
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_ylim(len(options) - 0.5, -0.5)
    axes.set_yticks(range(len(options)), [option.words if names else "" for option in options])
    axes.tick_params(length=0, colors=MUTED, labelsize=12, pad=5)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.grid(axis="x", color=RULE, lw=1)
    axes.set_axisbelow(True)
    for row, option in enumerate(options):
        if option.shipped:
            axes.axhspan(row - 0.5, row + 0.5, color=SHADE, lw=0, zorder=0)


def _draw_heading(axes: Axes, words: str, scale: str) -> None:
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(words, (0, 1), xytext=(0, 10), color=INK, size=12.5, **place)
    axes.annotate(scale, (0, 0), xytext=(0, -34), color=MUTED, size=11, **place)


def _draw_scale(axes: Axes, low: float, high: float) -> float:
    """Sets the range of the horizontal axis, a little wider than from `low` to `high`; returns its left end."""
    room = max(0.12 * (high - low), 0.004)
    axes.set_xlim(low - room, high + room)
    axes.locator_params(axis="x", nbins=4)
    return low - room


def png_of(figure: Any) -> bytes:
    """Of 256 colours: flat drawings lose nothing that is seen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image  # comes with matplotlib

    figure.set_dpi(PNG_PX / figure.get_size_inches()[0])
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    rgb = np.asarray(canvas.buffer_rgba())[..., :3]
    buffer = io.BytesIO()
    Image.fromarray(rgb).quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
