"""A bundle calibrated, judged and timed: what `auto` runs afterwards is what measurements speak for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path

from affectrt.bundle.contract import Contract
from affectrt.bundle.manifest import Precision
from affectrt.bundle.store import Bundle, open_bundle
from affectrt.bundle.writer import FileDraft, GraphDraft, check_place, update_bundle
from affectrt.runtime.engines.opening import open_engine
from affectrt.runtime.words.pieces import Pieces, pieces_of

from .calibrate import check_wishes
from .conditions import Conditions, Quantiser, ShareOfPeak
from .data import MediaFile, check_disjoint, describe_data
from .guard import Guard
from .informative import check_informative
from .judging import Judge
from .outside import GraphCheck, check_graphs
from .placement import Int8Target
from .progress import Progress, Silence
from .ranges import Method
from .remembered import Remembered
from .rounding import check_half_rounding
from .selection import Selected, select_for_cpu, select_for_tensorrt
from .stage import StageSource, prepare_stage
from .trials import Feeds
from .windows import OpenMedia, open_with_words, record_fusion_windows, record_windows

__all__ = ["SELECTORS", "JudgeOf", "calibrate_guarded"]

JudgeOf = Callable[[Contract, Pieces | None], Judge]
SELECTORS = {"cpu": select_for_cpu, "tensorrt": select_for_tensorrt}


def calibrate_guarded(
    path: str | PathLike[str],
    media: Sequence[MediaFile],
    evaluation: Sequence[MediaFile],
    judge_of: JudgeOf,
    *,
    targets: Sequence[Int8Target] = ("cpu", "tensorrt"),
    guard: Guard,
    method: Method = "minmax",
    windows: int = 128,
    seed: int = 0,
    threads: int | None = None,
    machine: str,
    share_of_peak: ShareOfPeak | None = None,
    record: Path | None = None,
    force: bool = False,
    rank: bool = False,
    quantiser: Quantiser = "affectrt",
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    check: GraphCheck | None = None,
    opened: OpenMedia = open_with_words,
) -> Bundle:
    """Add quantised graphs, their ranges, the facts of the calibration data and a selection for each target.

    Ranges come from `media`, which `opened` opens; `judge_of` makes the judge, who plays `evaluation`. All or nothing;
    a search that was killed goes on from `record`, a folder. `check` may refuse graphs for TensorRT. Raises MediaError,
    BundleError, ParityError, and UsageError: for sets that overlap, and for media that say too little.
    """
    tell = progress or Silence()
    check_wishes(method, windows)
    bundle = open_bundle(path)
    contract, pieces = bundle.contract, pieces_of(bundle)
    if out is not None:
        check_place(Path(out), overwrite=overwrite)
    check_disjoint(media, evaluation)
    if "tensorrt" in targets:
        check_half_rounding()
    paths, seconds = [file.path for file in media], dict[Path, float]()
    feeds = record_windows(
        contract,
        paths,
        per_stage=windows,
        seed=seed,
        pieces=pieces,
        opened=opened,
        progress=tell.say,
        read=seconds.__setitem__,
    )
    check_informative(contract, feeds)
    data = describe_data(media, seconds, {stage: _rows(rows) for stage, rows in feeds.items()})
    with ExitStack() as stack:
        engines = {
            stage: stack.enter_context(Remembered(open_engine(bundle, stage, "fp32", "onnxruntime", threads)))
            for stage in contract.stages
        }
        feeds |= record_fusion_windows(
            contract, paths, engines, per_stage=windows, seed=seed, pieces=pieces, opened=opened
        )
        sources: dict[str, StageSource] = {}
        for stage, rows in feeds.items():
            tell.say(f"{stage}: ranges of {_rows(rows)} recorded inputs")
            sources[stage] = prepare_stage(bundle, stage, rows, method=method, seed=seed)
        judge = judge_of(contract, pieces)
        tell.say(f"playing {judge.corpus} in FP32")
        given = Conditions(
            judge=judge,
            guard=guard,
            engines=engines,
            reference=judge.play(engines),
            feeds=feeds,
            machine=machine,
            threads=threads,
            share_of_peak=share_of_peak,
            record=record,
            force=force,
            rank=rank,
            quantiser=quantiser,
            progress=tell,
        )
        selected = {target: SELECTORS[target](sources, given) for target in targets}
    graphs = [graph for chosen in selected.values() for graph in chosen.graphs]
    check_graphs(graphs, check)
    return update_bundle(
        bundle,
        graphs=graphs,
        attachments={
            **{
                f"ranges_{stage}": FileDraft(f"ranges/{stage}.json", source.ranges.as_json())
                for stage, source in sources.items()
            },
            "calibration": FileDraft("calibration/data.json", data.as_json()),
        },
        plans=_plans(contract, selected),
        selections=[chosen.selection for chosen in selected.values()],
        out=out,
        overwrite=overwrite,
    )


def _rows(feeds: Feeds) -> int:
    return len(next(iter(feeds.values())))


def _plans(contract: Contract, selected: dict[Int8Target, Selected]) -> dict[Precision, dict[str, Precision]]:
    """Precision → stage → precision, for those who ask for one: wherever every calibrated target has the graph."""
    plans: dict[Precision, dict[str, Precision]] = {}
    for precision, targets in _targets_of(selected).items():
        made = [{graph.stage for graph in selected[t].graphs if graph.precision == precision} for t in targets]
        everywhere = set.intersection(*made)
        if everywhere:
            plans[precision] = {stage: precision if stage in everywhere else "fp32" for stage in contract.stages}
    mixed = plans.get("int8-fp16")
    if mixed is not None:
        plans["int8-fp16"] = {stage: "fp16" if ran == "fp32" else ran for stage, ran in mixed.items()}
    return plans


def _targets_of(selected: dict[Int8Target, Selected]) -> dict[Precision, list[Int8Target]]:
    """Precision → the targets that have graphs of it."""
    found: dict[Precision, list[Int8Target]] = {}
    for target, chosen in selected.items():
        graphs: tuple[GraphDraft, ...] = chosen.graphs
        for precision in dict.fromkeys(graph.precision for graph in graphs):
            found.setdefault(precision, []).append(target)
    return found
