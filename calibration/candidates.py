"""One stage in one precision, as a bundle tells of it: a row of the selection's table, and the graph itself."""

from __future__ import annotations

from collections.abc import Iterable

from affectrt.bundle.manifest import Candidate, Precision
from affectrt.bundle.writer import GraphDraft

from .conditions import Conditions, Difference
from .placement import Int8Target
from .speed import Cost
from .stage import StageSource

__all__ = ["candidate", "draft"]


def candidate(
    given: Conditions,
    stage: str,
    precision: Precision,
    graph: bytes,
    verdict: str,
    *,
    cost: Cost | None = None,
    error: Difference | None = None,
    kept: Iterable[str] = (),
) -> Candidate:
    """A row of the table; `cost`, `error`: where they were measured."""
    latency_ms = None if cost is None else cost.latency_ms
    share = None
    if latency_ms is not None and given.share_of_peak is not None:
        share = given.share_of_peak(stage, precision, latency_ms / 1000)
    return Candidate(
        stage=stage,
        precision=precision,
        size_bytes=len(graph),
        latency_ms=latency_ms,
        share_of_peak=share,
        error=None if error is None else error.relative,
        kept=tuple(sorted(kept)),
        verdict=verdict,
    )


def draft(
    source: StageSource,
    precision: Precision,
    target: Int8Target,
    graph: bytes,
    difference: Difference,
    kept: Iterable[str],
) -> GraphDraft:
    """The graph as the bundle takes it, with what it costs in its note."""
    note = f"relative error of the output {difference.relative:.4f}"
    if named := ", ".join(sorted(kept)):
        note += f"; in higher precision: {named}"
    return GraphDraft(
        stage=source.stage,
        precision=precision,
        content=graph,
        opset=source.opset,
        target=target,
        parity_max_abs=difference.largest,
        note=note,
    )
