"""Which nodes may be quantised."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from affectrt.bundle.scopes import FRONT_END, SCOPE_KEY

if TYPE_CHECKING:
    import onnx

__all__ = ["body_nodes", "is_front_end"]


def is_front_end(node: onnx.NodeProto) -> bool:
    return any(note.key == SCOPE_KEY and note.value == FRONT_END for note in node.metadata_props)


def body_nodes(nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes outside front ends: normalisation and mel spectra stay FP32, they span too many decades."""
    return [node for node in nodes if not is_front_end(node)]
