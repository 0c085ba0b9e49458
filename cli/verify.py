"""`affectrt verify`: is a bundle intact, and does every graph run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from affectrt.bundle import Bundle, Graph

__all__ = ["verify"]

# Two rows, so that a graph with a frozen batch axis is found out.
BATCH = 2


def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle directory, NAME.affect.", show_default=False)],
    tensorrt: Annotated[
        bool, typer.Option("--tensorrt", help="Also: do TensorRT's parsers take every graph that it would be given.")
    ] = False,
) -> None:
    """Is a bundle intact, and does every graph run.

    Checks the manifest and every file's hash, then opens each graph and computes a batch of silence and black.
    Graphs for TensorRT are hashed alone, and read with --tensorrt. Exit code 0 when intact, 1 with everything that is
    wrong otherwise.
    """
    from affectrt.bundle import AffectError, BundleError, open_bundle

    opened = open_bundle(bundle)
    problems: list[str] = []
    for graph in opened.manifest.graphs:
        if graph.target == "tensorrt":
            typer.echo(f"intact      {graph.file} ({graph.stage} {graph.precision}, for TensorRT: not run here)")
            continue
        try:
            _run_once(opened, graph)
        except AffectError as error:
            problems.append(f"{graph.file} ({graph.stage} {graph.precision}): {error}")
        else:
            typer.echo(f"runs        {graph.file} ({graph.stage} {graph.precision})")
    for graph in opened.manifest.graphs if tensorrt else ():
        if graph.target != "cpu":
            problems += _refused_operators(opened, graph)
    for attachment in opened.manifest.attachments.values():
        typer.echo(f"intact      {attachment.file}")
    if problems:
        raise BundleError(
            "\n".join([f"{opened.path} is whole, but not every graph is usable:", *(f"  - {p}" for p in problems)]),
            fix="export or calibrate the bundle again",
        )
    typer.echo(f"{opened.path} is intact: fingerprint {opened.fingerprint}")


def _refused_operators(bundle: Bundle, graph: Graph) -> list[str]:
    """What any supported version of TensorRT would refuse of a graph."""
    from affectrt.export.engines.onnx_graph import graph_from_bytes
    from affectrt.export.operator_lint import operator_problems
    from affectrt.export.operator_table import TABLES

    found = operator_problems(graph_from_bytes(graph.stage, bundle.read(graph)))
    if not found:
        typer.echo(f"readable    {graph.file} by TensorRT {', '.join(TABLES)}")
    return [f"{graph.file} ({graph.stage} {graph.precision}): {problem}" for problem in found]


def _run_once(bundle: Bundle, graph: Graph) -> None:
    """Open one graph, whatever the plans say of it, and check what it makes of zeros."""
    import numpy as np

    from affectrt.bundle import BundleError
    from affectrt.runtime.engines import open_engine

    # A bundle of this graph alone, with a plan that names it.
    plans = {graph.precision: {graph.stage: graph.precision}}
    alone = replace(bundle, manifest=bundle.manifest.model_copy(update={"graphs": (graph,), "plans": plans}))
    want = bundle.contract.stage_output(graph.stage)
    feeds = {t.name: np.zeros((BATCH, *t.shape), t.dtype) for t in bundle.contract.stage_inputs(graph.stage)}
    with open_engine(alone, graph.stage, graph.precision, "onnxruntime") as engine:
        result = engine.infer(feeds)[want.name]
    if result.shape != (BATCH, *want.shape) or result.dtype != want.dtype:
        raise BundleError(
            f"it gives {result.dtype}{list(result.shape)} for a batch of {BATCH}",
            expected=f"{want.dtype}{[BATCH, *want.shape]}",
        )
    if not np.isfinite(result).all():
        raise BundleError("it gives values that are not finite for silence and black")
