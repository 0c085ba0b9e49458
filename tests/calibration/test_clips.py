"""INT8 of networks for clips: Inception units on one scale, in integers throughout, and the same on every processor."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from doubles.clip_encoder import FRAMES, SIZE, make_clip_bundle

from affectrt.bundle import Bundle
from affectrt.calibration import StageInt8, calibrate_bundle, calibrate_stage, qdq_problems
from affectrt.calibration.graph import GraphEditor
from affectrt.runtime.sources import MemorySource

# Random weights whose channels differ fourfold in size: measured 1.1 % for cpu and 1.6 % for tensorrt.
MAX_RELATIVE_ERROR = 0.04


def moving_clips(rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t, y, x = np.mgrid[0:FRAMES, 0:SIZE, 0:SIZE] / SIZE
    waves = rng.uniform(0, 6, (rows, 3, 4))
    clips = [[np.sin(a * x + b * y + c + d * t) for a, b, c, d in colours] for colours in waves]
    return np.round((np.moveaxis(np.array(clips), 1, -1) + 1) * 127.5).astype(np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_clip_bundle(tmp_path_factory.mktemp("bundle") / "clips.affect")


@pytest.fixture(scope="module")
def made(bundle: Bundle) -> StageInt8:
    made = calibrate_stage(bundle, "video", {"frames": moving_clips(16, 0)}, method="minmax", seed=0)
    assert made is not None
    return made


def graph_for(made: StageInt8, target: str) -> bytes:
    content = next(draft.content for draft in made.graphs if draft.target == target)
    assert isinstance(content, bytes)
    return content


def run(graph: bytes, frames: np.ndarray, *, optimise: bool = True, save: Path | None = None) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if save is not None:
        options.optimized_model_filepath = str(save)
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"frames": frames})[0]


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
@pytest.mark.parametrize("rows", [1, 3])
def test_int8_stays_close_to_fp32_on_clips_not_seen_before(
    bundle: Bundle, made: StageInt8, target: str, rows: int
) -> None:
    fresh = moving_clips(rows, 99)
    wanted = run(bundle.read(bundle.graph_for("video", "fp32")), fresh)
    error = np.linalg.norm(run(graph_for(made, target), fresh) - wanted) / np.linalg.norm(wanted)
    assert 0 < error < MAX_RELATIVE_ERROR


def test_onnx_runtime_computes_from_stem_to_last_product_in_integers(made: StageInt8, tmp_path: Path) -> None:
    run(graph_for(made, "cpu"), moving_clips(1, 1), save=tmp_path / "optimised.onnx")
    graph = GraphEditor(onnx.load(tmp_path / "optimised.onnx"))
    done = [node.op_type for node in graph.nodes]
    # The stem, two convolutions, six in each Inception unit, of which none needs floats again.
    assert done.count("QLinearConv") == 15 and done.count("QLinearConcat") == 2 and "Conv" not in done
    assert "DequantizeLinear" not in done[done.index("QLinearConv") :]
    stem = next(node for node in graph.nodes if node.op_type == "QLinearConv")
    assert graph.constant(stem.input[3]).shape[1:] == (24, 7, 7)


def test_the_branches_of_an_inception_unit_have_its_scale_so_that_nothing_is_requantised(made: StageInt8) -> None:
    graph = GraphEditor(onnx.load_from_string(graph_for(made, "cpu")))
    producers, consumers = graph.producers(), graph.consumers()
    units = [node for node in graph.nodes if node.op_type == "Concat"]
    ranges = made.ranges.tensors
    for unit in units:
        scales = {float(graph.constant(producers[name].input[1])) for name in unit.input}
        after = consumers[unit.output[0]]
        assert [node.op_type for node in after] == ["QuantizeLinear"]
        assert scales == {float(graph.constant(after[0].input[1]))}
        low, high = ranges[unit.output[0]]
        assert scales.pop() == pytest.approx((high - min(low, 0)) / 255, rel=1e-6)
    assert len(units) == 2


def test_tensorrt_gets_three_dimensional_convolutions_and_pools_between_pairs_of_one_scale(made: StageInt8) -> None:
    model = onnx.load_from_string(graph_for(made, "tensorrt"))
    assert qdq_problems(model) == []
    graph = GraphEditor(model)
    producers, consumers = graph.producers(), graph.consumers()
    weights = [producers[node.input[1]].input[0] for node in graph.nodes if node.op_type == "Conv"]
    assert len(weights) == 15 and all(graph.constant(name).ndim == 5 for name in weights)
    inside = [node for node in graph.nodes if node.op_type == "MaxPool" and "Dequantize" in producers_op(graph, node)]
    assert len(inside) == 2
    for pool in inside:
        (after,) = consumers[pool.output[0]]
        assert after.op_type == "QuantizeLinear"
        assert graph.constant(after.input[1]) == graph.constant(producers[pool.input[0]].input[1])


def producers_op(graph: GraphEditor, node: onnx.NodeProto) -> str:
    return graph.producers()[node.input[0]].op_type


def test_integer_kernels_give_what_the_graph_says_on_bright_clips(bundle: Bundle, made: StageInt8) -> None:
    """Without VNNI the products of two neighbours are added in 16 bits: white and large weights would saturate."""
    white = np.full((1, FRAMES, SIZE, SIZE, 3), 255, np.uint8)
    clips = np.concatenate([white, moving_clips(4, 5)])
    exact = run(graph_for(made, "cpu"), clips, optimise=False)
    assert np.linalg.norm(run(graph_for(made, "cpu"), clips) - exact) < 0.01 * np.linalg.norm(exact)


@pytest.mark.parametrize("stage", ["video", "audio"])
def test_two_neighbouring_weights_of_the_cpu_graph_fit_into_16_bits(bundle: Bundle, stage: str) -> None:
    assert bundle.contract.audio is not None
    sound = 0.3 * np.random.default_rng(0).standard_normal((4, bundle.contract.audio.span_samples), np.float32)
    feeds = {"frames": moving_clips(4, 0)} if stage == "video" else {"waveform": sound}
    int8 = calibrate_stage(bundle, stage, feeds, method="minmax", seed=0)
    assert int8 is not None
    graph = GraphEditor(onnx.load_from_string(graph_for(int8, "cpu")))
    producers, largest = graph.producers(), []
    for node in graph.nodes:
        if node.op_type in ("Conv", "Gemm"):
            weights = graph.constant(producers[node.input[1]].input[0]).astype(int)
            # In the order in which kernels take them: places of the kernel, and input channels within each.
            rows = np.moveaxis(weights, 1, -1).reshape(len(weights), -1)
            rows = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
            largest.append(int(np.abs(rows[:, ::2] + rows[:, 1::2]).max()))
    assert max(largest) * 255 <= 2**15 - 1
    assert min(largest) > 63  # and no more is given away than must be


def test_a_bundle_for_clips_is_calibrated_from_media_to_plan(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 40
    source = MemorySource.from_arrays(
        frames=list(moving_clips(count // FRAMES, 3).reshape(count, SIZE, SIZE, 3)),
        pts_s=np.arange(count) / 25,
        samples=0.2 * np.random.default_rng(4).standard_normal(640 * count).astype(np.float32),
    )
    monkeypatch.setattr("affectrt.calibration.windows.open_source", lambda *_: source)
    done = calibrate_bundle(bundle.path, [Path("a.mp4")], windows=8, out=tmp_path / "int8.affect")
    assert done.plan("int8") == {"video": "int8", "audio": "int8", "fusion": "fp32"}
    assert {graph.target for graph in done.manifest.graphs if graph.precision == "int8"} == {"cpu", "tensorrt"}
