"""What `auto` runs: the fastest of what the guard lets through, with the measurements that chose it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from doubles.array_judge import ArrayJudge
from doubles.outlier_bundle import OUTLIER_TAKER, frames_with_flashes, make_outlier_bundle

from affectrt.bundle import Bundle, GraphDraft, Precision, update_bundle
from affectrt.calibration import conditions
from affectrt.calibration import selection as selection_room
from affectrt.calibration.conditions import Conditions
from affectrt.calibration.guard import Guard
from affectrt.calibration.selection import Selected, select_for_cpu, select_for_tensorrt
from affectrt.calibration.speed import Cost
from affectrt.calibration.stage import StageSource, emit, prepare_stage
from affectrt.runtime.engines import open_engine
from affectrt.runtime.engines.base import Engine


class Yard:
    """A bundle, its recorded inputs and its judge, as `calibrate_guarded` would have put them together."""

    def __init__(self, path: Path, stack: ExitStack, *, outlier: float) -> None:
        self.bundle: Bundle = make_outlier_bundle(path, outlier=outlier)
        frames = frames_with_flashes(64, 0)
        self.engines: dict[str, Engine] = {
            stage: stack.enter_context(open_engine(self.bundle, stage)) for stage in self.bundle.contract.stages
        }
        self.judge = ArrayJudge([frames_with_flashes(60, seed) for seed in range(1, 9)], self.engines)
        features = self.engines["video"].infer({"frames": frames})["features"]
        window = self.bundle.contract.fusion.window_steps
        windows = features[: len(features) // window * window].reshape(-1, window, features.shape[-1])
        self.feeds = {"video": {"frames": frames}, "fusion": {"video": windows}}

    def source(self, stage: str) -> StageSource:
        found = prepare_stage(self.bundle, stage, self.feeds[stage], method="minmax", seed=0)
        assert found is not None
        return found

    def conditions(self, *, force: bool = False, guard: Guard | None = None) -> Conditions:
        return Conditions(
            judge=self.judge,
            guard=guard or Guard(),
            engines=self.engines,
            reference=self.judge.reference,
            feeds=self.feeds,
            machine="a test",
            threads=1,
            share_of_peak=lambda stage, precision, seconds: 0.5,
            force=force,
        )


@pytest.fixture
def healthy(tmp_path: Path) -> Iterator[Yard]:
    with ExitStack() as stack:
        yield Yard(tmp_path / "healthy.affect", stack, outlier=1.0)


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[Yard]:
    with ExitStack() as stack:
        yield Yard(tmp_path / "damaged.affect", stack, outlier=4096.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[Precision, float]:
    """Milliseconds of a row by precision; INT8 is twice as fast unless a test says otherwise."""
    taken: dict[Precision, float] = {"fp32": 2.0, "int8": 1.0}

    def time_in_turns(engines: Mapping[Precision, Engine], feeds: object) -> dict[Precision, Cost]:
        return {precision: Cost((taken[precision] / 1000,) * 20) for precision in engines}

    monkeypatch.setattr(conditions, "time_in_turns", time_in_turns)
    return taken


def verdicts(selected: Selected) -> dict[tuple[str, str], str]:
    return {(row.stage, row.precision): row.verdict for row in selected.selection.candidates}


@pytest.mark.usefixtures("clock")
def test_what_is_faster_and_as_good_is_chosen_with_its_figures(healthy: Yard) -> None:
    found = select_for_cpu({"video": healthy.source("video")}, healthy.conditions())
    selection = found.selection
    assert selection.plan == {"video": "int8", "fusion": "fp32"}
    assert verdicts(found) == {("video", "fp32"): "not chosen", ("video", "int8"): "chosen"}
    int8 = selection.candidates[1]
    assert int8.speed_up is not None and int8.speed_up.value == pytest.approx(2)
    assert (int8.latency_ms, int8.share_of_peak, int8.kept) == (pytest.approx(1), 0.5, ())
    assert int8.error is not None and 0 < int8.error < 0.1
    assert selection.guard is not None and not selection.guard.problems and selection.guard.videos == 8
    loss = selection.guard.ccc["valence"].loss
    assert loss.high is not None and loss.value <= 0.01 and loss.high <= 0.02
    assert not selection.forced and selection.sensitivities == ()


def test_what_is_not_five_per_cent_faster_is_not_worth_it_but_can_be_asked_for(
    healthy: Yard, clock: dict[Precision, float]
) -> None:
    clock["int8"] = 2.0 / 1.04
    found = select_for_cpu({"video": healthy.source("video")}, healthy.conditions())
    assert found.selection.plan == {"video": "fp32", "fusion": "fp32"}
    assert verdicts(found)["video", "int8"] == "not worth it: 1.04 times FP32's speed"
    assert verdicts(found)["video", "fp32"] == "chosen"
    assert [graph.precision for graph in found.graphs] == ["int8"]
    assert found.selection.guard is None
    assert [(judged.plan["video"], judged.problems) for judged in found.selection.judged] == [("int8", ())]
    clock["int8"] = 2.0 / 1.06
    again = select_for_cpu({"video": healthy.source("video")}, healthy.conditions())
    assert again.selection.plan["video"] == "int8"


@pytest.mark.usefixtures("clock")
def test_the_layer_that_eight_bits_cannot_hold_is_kept_and_named(damaged: Yard) -> None:
    source = damaged.source("video")
    assert damaged.conditions().judged("cpu", {"video": _plain_int8(source)})[1]  # otherwise there is nothing to find
    found = select_for_cpu({"video": source}, damaged.conditions())
    row = next(row for row in found.selection.candidates if row.precision == "int8")
    assert OUTLIER_TAKER in row.kept and len(row.kept) < 5
    assert found.selection.plan["video"] == "int8"
    assert found.selection.guard is not None and not found.selection.guard.problems
    assert found.selection.sensitivities[0].layer == OUTLIER_TAKER
    plain, passed = found.selection.judged
    assert plain.problems and (plain.kept, passed.kept) == (0, len(row.kept))
    assert OUTLIER_TAKER in found.graphs[0].note


def test_force_takes_int8_against_guard_and_clock_and_says_so(damaged: Yard, clock: dict[Precision, float]) -> None:
    clock["int8"] = 3.0
    found = select_for_cpu({"video": damaged.source("video")}, damaged.conditions(force=True)).selection
    assert found.plan["video"] == "int8" and found.forced
    assert found.guard is not None and found.guard.problems
    assert found.candidates[1].verdict == "forced, though not worth it: 0.67 times FP32's speed"


@pytest.mark.usefixtures("clock")
def test_force_that_overrides_nothing_is_not_called_forced(healthy: Yard) -> None:
    assert not select_for_cpu({"video": healthy.source("video")}, healthy.conditions(force=True)).selection.forced


def test_tensorrt_gets_int8_with_fp16_around_it_and_is_told_that_nothing_was_timed(healthy: Yard) -> None:
    sources = {stage: healthy.source(stage) for stage in ("video", "fusion")}
    found = select_for_tensorrt(sources, healthy.conditions())
    assert found.selection.plan == {"video": "int8-fp16", "fusion": "fp16"}
    assert {(graph.stage, graph.precision) for graph in found.graphs} == {
        ("video", "fp16"),
        ("video", "int8"),
        ("video", "int8-fp16"),
        ("fusion", "fp16"),
    }
    assert all("not timed" in row.verdict and row.latency_ms is None for row in found.selection.candidates)
    assert found.selection.guard is not None and not found.selection.guard.problems
    halves = next(row for row in found.selection.candidates if (row.stage, row.precision) == ("fusion", "fp16"))
    assert halves.error is not None and 0 < halves.error < 0.01


def test_what_modelopt_makes_is_judged_like_our_own(damaged: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for modelopt, which is a process of its own and rarely installed: our placement, said to be its."""
    made: list[tuple[str, str]] = []

    def modelopt(source: StageSource, feeds: object, precision: Precision, **_: object) -> bytes:
        made.append((source.stage, precision))
        return emit(source, precision, "tensorrt", keep=kept)

    monkeypatch.setattr(selection_room, "emit_with_modelopt", modelopt)
    sources = {stage: damaged.source(stage) for stage in ("video", "fusion")}
    given = replace(damaged.conditions(), quantiser="modelopt")
    kept = frozenset[str]()
    refused = select_for_tensorrt(sources, given).selection
    assert refused.plan == {"video": "fp16", "fusion": "fp16"} and refused.judged[0].problems
    kept = frozenset({OUTLIER_TAKER})
    found = select_for_tensorrt(sources, given)
    assert found.selection.plan == {"video": "int8-fp16", "fusion": "fp16"}
    assert made == [("video", "int8-fp16"), ("video", "int8-fp16"), ("video", "int8")]
    notes = {graph.precision: graph.note for graph in found.graphs if graph.stage == "video"}
    assert "modelopt" in notes["int8-fp16"] and "modelopt" not in notes["fp16"]


@pytest.mark.usefixtures("clock")
def test_a_selection_and_its_graphs_make_a_bundle_that_runs_auto(healthy: Yard) -> None:
    sources = {stage: healthy.source(stage) for stage in ("video", "fusion")}
    given = healthy.conditions()
    both = [select_for_cpu(sources, given), select_for_tensorrt(sources, given)]
    graphs: list[GraphDraft] = [graph for each in both for graph in each.graphs]
    made = update_bundle(healthy.bundle, graphs=graphs, selections=[each.selection for each in both])
    assert made.plan("auto") == {"video": "int8", "fusion": "fp32"}
    assert made.graph_for("video", "auto", "tensorrt").precision == "int8-fp16"
    with open_engine(made, "video", "auto", threads=1) as engine:
        assert engine.provenance["precision"] == "int8"
        assert np.isfinite(engine.infer(healthy.feeds["video"])["features"]).all()


def _plain_int8(source: StageSource) -> bytes:
    return emit(source, "int8", "cpu")
