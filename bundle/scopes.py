"""The one note that a graph's nodes carry: whether they are part of a front end, which no tool may quantise."""

from __future__ import annotations

from typing import Final

__all__ = ["BODY", "FRONT_END", "SCOPE_KEY"]

SCOPE_KEY: Final = "affectrt.scope"  # key in a node's metadata_props
FRONT_END: Final = "front_end"  # normalisation, mel spectrum: narrow steps over a wide range of values
BODY: Final = "body"
