"""What `auto` runs on a target: the fastest of what the guard lets through, and the measurements that say so."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from affectrt.bundle.manifest import Candidate, Guarded, Precision, Selection, Sensitivity
from affectrt.bundle.writer import GraphDraft

from .candidates import candidate, draft
from .conditions import Conditions, open_candidate
from .judging import Comparison
from .modelopt import emit_with_modelopt
from .placement import Int8Target
from .search import Sensitivity as Ranked
from .search import search
from .speed import MIN_SPEED_UP, speed_up
from .stage import StageSource, emit, layers

if TYPE_CHECKING:
    from affectrt.bundle.manifest import OutputName

__all__ = ["Selected", "select_for_cpu", "select_for_tensorrt"]

NOT_TIMED = "not timed: only the device it runs on can"
# Of a model with more layers only those with the largest error are played alone: each takes a whole evaluation.
JUDGED_LAYERS = 24
NOTHING_LEFT = "fails the guard"


@dataclass(frozen=True)
class Selected:
    """A selection with the graphs that it, and whoever asks for one of their precisions, runs."""

    selection: Selection
    graphs: tuple[GraphDraft, ...]


@dataclass(frozen=True)
class _Quantised:
    """Graphs that the guard passed (all of them, where it was not asked), and the layers that they keep."""

    graphs: Mapping[str, bytes]
    keep: Mapping[str, frozenset[str]]
    ranked: tuple[Ranked, ...]
    judged: tuple[Guarded, ...]


def select_for_cpu(sources: Mapping[str, StageSource], given: Conditions) -> Selected:
    """INT8 for the stages that it makes faster by 5 % or more, as far as the guard passes it; FP32 for the others."""
    able = {stage: source for stage, source in sources.items() if layers(source, "cpu")}
    made = _quantise(able, "cpu", "int8", given)
    rows: list[Candidate] = []
    drafts: list[GraphDraft] = []
    worth: dict[str, bytes] = {}
    for stage, source in sources.items():
        graph = made.graphs.get(stage)
        if graph is None:
            cost = given.timed(stage, {"fp32": source.fp32})["fp32"]
            rows.append(candidate(given, stage, "fp32", source.fp32, "chosen", cost=cost))
            if stage in able:
                rows.append(candidate(given, stage, "int8", source.fp32, NOTHING_LEFT, kept=made.keep[stage]))
            continue
        costs = given.timed(stage, {"fp32": source.fp32, "int8": graph})
        gain, difference = speed_up(costs["fp32"], costs["int8"]), given.difference(stage, "cpu", graph)
        enough = gain.value >= MIN_SPEED_UP
        if enough or given.force:
            worth[stage] = graph
        verdict = "chosen" if enough else f"not worth it: {gain.value:.2f} times FP32's speed"
        if given.force and not enough:
            verdict = f"forced, though {verdict}"
        rows.append(
            candidate(
                given, stage, "fp32", source.fp32, "not chosen" if stage in worth else "chosen", cost=costs["fp32"]
            )
        )
        row = candidate(
            given, stage, "int8", graph, verdict, cost=costs["int8"], error=difference, kept=made.keep[stage]
        )
        rows.append(row.model_copy(update={"speed_up": gain}))
        drafts.append(draft(source, "int8", "cpu", graph, difference, made.keep[stage]))
    judged = made.judged
    if worth and set(worth) != set(made.graphs):
        # What passes as a whole is expected to pass in part; it is asked all the same.
        compared, problems = given.judged("cpu", worth)
        judged += (_guarded(given, dict.fromkeys(worth, "int8"), made.keep, compared, problems),)
    if worth and judged[-1].problems and not given.force:
        rows = [row if row.stage not in worth else _demoted(row) for row in rows]
        worth = {}
    plan: dict[str, Precision] = {stage: "int8" if stage in worth else "fp32" for stage in given.engines}
    return _selected("cpu", plan, rows, drafts, made.ranked, judged, given)


def select_for_tensorrt(sources: Mapping[str, StageSource], given: Conditions) -> Selected:
    """INT8 with FP16 around it, FP16 where nothing is INT8, as far as the guard passes them. Nothing is timed here."""
    able = {stage: source for stage, source in sources.items() if layers(source, "tensorrt")}
    made = _quantise(able, "tensorrt", "int8-fp16", given)
    halves = {stage: emit(source, "fp16", "tensorrt") for stage, source in sources.items()}
    chosen, judged = _first_that_passes(made, halves, given)
    rows: list[Candidate] = []
    drafts: list[GraphDraft] = []
    for stage, source in sources.items():
        keep = made.keep.get(stage, frozenset())
        candidates: dict[Precision, tuple[bytes, frozenset[str]]] = {"fp16": (halves[stage], frozenset())}
        if stage in made.graphs:
            candidates["int8"] = (_emit(source, "int8", "tensorrt", keep, given), keep)
            candidates["int8-fp16"] = (made.graphs[stage], keep)
        word = "not chosen" if stage in chosen else "chosen"
        rows.append(candidate(given, stage, "fp32", source.fp32, f"{word}, {NOT_TIMED}"))
        for precision, (graph, kept) in candidates.items():
            difference = given.difference(stage, "tensorrt", graph)
            word = "chosen" if chosen.get(stage) == precision else "not chosen"
            rows.append(candidate(given, stage, precision, graph, f"{word}, {NOT_TIMED}", error=difference, kept=kept))
            drafted = draft(source, precision, "tensorrt", graph, difference, kept)
            if precision != "fp16" and _is_modelopts("tensorrt", given):
                drafted = replace(drafted, note=f"{drafted.note}; quantised by nvidia-modelopt")
            drafts.append(drafted)
        if stage in able and stage not in made.graphs:
            rows.append(candidate(given, stage, "int8-fp16", source.fp32, NOTHING_LEFT, kept=keep))
    plan: dict[str, Precision] = {stage: chosen.get(stage, "fp32") for stage in given.engines}
    return _selected("tensorrt", plan, rows, drafts, made.ranked, made.judged + judged, given)


def _quantise(
    sources: Mapping[str, StageSource], target: Int8Target, precision: Precision, given: Conditions
) -> _Quantised:
    if not sources:
        return _Quantised({}, {}, (), ())
    if given.force or _is_modelopts(target, given):
        # As it is or not at all: whoever forces wants no search, and modelopt takes seconds for every graph of one.
        nothing: dict[str, frozenset[str]] = dict.fromkeys(sources, frozenset())
        graphs = {s: _emit(source, precision, target, nothing[s], given) for s, source in sources.items()}
        word = _guarded(given, dict.fromkeys(sources, precision), nothing, *given.judged(target, graphs))
        return _Quantised(graphs if given.force or not word.problems else {}, nothing, (), (word,))
    found = search(
        sources,
        given.judge,
        given.reference,
        given.guard,
        engines=given.engines,
        open_graph=lambda _, graph: open_candidate(target, graph, given.threads),
        feeds=given.feeds,
        target=target,
        precision=precision,
        record=None if given.record is None else given.record / f"{target}.jsonl",
        rank=given.rank,
        judged=JUDGED_LAYERS,
        progress=given.progress,
    )
    # The first step is everything in eight bits, the last one what passes: the ones between are the search's own.
    steps = found.steps if len(found.steps) < 2 else (found.steps[0], found.steps[-1])
    judged = tuple(
        _guarded(
            given,
            {s: precision for s in sources if s in found.graphs or not index},
            step.keep,
            step.comparisons,
            step.problems,
        )
        for index, step in enumerate(steps)
    )
    return _Quantised(found.graphs, found.keep, found.sensitivities, judged)


def _is_modelopts(target: Int8Target, given: Conditions) -> bool:
    return target == "tensorrt" and given.quantiser == "modelopt"


def _emit(
    source: StageSource, precision: Precision, target: Int8Target, keep: frozenset[str], given: Conditions
) -> bytes:
    if not _is_modelopts(target, given):
        return emit(source, precision, target, keep=keep)
    given.progress.say(f"modelopt makes {source.stage} {precision}")
    return emit_with_modelopt(source, given.feeds[source.stage], precision, method=source.ranges.method, keep=keep)


def _first_that_passes(
    made: _Quantised, halves: Mapping[str, bytes], given: Conditions
) -> tuple[dict[str, Precision], tuple[Guarded, ...]]:
    """Stage → precision, from the one that should be fastest to the safest; nothing where even FP16 loses too much."""
    mixed = made.graphs
    offers: list[dict[str, tuple[Precision, bytes]]] = [
        {s: ("int8-fp16", mixed[s]) if s in mixed else ("fp16", half) for s, half in halves.items()},
        {s: ("int8-fp16", graph) for s, graph in mixed.items()},
        {s: ("fp16", half) for s, half in halves.items()},
    ]
    judged: tuple[Guarded, ...] = ()
    for offer in (offer for offer in offers if offer):
        compared, problems = given.judged("tensorrt", {stage: graph for stage, (_, graph) in offer.items()})
        plan: dict[str, Precision] = {stage: precision for stage, (precision, _) in offer.items()}
        judged += (
            _guarded(given, plan, {s: made.keep[s] for s in mixed if plan.get(s) != "fp16"}, compared, problems),
        )
        named = ", ".join(f"{stage} {precision}" for stage, precision in plan.items())
        given.progress.say(f"tensorrt, {named}: {'; '.join(problems) or 'the guard passes'}")
        if not problems or given.force:
            return plan, judged
    return {}, judged


def _guarded(
    given: Conditions,
    plan: Mapping[str, Precision],
    keep: Mapping[str, frozenset[str]],
    compared: Mapping[str, Comparison],
    problems: Iterable[str],
) -> Guarded:
    return Guarded(
        plan={stage: plan.get(stage, "fp32") for stage in given.engines},
        kept=sum(len(keep.get(stage, ())) for stage in plan),
        kind=given.judge.kind,
        corpus=given.judge.corpus,
        videos=given.judge.videos,
        backend="onnxruntime",
        max_loss=given.guard.max_loss,
        max_upper_loss=given.guard.max_upper_loss,
        problems=tuple(problems),
        ccc={cast("OutputName", name): of for name, of in compared.items()},
    )


def _demoted(row: Candidate) -> Candidate:
    return row.model_copy(update={"verdict": "chosen" if row.precision == "fp32" else "fails the guard"})


def _selected(
    target: Int8Target,
    plan: dict[str, Precision],
    rows: Iterable[Candidate],
    drafts: Iterable[GraphDraft],
    ranked: tuple[Ranked, ...],
    judged: tuple[Guarded, ...],
    given: Conditions,
) -> Selected:
    selection = Selection(
        target=target,
        plan=plan,
        machine=given.machine,
        candidates=tuple(rows),
        judged=judged,
        sensitivities=tuple(
            Sensitivity(
                stage=each.stage,
                layer=each.layer,
                loss={cast("OutputName", name): loss for name, loss in each.loss.items()},
                error=each.error if math.isfinite(each.error) else None,
            )
            for each in ranked
        ),
    )
    refused = selection.guard is not None and selection.guard.problems
    slow = any(row.verdict.startswith("forced") for row in selection.candidates)
    return Selected(selection.model_copy(update={"forced": bool(refused or slow)}), tuple(drafts))
