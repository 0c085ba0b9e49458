"""From a chosen step to an element, and from caps to a size."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from affectrt.bundle.errors import MissingDependency

from .elements import Step
from .gst import APT_LINE, gst

__all__ = ["make_element", "set_properties", "size_of"]


def make_element(step: Step) -> Any:
    """The element with its properties. MissingDependency when GStreamer does not have it."""
    lib = gst()
    if lib.ElementFactory.find(step.element) is None:
        raise MissingDependency(f"GStreamer has no {step.element}", fix=APT_LINE)
    element = lib.ElementFactory.make(step.element, None)
    set_properties(element, step.properties)
    if step.switched is not None:
        _switch(element, step.switched, step.period_s, step.high)
    return element


def set_properties(element: Any, properties: Mapping[str, str]) -> None:
    """Strings as they are; everything else as GStreamer reads it. What the element does not have is left out."""
    from gi.repository import GObject

    for name, text in properties.items():
        spec = element.find_property(name)
        if spec is None:
            continue
        if spec.value_type == GObject.TYPE_STRING:
            element.set_property(name, text)
        else:
            gst().util_set_object_arg(element, name, text)


def _switch(element: Any, name: str, period_s: float, high: float) -> None:
    import gi

    gi.require_version("GstController", "1.0")
    from gi.repository import GstController

    wave = GstController.LFOControlSource()
    wave.set_property("waveform", GstController.LFOWaveform.SQUARE)
    wave.set_property("frequency", 1.0 / period_s)
    wave.set_property("amplitude", high / 2)
    wave.set_property("offset", high / 2)
    wave.set_property("timeshift", round(period_s / 2 * 1e9))
    element.add_control_binding(GstController.DirectControlBinding.new(element, name, wave))


def size_of(structure: Any) -> tuple[int, int, Fraction]:
    """Width, height and pixel aspect ratio of fixed caps; square pixels where they do not say."""
    numbers = [structure.get_int(name) for name in ("width", "height")]
    known, top, bottom = structure.get_fraction("pixel-aspect-ratio")
    aspect = Fraction(top, bottom) if known and bottom else Fraction(1)
    return numbers[0][1] or 1, numbers[1][1] or 1, aspect
