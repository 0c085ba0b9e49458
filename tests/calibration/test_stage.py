"""One stage in every precision: graphs from stored ranges, and layers that stay in higher precision."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from doubles.clip_encoder import make_clip_bundle
from doubles.outlier_bundle import make_outlier_bundle
from doubles.residual_bundle import GraphWriter, make_residual_bundle

from affectrt.bundle import Bundle, BundleError, GraphDraft, ParityError, Precision, UsageError, update_bundle
from affectrt.calibration.graph import GraphEditor
from affectrt.calibration.placement import Int8Target
from affectrt.calibration.ranges import Ranges
from affectrt.calibration.stage import TARGETS, StageSource, emit, layers, prepare_stage, stage_from_ranges

STEM = "conv_4"  # of the clip encoder: over time, three colours, so that the cpu graph unrolls it


def smooth(shape: tuple[int, ...], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*[np.linspace(0, 1, n) for n in shape[1:]], indexing="ij")
    waves = rng.uniform(0, 6, (shape[0], len(grid)))
    rows = [np.sin(sum(a * axis for a, axis in zip(wave, grid, strict=True))) for wave in waves]
    return np.round((np.array(rows) + 1) * 127.5).astype(np.uint8)


def feeds_of(bundle: Bundle, stage: str, rows: int = 6) -> dict[str, np.ndarray]:
    if stage == "video":
        info = bundle.contract.stage_inputs(stage)[0]
        return {info.name: smooth((rows, *info.shape), 0)}
    rng = np.random.default_rng(1)
    inputs = bundle.contract.stage_inputs(stage)
    return {info.name: (0.3 * rng.standard_normal((rows, *info.shape))).astype(np.float32) for info in inputs}


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_residual_bundle(tmp_path_factory.mktemp("bundle") / "residual.affect")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_clip_bundle(tmp_path_factory.mktemp("bundle") / "clips.affect")


@pytest.fixture(scope="module", params=["residual video", "residual audio", "clips video"])
def case(request: pytest.FixtureRequest) -> tuple[StageSource, dict[str, np.ndarray]]:
    kind, stage = request.param.split()
    bundle = request.getfixturevalue(kind)
    feeds = feeds_of(bundle, stage)
    return prepare_stage(bundle, stage, feeds, method="minmax", seed=0), feeds


@pytest.fixture(scope="module")
def source(case: tuple[StageSource, dict[str, np.ndarray]]) -> StageSource:
    return case[0]


def run(graph: bytes, feeds: dict[str, np.ndarray]) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


def quantised_layers(content: bytes) -> set[str]:
    """Layers whose weights are INT8."""
    graph = GraphEditor(onnx.load_from_string(content))
    producers = graph.producers()
    weighted = [node for node in graph.nodes if node.op_type in ("Conv", "Gemm", "MatMul")]
    made = {node.output[0]: producers.get(node.input[1]) for node in weighted}
    return {name for name, maker in made.items() if maker is not None and maker.op_type == "DequantizeLinear"}


@pytest.mark.parametrize("method", ["minmax", "percentile"])
@pytest.mark.parametrize("stage", ["video", "audio", "fusion"])
def test_stored_ranges_give_the_same_bytes_as_right_after_calibration(
    residual: Bundle, stage: str, method: Any
) -> None:
    fresh = prepare_stage(residual, stage, feeds_of(residual, stage), method=method, seed=3)
    stored = stage_from_ranges(residual, stage, Ranges.from_json(fresh.ranges.as_json()))
    assert stored.ranges == fresh.ranges and fresh.ranges.seed == 3
    wanted: list[tuple[Precision, Int8Target]] = [("fp32", "cpu"), ("fp16", "tensorrt")]
    if stage != "fusion":
        wanted += [("int8", "cpu"), ("int8", "tensorrt"), ("int8-fp16", "tensorrt")]
    for precision, target in wanted:
        assert emit(fresh, precision, target) == emit(stored, precision, target)
    keep = frozenset(layers(fresh, "tensorrt")[:2])
    if keep:
        assert emit(fresh, "int8", "cpu", keep=keep) == emit(stored, "int8", "cpu", keep=keep)


def test_layers_have_one_name_whatever_was_rewritten_and_heads_are_for_the_cpu_alone(source: StageSource) -> None:
    original = [n.output[0] for n in onnx.load_from_string(source.fp32).graph.node if n.op_type in ("Conv", "Gemm")]
    assert list(layers(source, "cpu")) == original
    assert list(layers(source, "tensorrt")) == original[:-1]
    for target in TARGETS:
        assert quantised_layers(emit(source, "int8", target)) == set(layers(source, target))


@pytest.mark.parametrize("target", TARGETS)
def test_nobody_quantises_what_a_kept_layer_takes_or_gives(source: StageSource, target: Int8Target) -> None:
    for name in layers(source, target):
        content = emit(source, "int8", target, keep={name})
        assert name not in quantised_layers(content)
        graph = GraphEditor(onnx.load_from_string(content))
        node = graph.producers()[name]
        touched = {name, node.input[0]}
        assert not node.input[0].endswith(":dq")
        assert not [n.name for n in graph.nodes if n.op_type == "QuantizeLinear" and n.input[0] in touched]
        # And the rest goes on in eight bits.
        assert len(quantised_layers(content)) >= len(layers(source, target)) - 4


@pytest.mark.parametrize("target", TARGETS)
def test_a_layer_can_be_quantised_alone(source: StageSource, target: Int8Target) -> None:
    everything = emit(source, "int8", target, only=set(layers(source, target)))
    assert everything == emit(source, "int8", target)
    for name in layers(source, target):
        assert quantised_layers(emit(source, "int8", target, only={name})) == {name}


@pytest.mark.parametrize("target", TARGETS)
def test_with_every_layer_kept_nothing_is_quantised_and_the_answer_is_that_of_fp32(
    case: tuple[StageSource, dict[str, np.ndarray]], target: Int8Target
) -> None:
    source, feeds = case
    content = emit(source, "int8", target, keep=set(layers(source, target)))
    assert not [n for n in onnx.load_from_string(content).graph.node if n.op_type == "QuantizeLinear"]
    wanted = run(source.fp32, feeds)
    np.testing.assert_allclose(run(content, feeds), wanted, atol=1e-4 * np.abs(wanted).max())


def test_a_kept_convolution_over_time_stays_float_where_it_is_unrolled(clips: Bundle) -> None:
    source = prepare_stage(clips, "video", feeds_of(clips, "video"), method="minmax", seed=0)
    assert layers(source, "cpu")[0] == STEM
    graph = GraphEditor(onnx.load_from_string(emit(source, "int8", "cpu", keep={STEM})))
    stem = graph.producers()[STEM]
    assert stem.input[0] == f"{STEM}:unrolled:images" and graph.constant(stem.input[1]).dtype == np.float32
    before = [node for node in graph.nodes[: graph.nodes.index(stem)] if node.op_type == "QuantizeLinear"]
    assert before == []


def test_a_kept_layer_takes_away_the_damage_of_its_outliers(residual: Bundle) -> None:
    """Ranges of one value are a thousand times too wide, as one spike among the recorded inputs makes them."""
    source = prepare_stage(residual, "video", feeds_of(residual, "video"), method="minmax", seed=0)
    taker = layers(source, "cpu")[3]
    value = next(n for n in source.variants["tensorrt"].graph.node if n.output[0] == taker).input[0]
    low, high = source.ranges.tensors[value]
    tensors = {**source.ranges.tensors, value: (1000 * low, 1000 * high)}
    ranges = Ranges("video", "minmax", 6, 0, tensors, source.ranges.largest)
    damaged = stage_from_ranges(residual, "video", ranges)
    feeds = feeds_of(residual, "video")
    wanted = run(source.fp32, feeds)

    def error(content: bytes) -> float:
        return float(np.linalg.norm(run(content, feeds) - wanted) / np.linalg.norm(wanted))

    for target in TARGETS:
        alone = {name: error(emit(damaged, "int8", target, only={name})) for name in layers(damaged, target)}
        assert max(alone, key=lambda name: alone[name]) == taker
        assert error(emit(damaged, "int8", target)) > 3 * error(emit(damaged, "int8", target, keep={taker}))


def test_a_fusion_that_is_a_head_alone_has_no_int8_and_can_be_fp16(residual: Bundle) -> None:
    source = prepare_stage(residual, "fusion", feeds_of(residual, "fusion"), method="minmax", seed=0)
    assert layers(source, "cpu") == layers(source, "tensorrt") == ()
    with pytest.raises(UsageError, match="it has no INT8 layers"):
        emit(source, "int8", "cpu")
    assert len(emit(source, "fp16", "tensorrt")) > 0


def test_a_fusion_is_int8_for_cpus_alone_and_never_in_its_last_layer(tmp_path: Path) -> None:
    bundle = make_outlier_bundle(tmp_path / "x.affect")
    (given,) = bundle.contract.stage_inputs("fusion")
    steps, width = given.shape
    writer = GraphWriter(0)
    hidden = writer.add("MatMul", [given.name, writer.constant(writer.rng.standard_normal((width, 16)))])
    writer.add("MatMul", [writer.add("Relu", [hidden]), writer.constant(writer.rng.standard_normal((16, 2)))])
    fusion = writer.model({given.name: (onnx.TensorProto.FLOAT, (steps, width))}, "estimates", (steps, 2))
    made = update_bundle(bundle, graphs=[GraphDraft("fusion", "fp32", fusion.SerializeToString(), 20)])
    source = prepare_stage(made, "fusion", feeds_of(made, "fusion"), method="minmax", seed=0)
    assert layers(source, "tensorrt") == () and layers(source, "cpu") == (hidden,)
    assert quantised_layers(emit(source, "int8", "cpu")) == {hidden}
    with pytest.raises(UsageError, match="in int8 for tensorrt"):
        emit(source, "int8", "tensorrt")


def test_wishes_that_cannot_be_met_are_told(residual: Bundle) -> None:
    source = prepare_stage(residual, "audio", feeds_of(residual, "audio"), method="minmax", seed=0)
    with pytest.raises(UsageError, match="no layer 'nothing'"):
        emit(source, "int8", "cpu", keep={"nothing"})
    with pytest.raises(UsageError, match="no layer 'nothing'"):
        emit(source, "int8", "tensorrt", only={"nothing"})
    for precision in ("fp16", "int8-fp16"):
        with pytest.raises(UsageError, match="for cpu"):
            emit(source, precision, "cpu")  # type: ignore[arg-type]


def test_ranges_of_another_stage_or_another_graph_are_refused(residual: Bundle) -> None:
    ranges = prepare_stage(residual, "audio", feeds_of(residual, "audio"), method="minmax", seed=0).ranges
    with pytest.raises(BundleError, match=r"of stage .audio. .*do not fit stage .video."):
        stage_from_ranges(residual, "video", ranges)
    for field in ("tensors", "largest"):
        record = json.loads(ranges.as_json())
        record[field].popitem()
        with pytest.raises(BundleError, match="without"):
            stage_from_ranges(residual, "audio", Ranges.from_json(json.dumps(record).encode()))


@pytest.mark.filterwarnings("ignore:All-NaN axis")
def test_a_model_that_overflows_is_told_before_its_ranges_are_used(residual: Bundle) -> None:
    feeds = {"waveform": np.full_like(feeds_of(residual, "audio")["waveform"], 3e38)}
    with pytest.raises(ParityError, match="beyond all numbers"):
        prepare_stage(residual, "audio", feeds, method="minmax", seed=0)


@pytest.mark.parametrize(
    "damage",
    [
        lambda r: r.pop("largest"),
        lambda r: r.update(more=1),
        lambda r: r.update(method="guess"),
        lambda r: r.update(rows=0),
        lambda r: r.update(rows=True),
        lambda r: r.update(stage=""),
        lambda r: r["tensors"].update(x=[1.0]),
        lambda r: r["tensors"].update(x=[2.0, 1.0]),
        lambda r: r["tensors"].update(x=["0", "1"]),
        lambda r: r["tensors"].update(x=[0.0, 1e39]),
        lambda r: r["tensors"].update(x=[0.0, True]),
        lambda r: r["largest"].update(x=-1.0),
        lambda r: r["largest"].update(x=None),
        lambda r: r.update(tensors=[]),
    ],
)
def test_hostile_ranges_are_refused(damage: Callable[[dict[str, Any]], Any]) -> None:
    record: dict[str, Any] = json.loads(Ranges("video", "minmax", 2, 0, {"v": (-1.0, 2.0)}, {"v": 2.0}).as_json())
    assert Ranges.from_json(json.dumps(record).encode()).tensors == {"v": (-1.0, 2.0)}
    damage(record)
    with pytest.raises(BundleError, match="cannot be read"):
        Ranges.from_json(json.dumps(record).encode())


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"stage": NaN}', b'{"a": 1, "a": 2}', b"[" * 5000])
def test_files_that_are_no_ranges_are_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        Ranges.from_json(content)
