"""Which layers stay in higher precision, so that the guard passes and everything else is INT8.

First everything is INT8; often that is all. If the guard says no, every layer is made INT8 alone and judged, and then
the most damaging ones are kept, one more at a time, until the guard passes on the whole evaluation set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from affectrt.bundle.errors import UsageError
from affectrt.bundle.manifest import Precision
from affectrt.runtime.engines.base import Engine

from .guard import Guard
from .judging import Comparison, Judge, Played
from .placement import Int8Target
from .progress import Progress, Silence
from .record import SearchRecord
from .stage import StageSource, emit, layers
from .trials import Feeds, OpenGraph, Trials, search_key

__all__ = ["FLAT", "Found", "Sensitivity", "Step", "search"]

# A loss of CCC up to this says nothing of a layer: it is a twentieth of what the guard allows by default, and rounding
# alone moves the CCC as far up as down. Layers below are told apart by what they do to the features.
FLAT = 0.0005

Keep = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class _Maker:
    """Emits candidates of one precision for one target."""

    precision: Precision
    target: Int8Target

    def layers(self, source: StageSource) -> tuple[str, ...]:
        return layers(source, self.target)

    def __call__(self, source: StageSource, *, keep: Set[str] = frozenset(), only: Set[str] | None = None) -> bytes:
        return emit(source, self.precision, self.target, keep=keep, only=only)


@dataclass(frozen=True)
class Sensitivity:
    """What it costs to quantise one layer alone.

    `loss`: dimension → loss of CCC; empty where it was not judged, and where estimates were `lost` (not finite although
    FP32's are). `error`: ‖quantised − fp32‖ / ‖fp32‖ of the stage's output on the recorded inputs.
    """

    stage: str
    layer: str
    loss: Mapping[str, float]
    error: float
    lost: int = 0

    @property
    def damage(self) -> tuple[int, float]:
        """Larger is worse: the loss of the worst dimension where it is above `FLAT`, otherwise the error."""
        worst = math.inf if self.lost else max(self.loss.values(), default=0.0)
        return (1, worst) if worst > FLAT else (0, self.error)


@dataclass(frozen=True)
class Step:
    """One candidate on the whole evaluation set: all INT8 but `keep`. It passed where there are no `problems`."""

    keep: Keep
    comparisons: Mapping[str, Comparison]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """What a search ended with.

    `keep`: stage → layers in higher precision; `graphs`: stage → what was judged. `sensitivities`: most damaging first;
    empty where none were needed. `steps`: in order; the last one passed the guard.
    """

    keep: Keep
    graphs: Mapping[str, bytes]
    sensitivities: tuple[Sensitivity, ...]
    steps: tuple[Step, ...]

    @property
    def fallen_back(self) -> tuple[str, ...]:
        """Stages that run FP32 and have no graph, because all their layers are kept."""
        return tuple(stage for stage in self.keep if stage not in self.graphs)

    @property
    def comparisons(self) -> Mapping[str, Comparison]:
        return self.steps[-1].comparisons


def search(
    sources: Mapping[str, StageSource],
    judge: Judge,
    reference: Played,
    guard: Guard,
    *,
    engines: Mapping[str, Engine],
    open_graph: OpenGraph,
    feeds: Mapping[str, Feeds],
    target: Int8Target,
    precision: Precision = "int8",
    record: Path | None = None,
    rank: bool = False,
    judged: int | None = None,
    progress: Progress | None = None,
) -> Found:
    """Search over the stages of `sources` together.

    `engines`: the FP32 engine of every stage of the model, which played `reference`; `open_graph` makes one of emitted
    bytes (stage, graph), which the search closes. `feeds`: the recorded inputs of each source. `record`: where finished
    measurements are kept; the caller removes it once their outcome is in the bundle. `rank`: rank the layers even
    if the guard passes at once. `judged`: of so many layers, those with the largest error, the CCC is computed; of all
    if None. Raises UsageError where FP32 against itself does not pass: then nothing could.
    """
    tell = progress or Silence()
    itself = judge.compare(reference, reference)
    if problems := guard.problems(itself):
        raise UsageError(
            f"{judge.corpus} cannot tell a good candidate from a bad one; of FP32 against itself:\n"
            + "\n".join(f"  - {problem}" for problem in problems),
            expected="evaluation videos, two or more, on which FP32 is better than a constant",
            fix="name another evaluation set, or allow less to be lost",
        )
    key = search_key(sources, judge, reference, itself, engines, feeds)
    with (
        SearchRecord(record, key, itself) as remembered,
        Trials(judge, reference, itself, engines, open_graph, feeds, remembered) as trials,
    ):
        if remembered.taken_over:
            tell.say(remembered.taken_over)
        return _search(sources, trials, guard, _Maker(precision, target), tell, rank, judged)


def _search(
    sources: Mapping[str, StageSource],
    trials: Trials,
    guard: Guard,
    make: _Maker,
    tell: Progress,
    rank: bool,
    judged: int | None,
) -> Found:
    names = {stage: make.layers(source) for stage, source in sources.items()}
    keep: dict[str, frozenset[str]] = {stage: frozenset() for stage in sources}
    graphs = {stage: make(source) for stage, source in sources.items() if names[stage]}
    steps = [_step(trials, guard, keep, graphs)]
    tell.say(f"all INT8: {_told(steps[-1])}")
    if not steps[-1].problems and not rank:
        return Found(keep, graphs, (), tuple(steps))
    ranked = _ranked(sources, names, trials, make, tell, judged)
    with tell.bar("keeping layers until the guard passes", len(ranked)) as done:
        for worst in ranked:
            if not steps[-1].problems:
                break
            stage = worst.stage
            keep[stage] |= {worst.layer}
            if keep[stage] >= set(names[stage]):
                del graphs[stage]
                tell.say(f"{stage} falls back to FP32: all its layers would be kept")
            else:
                graphs[stage] = make(sources[stage], keep=keep[stage])
            steps.append(_step(trials, guard, keep, graphs))
            tell.say(f"{stage} {worst.layer} kept: {_told(steps[-1])}")
            done()
    return Found(keep, graphs, tuple(ranked), tuple(steps))


def _ranked(
    sources: Mapping[str, StageSource],
    names: Mapping[str, Sequence[str]],
    trials: Trials,
    make: _Maker,
    tell: Progress,
    judged: int | None,
) -> list[Sensitivity]:
    """Every layer made INT8 alone, most damaging first."""
    every = [(stage, layer) for stage in sources for layer in names[stage]]
    if judged is not None and judged < len(every):
        with tell.bar("feature error of each layer", len(every)) as done:
            errors = {}
            for stage, layer in every:
                errors[stage, layer] = trials.error(stage, make(sources[stage], only={layer}))
                done()
        chosen = set(sorted(every, key=lambda place: -errors[place])[:judged])
    else:
        chosen = set(every)
    found = []
    with tell.bar("CCC of each layer alone", len(chosen)) as done:
        for stage, layer in every:
            if (stage, layer) not in chosen:
                found.append(Sensitivity(stage, layer, {}, errors[stage, layer]))
                continue
            graph = make(sources[stage], only={layer})
            error, (lost, ccc) = trials.error(stage, graph), trials.score({stage: graph})
            found.append(Sensitivity(stage, layer, {n: c.loss.value for n, c in ccc.items()}, error, lost))
            tell.say(f"{stage} {layer} alone: {_losses(ccc)}, feature error {error:.2%}")
            done()
    return sorted(found, key=lambda each: each.damage, reverse=True)


def _step(trials: Trials, guard: Guard, keep: Keep, graphs: Mapping[str, bytes]) -> Step:
    lost, ccc = trials.score(graphs)
    problems = [f"{lost} estimates that FP32 gives are missing or not finite"] if lost else guard.problems(ccc)
    return Step(dict(keep), ccc, tuple(problems))


def _told(step: Step) -> str:
    return "the guard passes" if not step.problems else "; ".join(step.problems)


def _losses(ccc: Mapping[str, Comparison]) -> str:
    return ", ".join(f"{name} loses {found.loss.value:.4f}" for name, found in ccc.items()) or "estimates are lost"
