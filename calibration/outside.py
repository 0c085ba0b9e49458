"""A judge from outside this room of the graphs that were made for TensorRT: whether its parsers take them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from affectrt.bundle.writer import GraphDraft

__all__ = ["GraphCheck", "check_graphs"]

# Stage and serialised graph; raises ParityError for a graph that must not be written.
GraphCheck = Callable[[str, bytes], None]


def check_graphs(graphs: Iterable[GraphDraft], check: GraphCheck | None) -> None:
    """Show `check` every graph for TensorRT; without one nothing is asked."""
    for graph in graphs:
        if check is not None and graph.target == "tensorrt":
            content = graph.content if isinstance(graph.content, bytes) else graph.content.read_bytes()
            check(graph.stage, content)
