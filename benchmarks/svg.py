"""Matplotlib's SVG made fit for a page: the page's fonts and colours, ids that never clash, no needless digits."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bare", "figure_of", "png_from_figure", "svg_from_figure", "thinned"]

MAX_POINTS = 900  # a line with more is thinned: nobody sees more than the pixels


def figure_of(width_px: float, height_px: float) -> Figure:
    """An empty figure of 72 points an inch, so that one point is one pixel of the page."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_px / 72, height_px / 72), dpi=72, facecolor="none")


def bare(axes: Axes, colours: Mapping[str, str]) -> None:
    """No frame, no background, quiet ticks."""
    axes.patch.set_visible(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, colors=colours["muted"], labelsize=12, pad=5)
    axes.set_axisbelow(True)


def thinned(values: Sequence[float] | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array = np.asarray(values, np.float64)
    return array[:: max(1, -(-len(array) // MAX_POINTS))]


def svg_from_figure(figure: Figure, key: str, title: str, colours: Mapping[str, str]) -> str:
    """Inline SVG that scales to its container. `key` prefixes every id; `colours`: colour → CSS variable name."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    # Text stays text: the page's own fonts draw it, a reader can select it, and no glyph has to be embedded.
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": key, "axes.unicode_minus": True}):
        canvas: Any = FigureCanvasSVG(figure)  # matplotlib's canvases carry no types
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    width, height = (72 * inches for inches in figure.get_size_inches())
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    # Our own CSS would otherwise be drowned by style rules that apply to the whole page.
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.S)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', body)
    body = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{key}-", body).replace("xlink:href", "href")
    # The page says which font; size, weight and slant stay.
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r'\b(d|x|y|transform|points)="[^"]*"', _short, body)
    body = re.sub(r"<!--.*?-->|\n\s*", _gap, body, flags=re.S)
    for colour, name in colours.items():
        body = body.replace(colour, f"var(--{name})")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'style="stroke-linejoin:round;stroke-linecap:butt"><title>{escape(title)}</title>{body}</svg>'
    )


def png_from_figure(figure: Figure, *, width_px: int) -> bytes:
    """The figure as PNG of 256 colours: flat drawings lose nothing that is seen, and shrink to a third."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image  # comes with matplotlib

    figure.set_dpi(width_px / figure.get_size_inches()[0])
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    rgb = np.asarray(canvas.buffer_rgba())[..., :3]
    buffer = io.BytesIO()
    Image.fromarray(rgb).quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _short(attribute: re.Match[str]) -> str:
    """A tenth of a pixel is finer than any screen."""
    return re.sub(r"(\d+\.\d)\d+", r"\1", attribute.group(0))


def _gap(found: re.Match[str]) -> str:
    return " " if found.group(0).startswith("\n") else ""
