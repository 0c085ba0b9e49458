"""The search finds the layer that eight bits cannot hold, keeps that and no other, and goes on where it was killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from doubles.array_judge import ArrayJudge
from doubles.outlier_bundle import OUTLIER_TAKER, frames_with_flashes, make_outlier_bundle

from affectrt.bundle import Bundle, UsageError, open_bundle
from affectrt.bundle.manifest import Precision
from affectrt.calibration.guard import Guard
from affectrt.calibration.placement import Int8Target
from affectrt.calibration.search import Found, Sensitivity, search
from affectrt.calibration.stage import StageSource, layers, prepare_stage
from affectrt.runtime.engines import Engine, open_engines
from affectrt.runtime.engines.onnxruntime_engine import OnnxRuntimeEngine

# the convolutions; the last product gives the features, which TensorRT's rules leave alone
LAYERS = 4
# everything INT8, each layer alone, and everything but the one that is kept
PLAYS = 1 + LAYERS + 1


@dataclass
class Case:
    """A bundle with all that a search of it needs."""

    bundle: Bundle
    engines: Mapping[str, Engine]
    feeds: dict[str, dict[str, np.ndarray]]
    source: StageSource
    videos: list[np.ndarray]
    opened: list[bytes] = field(default_factory=list)

    def judge(self, before_play: Callable[[int], None] = lambda number: None) -> ArrayJudge:
        return ArrayJudge(self.videos, self.engines, before_play=before_play)

    def open_graph(self, target: Int8Target, graph: bytes) -> Engine:
        self.opened.append(graph)
        return OnnxRuntimeEngine(graph, threads=1, provenance={}, integer_kernels=target == "cpu")

    def search(
        self,
        judge: ArrayJudge,
        *,
        target: Int8Target = "tensorrt",
        guard: Guard | None = None,
        record: Path | None = None,
        **options: object,
    ) -> Found:
        return search(
            {"video": self.source},
            judge,
            judge.reference,
            guard or Guard(),
            engines=self.engines,
            open_graph=lambda _, graph: self.open_graph(target, graph),
            feeds=self.feeds,
            target=target,
            record=record,
            **options,  # type: ignore[arg-type]
        )


@contextmanager
def opened_case(path: Path, outlier: float) -> Iterator[Case]:
    bundle = open_bundle(path) if path.exists() else make_outlier_bundle(path, outlier=outlier)
    feeds = {"video": {"frames": np.concatenate([frames_with_flashes(20, seed) for seed in (101, 102)])}}
    source = prepare_stage(bundle, "video", feeds["video"], method="minmax", seed=0)
    assert source is not None
    with ExitStack() as stack:
        engines = open_engines(bundle, "fp32", stack, threads=1)
        yield Case(bundle, engines, feeds, source, [frames_with_flashes(20, seed) for seed in range(6)])


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with opened_case(tmp_path_factory.mktemp("damaged") / "outlier.affect", 4096.0) as case:
        yield case


@pytest.fixture(scope="module")
def whole(damaged: Case) -> Found:
    """The outcome of a search that nobody disturbed."""
    return damaged.search(damaged.judge())


class Told:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.pieces: dict[str, tuple[int, int]] = {}

    def say(self, line: str) -> None:
        self.lines.append(line)

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        self.pieces[what] = (0, total)

        def done() -> None:
            self.pieces[what] = (self.pieces[what][0] + 1, total)

        yield done


def quantised(graph: bytes) -> set[str]:
    """The layers of a graph that take eight bits; a cast to FP16 calls some of their outputs otherwise."""
    nodes = onnx.load_from_string(graph).graph.node
    made_by = {name: node.op_type for node in nodes for name in node.output}
    takers = [node for node in nodes if node.op_type in ("Conv", "Gemm")]
    outputs = [node.output[0] for node in takers if made_by.get(node.input[0]) == "DequantizeLinear"]
    return {name.removesuffix("_cast_to_fp16") for name in outputs}


def tree(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


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


def stop_at(number: int) -> Callable[[int], None]:
    def stop(play: int) -> None:
        if play == number:
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize("at", [1, 2, 4, PLAYS])
def test_stopped_at_any_time_the_next_run_repeats_nothing_and_ends_the_same(
    damaged: Case, whole: Found, tmp_path: Path, at: int
) -> None:
    record, before = tmp_path / "search.jsonl", tree(damaged.bundle.path)
    first, second = damaged.judge(stop_at(at)), damaged.judge()
    with pytest.raises(KeyboardInterrupt):
        damaged.search(first, record=record)
    assert tree(damaged.bundle.path) == before
    damaged.opened.clear()
    told = Told()
    assert damaged.search(second, record=record, progress=told) == whole
    assert (first.plays, second.plays) == (at - 1, PLAYS - (at - 1))
    assert len(damaged.opened) == len(set(damaged.opened)) <= PLAYS - (at - 1)
    # Of a layer alone the features come first.
    done = (at - 1) + min(at - 1, LAYERS)
    assert (f"{done} finished measurements of {record} are taken over" in told.lines) == (at > 1)
    third = damaged.judge()
    assert damaged.search(third, record=record) == whole and third.plays == 0
    assert tree(damaged.bundle.path) == before


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from test_search import opened_case

def kill(play):
    if play == 4:
        os.kill(os.getpid(), signal.SIGKILL)

with opened_case(Path(sys.argv[3]), 4096.0) as case:
    case.search(case.judge(kill), record=Path(sys.argv[4]))
"""


def test_killed_for_good_the_next_process_goes_on(damaged: Case, whole: Found, tmp_path: Path) -> None:
    record, before, here = tmp_path / "search.jsonl", tree(damaged.bundle.path), Path(__file__).parent
    command = [sys.executable, "-c", KILLED, str(here), str(here.parent), str(damaged.bundle.path), str(record)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert tree(damaged.bundle.path) == before
    judge = damaged.judge()
    assert damaged.search(judge, record=record) == whole
    assert judge.plays == PLAYS - 3


@pytest.fixture
def finished(damaged: Case, whole: Found, tmp_path: Path) -> Path:
    path = tmp_path / "search.jsonl"
    assert damaged.search(damaged.judge(), record=path) == whole
    return path


def test_a_torn_last_line_is_measured_again_and_no_other(damaged: Case, whole: Found, finished: Path) -> None:
    content = finished.read_bytes()
    finished.write_bytes(content[:-20])
    judge = damaged.judge()
    assert damaged.search(judge, record=finished) == whole and judge.plays == 1
    assert finished.read_bytes() == content


def test_a_record_of_other_data_is_begun_anew_with_the_reason(damaged: Case, finished: Path) -> None:
    told = Told()
    other = replace(damaged, videos=[frames_with_flashes(20, seed) for seed in range(20, 26)])
    judge = other.judge()
    other.search(judge, record=finished, progress=told)
    assert judge.plays == PLAYS and told.lines[0] == f"{finished} is of another search, so it is begun anew"


def test_a_stricter_guard_goes_on_from_what_was_measured_for_another(damaged: Case, finished: Path) -> None:
    judge = damaged.judge()
    assert damaged.search(judge, record=finished, guard=Guard(0.0, 1e-9)).fallen_back == ("video",)
    # No layer kept and the worst one are known; so is all but one, which was measured alone, and FP32.
    assert judge.plays == LAYERS - 3


def changed(line: str, **values: object) -> str:
    return json.dumps({**json.loads(line), **values})


def better(line: str) -> str:
    """A candidate as good as FP32, if one believes the loss alone."""
    entry = json.loads(line)
    for found in entry["ccc"].values():
        found["loss"] = {"value": 0.0, "low": 0.0, "high": 0.0}
    return json.dumps(entry)


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (better, "contradict each other"),
        (lambda line: changed(line, ccc={}), "compares nothing and lost 0"),
        (lambda line: changed(line, lost=-1), "lost"),
        (lambda line: changed(line, of="../../etc/passwd"), "of"),
        (lambda line: changed(line, more=1), "more"),
        (lambda line: line.replace('"lost": 0', '"lost": 0, "lost": 0'), "twice"),
        (lambda line: line.replace('"value": ', '"value": NaN, "was": ', 1), "NaN"),
        (lambda line: "[" * 5000, "deeper"),
        (lambda line: "\x00" * 50, "not JSON"),
        (lambda line: "", "not JSON"),
    ],
)
def test_a_line_that_cannot_be_true_is_not_believed_nor_what_follows(
    damaged: Case, whole: Found, finished: Path, lie: Callable[[str], str], told: str
) -> None:
    lines = finished.read_text().splitlines()
    assert "ccc" in json.loads(lines[1])  # everything INT8, which failed
    finished.write_text("\n".join([lines[0], lie(lines[1]), *lines[2:]]) + "\n")
    heard, judge = Told(), damaged.judge()
    assert damaged.search(judge, record=finished, progress=heard) == whole
    assert judge.plays == PLAYS and "line 2 and what follows is left out" in heard.lines[0] and told in heard.lines[0]


def test_a_header_of_another_version_is_begun_anew(damaged: Case, whole: Found, finished: Path) -> None:
    finished.write_text(finished.read_text().replace('"version": 1', '"version": 2'))
    judge = damaged.judge()
    assert damaged.search(judge, record=finished) == whole and judge.plays == PLAYS


def test_a_file_that_is_no_record_is_left_alone(damaged: Case, tmp_path: Path) -> None:
    notes, link, pipe = tmp_path / "notes.txt", tmp_path / "link", tmp_path / "pipe"
    notes.write_text("mine\n")
    link.symlink_to(notes)
    os.mkfifo(pipe)
    for path, why in ((notes, "is not the record"), (link, "cannot be opened"), (pipe, "not a plain file")):
        judge = damaged.judge()
        with pytest.raises(UsageError, match=why):
            damaged.search(judge, record=path)
        assert judge.plays == 0
    assert notes.read_text() == "mine\n"


def test_two_searches_do_not_write_one_record(damaged: Case, tmp_path: Path) -> None:
    record = tmp_path / "search.jsonl"

    def second(_play: int) -> None:
        with pytest.raises(UsageError, match="another search is writing"):
            damaged.search(damaged.judge(), record=record)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        damaged.search(damaged.judge(second), record=record)
