"""The figures of a calibration's report: what each layer costs in eight bits, and what the chosen precisions answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from affectrt.bundle.manifest import Sensitivity

from .demo_result import DIMENSIONS
from .figures import MARKERS, VARIABLES
from .svg import bare, figure_of, svg_from_figure, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Answers", "answers_svg", "sensitivity_svg"]

MAX_LAYERS = 24
ROW_PX, HEAD_PX, FOOT_PX = 22, 26, 24
FIGURES_PX = 62  # for the figure after the longest bar
NARROW_PX = 600

Answers = Mapping[str, Sequence[float] | npt.NDArray[np.float64]]
"""Dimension → estimates, one for each time; NaN where there is none."""


def sensitivity_svg(
    sensitivities: Sequence[Sensitivity], kept: Collection[tuple[str, str]], key: str, width_px: int = 960
) -> str:
    """Bars of each layer alone in INT8, of at least one, the first `MAX_LAYERS` in the order given: loss of CCC in the
    worst dimension, and relative error of the stage's output.

    `kept`: (stage, layer) that stay in higher precision. `key` is part of every id in the SVG, so that a page may hold
    several.
    """
    shown = sensitivities[:MAX_LAYERS]
    figure = figure_of(width_px, HEAD_PX + FOOT_PX + ROW_PX * max(1, len(shown)))
    _draw_sensitivities(figure, shown, len(sensitivities), kept, MARKERS)
    return svg_from_figure(figure, key, "What is lost with each layer alone in INT8", VARIABLES)


def answers_svg(
    t_s: Sequence[float] | npt.NDArray[np.float64], fp32: Answers, chosen: Answers, key: str, width_px: int = 960
) -> str:
    """Valence and arousal over time, one panel each: FP32 as a broad line, what was chosen as a thin one on it."""
    names = [name for name in DIMENSIONS if name in fp32]
    figure = figure_of(width_px, len(names) * (150 if width_px > NARROW_PX else 120) + 34)
    _draw_answers(figure, np.asarray(t_s, np.float64), fp32, chosen, names, MARKERS)
    return svg_from_figure(figure, key, "Estimates over time: FP32 and the chosen precisions", VARIABLES)


def _draw_sensitivities(
    figure: Figure,
    shown: Sequence[Sensitivity],
    count: int,
    kept: Collection[tuple[str, str]],
    colours: Mapping[str, str],
) -> None:
    width, height = (72 * inches for inches in figure.get_size_inches())
    narrow = width < NARROW_PX
    names = _labels(shown, 12 if narrow else 28)
    # the page's font decides how wide a name is; this is more than any needs
    left = 8 + 7.2 * max(map(len, names), default=0)
    colour = [colours["second" if (each.stage, each.layer) in kept else "first"] for each in shown]
    losses = [max(each.loss.values()) if each.loss else None for each in shown]
    errors = [None if each.error is None else 100 * each.error for each in shown]
    panels: list[tuple[str, Sequence[float | None], str]] = []
    if any(loss is not None for loss in losses):
        panels.append(("loss of CCC", losses, "{:.4f}"))
    panels.append(("feature error, %" if narrow else "error of the stage's output, %", errors, "{:.2f}"))
    span = (width - left) / len(panels)
    for index, (title, values, form) in enumerate(panels):
        x = left + index * span
        box = (x / width, FOOT_PX / height, (span - FIGURES_PX) / width, 1 - (HEAD_PX + FOOT_PX) / height)
        axes = figure.add_axes(box)
        _draw_bars(axes, values, colour, form, colours)
        axes.set_yticks(range(len(names)), names if index == 0 else [""] * len(names))
        axes.tick_params(axis="y", labelsize=12, labelcolor=colours["ink"])
        _above(axes, title, colours["muted"], at=0.0, ha="left")
    words = ["kept in higher precision"] if any((each.stage, each.layer) in kept for each in shown) else []
    if words:
        figure.text(8 / width, 7 / height, "■", color=colours["second"], size=12)
    if count > len(shown):
        words.append(f"{count - len(shown)} more layers do less")
    figure.text(24 / width, 7 / height, ";  ".join(words), color=colours["muted"], size=12)


def _draw_bars(
    axes: Axes, values: Sequence[float | None], colour: Sequence[str], form: str, colours: Mapping[str, str]
) -> None:
    bare(axes, colours)
    known = [value for value in values if value is not None]
    reach, low = max([*known, 1e-9]), min([*known, 0.0])
    axes.set_xlim(low, reach)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xticks([])
    axes.axvline(0, color=colours["rule"], lw=1)
    for index, value in enumerate(values):
        if value is not None:
            axes.barh(index, value, height=0.62, color=colour[index], lw=0, zorder=2)
        text = "not judged" if value is None else form.format(value).replace("-", "−")
        axes.annotate(
            text,
            (max(value or 0.0, 0.0), index),
            xytext=(5, 0),
            textcoords="offset points",
            color=colours["muted" if value is None else "ink"],
            va="center_baseline",
            size=12,
            annotation_clip=False,
        )


def _draw_answers(
    figure: Figure,
    t_s: npt.NDArray[np.float64],
    fp32: Answers,
    chosen: Answers,
    names: Sequence[str],
    colours: Mapping[str, str],
) -> None:
    width, height = (72 * inches for inches in figure.get_size_inches())
    title, foot = 24, 34
    panel = (height - foot) / max(1, len(names)) - title
    for index, name in enumerate(names):
        top = title + index * (panel + title)
        axes = figure.add_axes((34 / width, 1 - (top + panel) / height, 1 - 46 / width, panel / height))
        bare(axes, colours)
        axes.set_xlim(float(np.min(t_s, initial=0.0)), max(float(np.max(t_s, initial=0.0)), 1e-3))
        axes.set_ylim(-1.04, 1.04)
        axes.set_yticks([-1, 0, 1], ["−1", "0", "+1"])
        axes.grid(axis="y", color=colours["rule"], lw=1)
        style: dict[str, Any] = {"solid_joinstyle": "round"}
        axes.plot(thinned(t_s), thinned(fp32[name]), color=colours["truth"], lw=3.4, **style)
        axes.plot(thinned(t_s), thinned(chosen[name]), color=colours["first"], lw=1.4, **style)
        axes.tick_params(labelbottom=index == len(names) - 1)
        _above(axes, name.capitalize(), colours["ink"], at=0.0, ha="left", weight="bold", size=13)
        furthest = np.abs(np.asarray(fp32[name], np.float64) - np.asarray(chosen[name], np.float64))
        if np.isfinite(furthest).any():
            _above(axes, f"at most {np.nanmax(furthest):.3f} apart", colours["muted"], at=1.0, ha="right")
        if index == len(names) - 1:
            axes.set_xlabel("seconds", color=colours["muted"], labelpad=4, size=12)


def _above(axes: Axes, words: str, colour: str, *, at: float, ha: Any, **style: Any) -> None:
    axes.annotate(
        words,
        (at, 1),
        xytext=(0, 7),
        xycoords="axes fraction",
        textcoords="offset points",
        color=colour,
        ha=ha,
        **{"size": 12, **style},
    )


def _labels(shown: Sequence[Sensitivity], length: int) -> list[str]:
    """Stage, where there are several, and layer without what export adds to the name of its module."""
    modules = [each.layer.split("/")[0].removeprefix("backbone.") for each in shown]
    unique = len({(each.stage, name) for each, name in zip(shown, modules, strict=True)}) == len(shown)
    names = modules if unique else [each.layer for each in shown]
    # the end of a long name tells layers apart
    names = [name if len(name) <= length else f"…{name[1 - length :]}" for name in names]
    several = len({each.stage for each in shown}) > 1
    return [f"{each.stage} {name}" if several else name for each, name in zip(shown, names, strict=True)]
