"""The search finds the layer that eight bits cannot hold, and keeps that one and no other."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from doubles.outlier_bundle import OUTLIER_TAKER
from doubles.search_case import LAYERS, Case, Told, opened_case

from affectrt.bundle import UsageError
from affectrt.bundle.manifest import Precision
from affectrt.calibration.guard import Guard
from affectrt.calibration.placement import Int8Target
from affectrt.calibration.search import Found, Sensitivity
from affectrt.calibration.stage import layers
from affectrt.runtime.engines import Engine


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with opened_case(tmp_path_factory.mktemp("damaged") / "outlier.affect") as case:
        yield case


@pytest.fixture(scope="module")
def whole(damaged: Case) -> Found:
    """The outcome of a search that nobody disturbed."""
    return damaged.search(damaged.judge())


def quantised(graph: bytes) -> set[str]:
    """The layers of a graph that take eight bits; a cast to FP16 calls some of their outputs otherwise."""
    nodes = onnx.load_from_string(graph).graph.node
    made_by = {name: node.op_type for node in nodes for name in node.output}
    takers = [node for node in nodes if node.op_type in ("Conv", "Gemm")]
    outputs = [node.output[0] for node in takers if made_by.get(node.input[0]) == "DequantizeLinear"]
    return {name.removesuffix("_cast_to_fp16") for name in outputs}


def test_the_damage_does_not_exist_in_fp32(damaged: Case, tmp_path: Path) -> None:
    with opened_case(tmp_path / "healthy.affect", 1.0) as healthy:
        for ours, theirs in zip(damaged.judge().reference, healthy.judge().reference, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_healthy_model_passes_in_int8_without_a_search(tmp_path: Path) -> None:
    with opened_case(tmp_path / "healthy.affect", 1.0) as healthy:
        judge = healthy.judge()
        found = healthy.search(judge)
        assert judge.plays == 1 and len(found.steps) == 1 and found.sensitivities == ()
        assert found.keep == {"video": frozenset()} and quantised(found.graphs["video"]) == set(
            layers(healthy.source, "tensorrt")
        )
        # Ranking the layers may be wished for in any case; it changes nothing else.
        ranked = healthy.search(judge, rank=True)
        assert len(ranked.sensitivities) == LAYERS and ranked.graphs == found.graphs and judge.plays == 2 + LAYERS


@pytest.mark.parametrize(("target", "precision"), [("tensorrt", "int8"), ("tensorrt", "int8-fp16"), ("cpu", "int8")])
def test_plain_int8_fails_and_keeping_the_layer_with_the_outliers_passes(
    damaged: Case, target: Int8Target, precision: Precision
) -> None:
    found = damaged.search(damaged.judge(), target=target, precision=precision)
    plain, kept = found.steps
    assert plain.keep == {"video": frozenset()} and len(plain.problems) == 4
    assert all(compared.loss.value > 0.5 for compared in plain.comparisons.values())
    worst = found.sensitivities[0]
    assert worst.layer == OUTLIER_TAKER and min(worst.loss.values()) > 0.5 and worst.error > 0.1
    assert all(max(other.loss.values()) < 0.01 for other in found.sensitivities[1:])
    assert found.keep == kept.keep == {"video": frozenset({OUTLIER_TAKER})} and kept.problems == ()
    assert quantised(found.graphs["video"]) == set(layers(damaged.source, target)) - {OUTLIER_TAKER}
    assert found.comparisons is kept.comparisons and found.fallen_back == ()


def test_layers_whose_loss_is_flat_are_ranked_by_their_features() -> None:
    flat = Sensitivity("video", "flat", {"valence": 0.0004, "arousal": -0.01}, error=0.02)
    flatter = Sensitivity("video", "flatter", {"valence": -0.0001, "arousal": 0.0}, error=0.05)
    unjudged = Sensitivity("video", "unjudged", {}, error=0.03)
    broken = Sensitivity("video", "broken", {}, error=0.001, lost=3)
    bad = Sensitivity("video", "bad", {"valence": -0.2, "arousal": 0.0006}, error=0.01)
    ranked = sorted((flat, flatter, unjudged, broken, bad), key=lambda each: each.damage, reverse=True)
    assert [each.layer for each in ranked] == ["broken", "bad", "flatter", "unjudged", "flat"]


def test_only_the_layers_of_the_largest_error_are_judged_where_so_wished(damaged: Case, whole: Found) -> None:
    judge = damaged.judge()
    found = damaged.search(judge, judged=2)
    assert judge.plays == 1 + 2 + 1 and found.keep == whole.keep
    assert [bool(s.loss) for s in found.sensitivities].count(True) == 2
    assert {s.layer: s.error for s in found.sensitivities} == {s.layer: s.error for s in whole.sensitivities}


def test_a_stage_of_which_nothing_may_be_quantised_falls_back_to_fp32_and_says_so(damaged: Case) -> None:
    told = Told()
    # nothing but FP32 itself loses so little
    found = damaged.search(damaged.judge(), guard=Guard(0.0, 1e-9), progress=told)
    assert found.fallen_back == ("video",) and found.graphs == {}
    assert found.keep["video"] == set(layers(damaged.source, "tensorrt"))
    assert found.steps[-1].problems == () and all(c.loss.value == 0 for c in found.comparisons.values())
    assert "video falls back to FP32: all its layers would be kept" in told.lines


def test_progress_counts_every_layer_and_tells_every_step(damaged: Case) -> None:
    told = Told()
    damaged.search(damaged.judge(), progress=told)
    assert told.pieces["CCC of each layer alone"] == (LAYERS, LAYERS)
    assert told.lines[0].startswith("all INT8: valence: loses 0.") and len(told.lines) == 1 + LAYERS + 1
    assert told.lines[-1] == f"video {OUTLIER_TAKER} kept: the guard passes"


def test_estimates_that_a_candidate_does_not_give_are_no_success(damaged: Case) -> None:
    judge = damaged.judge()
    reference = judge.reference
    play = judge.play

    def holes(engines: Mapping[str, Engine]) -> list[np.ndarray]:
        played = [rows.copy() for rows in play(engines)]
        if engines["video"] is not damaged.engines["video"]:
            played[0][3, 0] = np.nan
        return played

    judge.play = holes  # type: ignore[method-assign]
    found = damaged.search(judge)
    assert judge.reference is reference
    assert found.steps[0].problems == ("1 estimates that FP32 gives are missing or not finite",)
    assert found.fallen_back == ("video",) and all(s.lost == 1 and not s.loss for s in found.sensitivities)


def test_one_video_is_refused_before_anything_is_computed(damaged: Case) -> None:
    judge = replace(damaged, videos=damaged.videos[:1]).judge()
    with pytest.raises(UsageError, match="two videos or more are needed"):
        damaged.search(judge)
    assert judge.plays == 0
