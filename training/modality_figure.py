"""The table of missing modalities as a picture: what dropout changes with every set of modalities given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .fusion_figure import INK, MUTED, RULE, SHADE, png_of
from .fusion_results import Spread
from .modality_report import TITLES
from .modality_results import ModalitySystem, ModalityTable, by_seed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["figure_png"]

COLOUR = "#2a5d9f"
WIDTH_PX, NAME_PX, EDGE_PX = 960, 190, 24
ROW_PX, HEAD_PX, FOOT_PX, LEGEND_PX = 30, 44, 34, 40
MARKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("without dropout", {"marker": "o", "mfc": "white", "mec": COLOUR, "mew": 1.6, "ms": 8}),
    ("with dropout", {"marker": "o", "mfc": COLOUR, "mec": COLOUR, "ms": 8}),
    ("trained on these alone", {"marker": "|", "mec": INK, "mew": 2.2, "ms": 15}),
)
SHIFTS = (-0.13, 0.13, 0.0)  # of the marks, in rows


def figure_png(table: ModalityTable) -> bytes:
    """The picture on white: a block of rows for each system, all on one scale."""
    from matplotlib.figure import Figure

    blocks = [HEAD_PX + ROW_PX * len(system.sets) + FOOT_PX for system in table.systems]
    height = sum(blocks) + LEGEND_PX
    figure = Figure(figsize=(WIDTH_PX / 72, height / 72), dpi=72, facecolor="white")
    found = [spread for system in table.systems for name in system.sets for spread in _spreads(system, name)]
    low, high = min(s.mean - s.deviation for s in found), max(s.mean + s.deviation for s in found)
    room = max(0.04 * (high - low), 0.004)
    top = 0.0
    for system, block in zip(table.systems, blocks, strict=True):
        rows_px = ROW_PX * len(system.sets)
        title = TITLES[system.system]
        figure.text(EDGE_PX / 2 / WIDTH_PX, 1 - (top + HEAD_PX - 12) / height, title, color=INK, weight="bold", size=15)
        width = (WIDTH_PX - NAME_PX - EDGE_PX) / WIDTH_PX
        bottom = 1 - (top + HEAD_PX + rows_px) / height
        axes = figure.add_axes((NAME_PX / WIDTH_PX, bottom, width, rows_px / height))
        axes.set_xlim(low - room, high + room)
        _draw(axes, system)
        top += block
    handles = [axes.plot([], [], ls="none", label=words, **mark)[0] for words, mark in MARKS]
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(NAME_PX / WIDTH_PX - 0.012, 0),
        ncols=len(MARKS),
        frameon=False,
        fontsize=12,
        labelcolor=INK,
        handletextpad=0.3,
    )
    return png_of(figure)


def _draw(axes: Axes, system: ModalitySystem) -> None:
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_ylim(len(system.sets) - 0.5, -0.5)
    axes.set_yticks(range(len(system.sets)), [name.replace("+", ", ") for name in system.sets])
    axes.tick_params(length=0, colors=MUTED, labelsize=12, pad=5)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.grid(axis="x", color=RULE, lw=1)
    axes.set_axisbelow(True)
    axes.axhspan(-0.5, 0.5, color=SHADE, lw=0, zorder=0)  # everything is given
    for row, name in enumerate(system.sets):
        for spread, (_, mark), shift in zip(_spreads(system, name), MARKS, SHIFTS, strict=False):
            at, ends = row + shift, [spread.mean - spread.deviation, spread.mean + spread.deviation]
            axes.plot(ends, [at, at], color=mark["mec"], lw=1.4, zorder=2, solid_capstyle="butt")
            axes.plot(spread.mean, at, ls="none", zorder=3, **mark)


def _spreads(system: ModalitySystem, name: str) -> list[Spread]:
    """In the order of the marks; of all modalities the last would be the first again."""
    kinds = [system.without, system.dropped, *([] if name == system.sets[0] else [system.alone(name)])]
    return [Spread.of(by_seed(results, name)) for results in kinds]
