"""`affectrt verify`: is a bundle intact, and does every graph run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from affectrt.bundle import Bundle, Graph
    from affectrt.bundle.contract import TensorInfo
    from affectrt.runtime.engines import Engine

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

    Checks the manifest and every file's hash, then opens each graph and computes a batch of silence and black, or of an
    empty and a full sentence, of the shortest and of the longest there may be.
    Graphs for TensorRT are hashed alone, and read with --tensorrt. Exit code 0 when intact, 1 with everything that is
    wrong otherwise.
    """
    from affectrt.bundle import AffectError, BundleError, open_bundle

    opened = open_bundle(bundle)
    problems: list[str] = []
    try:
        pieces = _pieces(opened)
    except AffectError as error:
        pieces = 1
        problems.append(str(error))
    for graph in opened.manifest.graphs:
        if graph.target == "tensorrt":
            typer.echo(f"intact      {graph.file} ({graph.stage} {graph.precision}, for TensorRT: not run here)")
            continue
        try:
            _run(opened, graph, pieces)
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


def _pieces(bundle: Bundle) -> int:
    """How many word pieces there are, 0 where no graph takes any. Raises BundleError without a vocabulary."""
    from affectrt.runtime.words.pieces import VOCABULARY, pieces_of

    if pieces_of(bundle) is None:
        return 0
    return len(bundle.read(bundle.manifest.attachments[VOCABULARY]).splitlines())


def _run(bundle: Bundle, graph: Graph, pieces: int) -> None:
    """Open one graph, whatever the plans say of it, and check what it makes of zeros, of each extreme of its lengths.

    Of a sentence one row has nothing, the other the vocabulary's last piece in all places: a graph that knows fewer
    pieces than the vocabulary has is found out.
    """
    from affectrt.runtime.engines import open_engine

    # A bundle of this graph alone, with a plan that names it.
    plans = {graph.precision: {graph.stage: graph.precision}}
    alone = replace(bundle, manifest=bundle.manifest.model_copy(update={"graphs": (graph,), "plans": plans}))
    lengths = bundle.contract.lengths(graph.stage)
    with open_engine(alone, graph.stage, graph.precision, "onnxruntime") as engine:
        for length in sorted({lengths[0], lengths[-1]}) if lengths else (None,):
            _run_once(bundle, graph.stage, engine, length, pieces)


def _run_once(bundle: Bundle, stage: str, engine: Engine, length: int | None, pieces: int) -> None:
    import numpy as np

    from affectrt.bundle import BundleError
    from affectrt.runtime.engines import TensorSpec

    def sized(tensor: TensorInfo) -> TensorSpec:
        return TensorSpec(tensor.dtype, tensor.shape).sized(length)

    output = bundle.contract.stage_output(stage)
    want = sized(output)
    feeds = {t.name: np.zeros((BATCH, *sized(t).shape), t.dtype) for t in bundle.contract.stage_inputs(stage)}
    if length is not None:
        full = {"token_ids": pieces - 1, "mask": 1, "word_index": np.arange(1, length + 1)}
        for name, values in full.items():
            feeds[name][1] = values
    result = engine.infer(feeds)[output.name]
    if result.shape != (BATCH, *want.shape) or result.dtype != want.dtype:
        raise BundleError(
            f"it gives {result.dtype}{list(result.shape)} for a batch of {BATCH}",
            expected=f"{want.dtype}{[BATCH, *want.shape]}",
        )
    if not np.isfinite(result).all():
        told = "silence and black" if length is None else f"sentences of {length} pieces"
        raise BundleError(f"it gives values that are not finite for {told}")
