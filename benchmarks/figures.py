"""The figures of the demo's report, drawn once for the page (SVG, coloured by the page's CSS) and for print (PNG)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .demo_result import DIMENSIONS, PARTS, Curve, DemoResult, number
from .svg import bare, figure_of, png_from_figure, svg_from_figure, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["LIGHT", "MARGIN_PX", "figure_png", "plane_svg", "time_split_svg", "timeline_svg"]

# Each role is a CSS variable of the page. The SVGs are drawn in marker colours that stand for the roles.
ROLES = ("ink", "muted", "rule", "truth", "first", "second", "third", "shade", *PARTS)
MARKERS = {role: f"#fe{index:02x}fd" for index, role in enumerate(ROLES)}
VARIABLES = {colour: role for role, colour in MARKERS.items()}
LIGHT: Mapping[str, str] = {
    "ink": "#22252b",
    "muted": "#6d7178",
    "rule": "#dcdad3",
    "truth": "#b3afa5",
    "first": "#2a5d9f",
    "second": "#d2691e",
    "third": "#3f8f6b",
    "shade": "#efece4",
    "decode": "#a9a59a",
    "align": "#c9c5ba",
    "video": "#2a5d9f",
    "audio": "#6f9fd0",
    "fusion": "#8a6bb0",
    "sink": "#8d8a82",
}
RUN_ROLES = ("first", "second", "third")
RUN_DASHES: tuple[Any, ...] = ("solid", (0, (4, 2)), (0, (1, 1.5)))

# Left and right of the time axis, in pixels of the figure: the page lines the film strip up with it.
MARGIN_PX = {"left": 34, "right": 12}

_ENDS = {"valence": ("unpleasant", "pleasant"), "arousal": ("calm", "excited")}
_QUADRANTS = (
    (0.97, 0.97, "excited, joyful", "right", "top"),
    (-0.97, 0.97, "tense, angry", "left", "top"),
    (-0.97, -0.97, "sad, weary", "left", "bottom"),
    (0.97, -0.97, "calm, content", "right", "bottom"),
)


def timeline_svg(result: DemoResult, width_px: int = 960) -> str:
    """Valence and arousal against media time, one panel each, `width_px` wide at full scale."""
    height = 2 * (150 if width_px > 600 else 120) + 78
    figure = figure_of(width_px, height)
    _draw_timeline(figure, result, MARKERS, (0.0, 1.0))
    return svg_from_figure(figure, "time", "Valence and arousal over time: truth and estimates", VARIABLES)


def plane_svg(result: DemoResult, side_px: int = 420) -> str:
    """The path through the plane of valence (across) and arousal (up)."""
    figure = figure_of(side_px, side_px)
    _draw_plane(figure.add_axes((0.075, 0.075, 0.9, 0.9)), result, MARKERS)
    return svg_from_figure(figure, "plane", "Path of truth and estimates in the valence-arousal plane", VARIABLES)


def time_split_svg(result: DemoResult, width_px: int = 960) -> str:
    """Milliseconds of work a step, part by part, one stacked bar a precision."""
    row = 46
    figure = figure_of(width_px, row * len(result.runs) + 40)
    _draw_time_split(figure, result, MARKERS, width_px, row)
    return svg_from_figure(figure, "split", "Work per step by part, for each precision", VARIABLES)


def figure_png(result: DemoResult, *, width_px: int = 1280) -> bytes:
    """Film strip, both curves and the plane in one picture, as PNG on white."""
    strip = bool(result.stills)
    width, height = 960, 378 + (88 if strip else 0)
    plane = height - (88 if strip else 0) - 90
    figure = figure_of(width, height)
    figure.set_facecolor("white")
    share = (width - plane - 40) / width
    if strip:
        _draw_strip(figure, result, LIGHT, share)
    _draw_timeline(figure, result, LIGHT, (0.0, share), top_px=88 if strip else 0)
    side = plane / width
    axes = figure.add_axes((share + 34 / width, 42 / height, side, plane / height))
    _draw_plane(axes, result, LIGHT)
    _draw_legend(figure, result, (share + 34 / width, 1 - 8 / height))
    return png_from_figure(figure, width_px=width_px)


def _draw_timeline(
    figure: Figure,
    result: DemoResult,
    colours: Mapping[str, str],
    across: tuple[float, float],
    top_px: float = 0.0,
) -> None:
    """Both panels between the shares `across` of the figure's width, below `top_px`."""
    width, height = (72 * inches for inches in figure.get_size_inches())
    left = across[0] + MARGIN_PX["left"] / width
    span = across[1] - MARGIN_PX["right"] / width - left
    title, gap, foot = 24, 14, 40
    panel = (height - top_px - foot - gap - 2 * title) / 2
    for index, dimension in enumerate(DIMENSIONS):
        top = top_px + title + index * (panel + gap + title)
        axes = figure.add_axes((left, 1 - (top + panel) / height, span, panel / height))
        _draw_panel(axes, result, dimension, colours, last=index == 1)
        low, high = _ENDS[dimension]
        axes.annotate(
            dimension.capitalize(),
            (0, 1),
            xytext=(0, 8),
            xycoords="axes fraction",
            textcoords="offset points",
            color=colours["ink"],
            weight="bold",
            size=13,
        )
        # Clear of the bold word, whose width the page's font decides.
        axes.annotate(
            f"{low} (−1) to {high} (+1)",
            (1, 1),
            xytext=(0, 8),
            xycoords="axes fraction",
            textcoords="offset points",
            color=colours["muted"],
            ha="right",
            size=12,
        )


def _draw_panel(axes: Axes, result: DemoResult, dimension: str, colours: Mapping[str, str], *, last: bool) -> None:
    bare(axes, colours)
    axes.set_xlim(0, max(result.clip_s, 1e-3))
    axes.set_ylim(-1.04, 1.04)
    axes.set_yticks([-1, 0, 1], ["−1", "0", "+1"])
    axes.grid(axis="y", color=colours["rule"], lw=1)
    if result.warm_up_s > 0:
        end = min(result.warm_up_s, result.clip_s)
        axes.axvspan(0, end, color=colours["shade"], lw=0, zorder=0)
        if end > 0.1 * result.clip_s:
            # Where the curve is not.
            below = np.nansum(result.truth.of(dimension)[result.truth.t_s < end]) >= 0
            at, va = (-0.97, "bottom") if below else (0.97, "top")
            style: dict[str, Any] = {"ha": "center", "va": va, "size": 11, "style": "italic"}
            axes.text(end / 2, at, "warming up", color=colours["muted"], **style)
    _line(axes, result.truth, dimension, color=colours["truth"], lw=3.4)
    for index, run in enumerate(result.runs[:3]):
        _line(axes, run.curve, dimension, color=colours[RUN_ROLES[index]], lw=1.7, ls=RUN_DASHES[index])
    axes.tick_params(labelbottom=last)
    if last:
        axes.set_xlabel("seconds", color=colours["muted"], labelpad=4, size=12)


def _draw_plane(axes: Axes, result: DemoResult, colours: Mapping[str, str]) -> None:
    bare(axes, colours)
    axes.set_xlim(-1.04, 1.04)
    axes.set_ylim(-1.04, 1.04)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.axhline(0, color=colours["rule"], lw=1)
    axes.axvline(0, color=colours["rule"], lw=1)
    for radius in (0.5, 1.0):
        angle = np.linspace(0, 2 * np.pi, 73)
        axes.plot(radius * np.cos(angle), radius * np.sin(angle), color=colours["rule"], lw=0.7)
    for x, y, words, ha, va in _QUADRANTS:
        axes.text(x, y, words, color=colours["muted"], ha=ha, va=va, size=11, style="italic")
    axes.set_xlabel("valence →", color=colours["ink"], labelpad=5, size=12)
    axes.set_ylabel("arousal →", color=colours["ink"], labelpad=5, size=12)
    _path(axes, result.truth, colours["truth"], 3.4, "solid")
    for index, run in enumerate(result.runs[:3]):
        _path(axes, run.curve, colours[RUN_ROLES[index]], 1.5, RUN_DASHES[index])


def _path(axes: Axes, curve: Curve, colour: str, width: float, dashes: Any) -> None:
    """A path with a dot where it ends."""
    valence, arousal = thinned(curve.valence), thinned(curve.arousal)
    axes.plot(valence, arousal, color=colour, lw=width, ls=dashes, solid_joinstyle="round", solid_capstyle="round")
    known = np.isfinite(valence) & np.isfinite(arousal)
    if known.any():
        end = int(np.flatnonzero(known)[-1])
        axes.plot([valence[end]], [arousal[end]], "o", color=colour, ms=3 + 1.2 * width, mec="none")


def _draw_time_split(figure: Figure, result: DemoResult, colours: Mapping[str, str], width: float, row: float) -> None:
    height = 72 * figure.get_size_inches()[1]
    axes = figure.add_axes((54 / width, 36 / height, 1 - (54 + 62) / width, 1 - 40 / height))
    bare(axes, colours)
    totals = [sum(result.ms_per_step(run, part) for part in PARTS) for run in result.runs]
    reach = max([*totals, 1e-9])
    axes.set_xlim(0, reach)
    axes.set_ylim(len(result.runs) - 0.5, -0.5)
    axes.set_yticks(range(len(result.runs)), [run.label for run in result.runs])
    axes.tick_params(axis="y", labelsize=13, labelcolor=colours["ink"])
    axes.set_xlabel(
        f"milliseconds of work a step (one step is {1000 / result.step_hz:.0f} ms of media)", labelpad=4, size=12
    )
    axes.xaxis.label.set_color(colours["muted"])
    axes.grid(axis="x", color=colours["rule"], lw=1)
    for index, run in enumerate(result.runs):
        start = 0.0
        for part in PARTS:
            value = result.ms_per_step(run, part)
            axes.barh(index, value, left=start, height=0.56, color=colours[part], lw=0, zorder=2)
            if value / reach * (width - 116) > 58:
                text = f"{part} {value:.2f}" if value / reach * (width - 116) > 96 else f"{value:.2f}"
                axes.text(
                    start + value / 2, index, text, color="white", ha="center", va="center_baseline", size=12, zorder=3
                )
            start += value
        axes.text(
            start + reach * 0.008,
            index,
            f"{start:.2f} ms",
            color=colours["ink"],
            ha="left",
            va="center_baseline",
            size=13,
        )


def _draw_strip(figure: Figure, result: DemoResult, colours: Mapping[str, str], share: float) -> None:
    width, height = (72 * inches for inches in figure.get_size_inches())
    left, right = MARGIN_PX["left"] / width, share - MARGIN_PX["right"] / width
    pitch = (right - left) / len(result.stills)
    side = min(64.0, 0.92 * pitch * width)
    for index, still in enumerate(result.stills):
        centre = left + (index + 0.5) * pitch
        axes = figure.add_axes((centre - side / 2 / width, 1 - (4 + side) / height, side / width, side / height))
        axes.imshow(_square(still.rgb), interpolation="antialiased")
        axes.set_axis_off()
        figure.text(
            centre, 1 - (18 + side) / height, f"{still.t_s:.1f} s", color=colours["muted"], ha="center", size=11
        )


def _draw_legend(figure: Figure, result: DemoResult, at: tuple[float, float]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=LIGHT["truth"], lw=3.4)]
    names = ["truth" if result.described_s == 0 else f"truth, mean over {result.described_s:.2f} s"]
    for index, run in enumerate(result.runs[:3]):
        handles.append(Line2D([], [], color=LIGHT[RUN_ROLES[index]], lw=1.7, ls=RUN_DASHES[index]))
        ccc = ", ".join(f"{n} {number(run.ccc.get(n, float('nan')))}" for n in DIMENSIONS)
        names.append(f"{run.label}: CCC {ccc}")
    figure.legend(
        handles, names, loc="upper left", bbox_to_anchor=at, frameon=False, borderaxespad=0, borderpad=0, fontsize=11.5
    )


def _line(axes: Axes, curve: Curve, dimension: str, **style: Any) -> None:
    axes.plot(thinned(curve.t_s), thinned(curve.of(dimension)), solid_joinstyle="round", **style)


def _square(rgb: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    height, width = rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return rgb[top : top + side, left : left + side]
