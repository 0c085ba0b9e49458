"""INT8 for a bundle: record real inputs, compute ranges once, write one graph per target, compare, put them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import BundleError, UsageError
from affectrt.bundle.store import Bundle, open_bundle
from affectrt.bundle.writer import FileDraft, GraphDraft, check_place, update_bundle
from affectrt.runtime.words.pieces import pieces_of

from .conditions import open_candidate
from .outside import GraphCheck, check_graphs
from .placement import Int8Target
from .ranges import BATCH, METHODS, Method, Ranges
from .stage import TARGETS, emit, prepare_stage
from .windows import OpenMedia, open_with_words, record_windows

__all__ = ["DEFAULT_METHOD", "DEFAULT_WINDOWS", "StageInt8", "calibrate_bundle", "calibrate_stage", "check_wishes"]

DEFAULT_METHOD: Method = "minmax"
DEFAULT_WINDOWS = 128
Feeds = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class StageInt8:
    """What calibration makes of one stage. `relative_error`: target → ‖int8 − fp32‖ / ‖fp32‖ on the recorded rows."""

    ranges: Ranges
    graphs: tuple[GraphDraft, ...]
    relative_error: Mapping[Int8Target, float]


def calibrate_bundle(
    path: str | PathLike[str],
    media: Sequence[Path],
    *,
    method: Method = DEFAULT_METHOD,
    windows: int = DEFAULT_WINDOWS,
    seed: int = 0,
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
    check: GraphCheck | None = None,
    opened: OpenMedia = open_with_words,
) -> Bundle:
    """Add INT8 graphs of every encoder, their ranges and the plan `int8`, all or nothing.

    `windows` is the number of recorded inputs per stage. The fusion stays FP32: it is a hundredth of the work and
    decides the estimate. `check` may refuse graphs for TensorRT, `opened` opens `media`.

    Raises MediaError, BundleError, ParityError, UsageError.
    """
    check_wishes(method, windows)
    tell = progress or (lambda _: None)
    bundle = open_bundle(path)
    if out is not None:
        check_place(Path(out), overwrite=overwrite)
    feeds = record_windows(
        bundle.contract,
        media,
        per_stage=windows,
        seed=seed,
        pieces=pieces_of(bundle),
        opened=opened,
        progress=tell,
    )
    stages = {}
    for stage, recorded in feeds.items():
        tell(f"calibrating {stage} on {_rows(recorded)} recorded inputs")
        made = calibrate_stage(bundle, stage, recorded, method=method, seed=seed)
        if made is None:
            tell(f"{stage} stays fp32: it has no convolution or matrix product with constant weights")
            continue
        stages[stage] = made
        errors = ", ".join(f"{target} {error:.1%}" for target, error in made.relative_error.items())
        tell(f"{stage} int8 differs from fp32 by {errors}")
    if not stages:
        raise BundleError(f"no stage of {bundle.path} can become int8", expected="an encoder with convolutions")
    check_graphs((graph for made in stages.values() for graph in made.graphs), check)
    return _write(bundle, stages, out=out, overwrite=overwrite)


def check_wishes(method: str, windows: int) -> None:
    """UsageError for a method that does not exist or no windows at all."""
    if method not in METHODS:
        raise UsageError(f"method {method!r}", expected=", ".join(METHODS), fix=f"--method {DEFAULT_METHOD}")
    if windows < 1:
        raise UsageError(f"{windows} windows", expected="at least 1", fix=f"--windows {DEFAULT_WINDOWS}")


def calibrate_stage(bundle: Bundle, stage: str, feeds: Feeds, *, method: Method, seed: int) -> StageInt8 | None:
    """INT8 graphs of one stage for every target, all from the same ranges; None where there is nothing to quantise."""
    source = prepare_stage(bundle, stage, feeds, method=method, seed=seed)
    if not source.ranges.tensors:
        return None
    ranges = source.ranges
    wanted = _run(source.fp32, feeds, "cpu")
    graphs: list[GraphDraft] = []
    errors: dict[Int8Target, float] = {}
    for target in TARGETS:
        content = emit(source, "int8", target)
        found = _run(content, feeds, target)
        errors[target] = float(np.linalg.norm(found - wanted) / max(np.linalg.norm(wanted), 1e-12))
        graphs.append(
            GraphDraft(
                stage=stage,
                precision="int8",
                content=content,
                opset=source.opset,
                target=target,
                parity_max_abs=float(np.abs(found - wanted).max()),
                note=f"{method} ranges of {ranges.rows} recorded inputs, seed {seed}; "
                f"relative error of the output {errors[target]:.4f}",
            )
        )
    return StageInt8(ranges, tuple(graphs), errors)


def _rows(feeds: Feeds) -> int:
    return len(next(iter(feeds.values())))


def _write(
    bundle: Bundle, stages: Mapping[str, StageInt8], *, out: str | PathLike[str] | None, overwrite: bool
) -> Bundle:
    """Put the stages into the bundle, judged by nobody: `calibrate_guarded` is the way with a guard."""
    return update_bundle(
        bundle,
        graphs=[graph for made in stages.values() for graph in made.graphs],
        attachments={
            f"ranges_{stage}": FileDraft(f"ranges/{stage}.json", made.ranges.as_json())
            for stage, made in stages.items()
        },
        plans={"int8": {stage: "int8" if stage in stages else "fp32" for stage in bundle.contract.stages}},
        out=out,
        overwrite=overwrite,
    )


def _run(graph: bytes, feeds: Feeds, target: Int8Target) -> npt.NDArray[np.float32]:
    """The output of a graph for all rows, a few at a time."""
    with open_candidate(target, graph, None) as engine:
        (output,) = engine.outputs
        parts = [
            engine.infer({name: array[start : start + BATCH] for name, array in feeds.items()})[output]
            for start in range(0, _rows(feeds), BATCH)
        ]
    return np.concatenate(parts).astype(np.float32)
