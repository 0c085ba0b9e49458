"""What GStreamer offers on this machine. That something is there does not say that it works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .gst import gst

__all__ = ["GstRegistry", "KnownElements", "Registry"]


class Registry(Protocol):
    def has(self, element: str) -> bool: ...

    def has_property(self, element: str, name: str) -> bool:
        """Whether this element, which is there, has the property: they come and go between versions."""
        ...


class GstRegistry:
    """GStreamer's own registry. MissingDependency where there is no GStreamer."""

    def has(self, element: str) -> bool:
        return gst().ElementFactory.find(element) is not None

    def has_property(self, element: str, name: str) -> bool:
        made = gst().ElementFactory.make(element, None) if self.has(element) else None
        return made is not None and made.find_property(name) is not None


@dataclass(frozen=True)
class KnownElements:
    """A registry in words: elements and their properties. For machines that are not at hand."""

    elements: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def has(self, element: str) -> bool:
        return element in self.elements

    def has_property(self, element: str, name: str) -> bool:
        return name in self.elements.get(element, ())
