"""FP16 graphs: cast where float16 is long enough, FP32 where a value was seen to be too large or too small for it."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from doubles.residual_bundle import GraphWriter, make_residual_bundle, video_encoder
from onnx import TensorProto, helper

from affectrt.bundle import Bundle
from affectrt.calibration.graph import GraphEditor, attributes_of
from affectrt.calibration.half import LARGEST, to_half
from affectrt.calibration.lint import qdq_problems
from affectrt.calibration.placement import values_to_observe
from affectrt.calibration.quantise import quantise
from affectrt.calibration.ranges import compute_ranges
from affectrt.calibration.scope import is_front_end
from affectrt.calibration.stage import emit, prepare_stage

DIM = 16


def run(model: onnx.ModelProto | bytes, feeds: dict[str, np.ndarray]) -> np.ndarray:
    content = model if isinstance(model, bytes) else model.SerializeToString()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # What the graph says, not what integer kernels make of it: without VNNI their sums saturate.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    graph = model.graph
    values = (*graph.value_info, *graph.input, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values} | {
        tensor.name: tensor.data_type for tensor in graph.initializer
    }


def kinds(model: onnx.ModelProto) -> dict[str, str]:
    """Node → fp16 or fp32, after what it gives; casts and integers are left out."""
    names = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16"}
    types = types_of(model)
    nodes = [node for node in model.graph.node if node.op_type != "Cast"]
    return {node.name: names[types[node.output[0]]] for node in nodes if types[node.output[0]] in names}


def needless_casts(model: onnx.ModelProto) -> list[str]:
    """Casts of what has been cast the other way before, and casts that are there twice."""
    graph = GraphEditor(model)
    producers = graph.producers()
    casts = [node for node in graph.nodes if node.op_type == "Cast"]
    again = [n.name for n in casts if n.input[0] in producers and producers[n.input[0]].op_type == "Cast"]
    seen = [(node.input[0], attributes_of(node)["to"]) for node in casts]
    return again + [str(pair) for pair in set(seen) if seen.count(pair) > 1]


def vector_model(writer: GraphWriter) -> onnx.ModelProto:
    return writer.model({"x": (TensorProto.FLOAT, (DIM,))}, "y", (DIM,))


def rows(seed: int = 0) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).standard_normal((8, DIM)).astype(np.float32)}


def halved(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> onnx.ModelProto:
    return to_half(model, compute_ranges("s", model, feeds, set(), method="minmax").largest)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_residual_bundle(tmp_path_factory.mktemp("bundle") / "residual.affect")


def stage_feeds(bundle: Bundle, stage: str, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    made = {}
    for info in bundle.contract.stage_inputs(stage):
        shape = (8, *info.shape)
        loud = 0.3 * rng.standard_normal(shape)
        made[info.name] = rng.integers(0, 256, shape, np.uint8) if info.dtype == "uint8" else loud.astype(np.float32)
    return made


@pytest.mark.parametrize("stage", ["video", "audio", "fusion"])
def test_fp16_is_close_to_fp32_and_its_inputs_and_output_keep_their_types(bundle: Bundle, stage: str) -> None:
    source = prepare_stage(bundle, stage, stage_feeds(bundle, stage, 0), method="minmax", seed=0)
    content = emit(source, "fp16", "tensorrt")
    fresh = stage_feeds(bundle, stage, 1)
    wanted, found = run(source.fp32, fresh), run(content, fresh)
    assert found.dtype == wanted.dtype == np.float32
    assert 0 < np.linalg.norm(found - wanted) < 0.003 * np.linalg.norm(wanted)
    assert content == emit(source, "fp16", "tensorrt")
    model, before = onnx.load_from_string(content), onnx.load_from_string(source.fp32)
    assert [i.type for i in model.graph.input] == [i.type for i in before.graph.input]
    assert len(content) < 0.65 * len(source.fp32) or stage == "fusion"
    assert needless_casts(model) == []


@pytest.mark.parametrize("stage", ["video", "audio"])
def test_front_ends_compute_in_fp32_from_the_input_on(bundle: Bundle, stage: str) -> None:
    source = prepare_stage(bundle, stage, stage_feeds(bundle, stage, 0), method="minmax", seed=0)
    for precision in ("fp16", "int8-fp16"):
        model = onnx.load_from_string(emit(source, precision, "tensorrt"))  # type: ignore[arg-type]
        types = types_of(model)
        front = [node for node in model.graph.node if is_front_end(node)]
        assert len(front) >= 2
        assert TensorProto.FLOAT16 not in {types[name] for node in front for name in (*node.input, *node.output)}
        body = {kind for name, kind in kinds(model).items() if name not in {node.name for node in front}}
        assert body == {"fp16"}


def test_values_beyond_float16_make_an_island_and_the_rest_is_cast() -> None:
    writer = GraphWriter(0)
    x = writer.add("Tanh", [writer.product("x", DIM, DIM)])
    large = writer.add("Mul", [x, writer.constant(1e6)])
    shifted = writer.add("Add", [large, writer.constant(5.0)])
    small = writer.add("Mul", [shifted, writer.constant(1e-6)])
    writer.add("Sigmoid", [writer.product(small, DIM, DIM)])
    model = vector_model(writer)
    found = halved(model, rows())
    assert kinds(found) == {
        "gemm_0": "fp16",
        "tanh_1": "fp16",
        "mul_2": "fp32",
        "add_3": "fp32",
        "mul_4": "fp32",
        "gemm_5": "fp16",
        "sigmoid_6": "fp16",
    }
    assert needless_casts(found) == []
    np.testing.assert_allclose(run(found, rows(1)), run(model, rows(1)), atol=2e-3)


def test_two_islands_that_take_one_value_take_it_in_fp32_and_so_does_an_output() -> None:
    writer = GraphWriter(0)
    large = writer.add("Mul", ["x", writer.constant(1e5)])
    left, right = writer.add("Abs", [large]), writer.add("Neg", [large])
    writer.add("Add", [left, right])
    model = vector_model(writer)
    found = halved(model, rows())
    assert set(kinds(found).values()) == {"fp32"} and "Cast" not in {node.op_type for node in found.graph.node}
    np.testing.assert_array_equal(run(found, rows(1)), run(model, rows(1)))


def test_a_constant_that_two_need_in_different_types_is_there_in_both() -> None:
    writer = GraphWriter(0)
    third = writer.constant(1 / 3)
    large = writer.add("Mul", ["x", writer.constant(1e5)])
    x = writer.add("Mul", [writer.add("Mul", [large, third]), writer.constant(1e-5)])
    writer.add("Mul", [x, third])
    model = vector_model(writer)
    found = halved(model, rows())
    types = types_of(found)
    assert types[third] == TensorProto.FLOAT16 and types[f"{third}:fp32"] == TensorProto.FLOAT
    np.testing.assert_allclose(run(found, rows(1)), run(model, rows(1)), rtol=2e-3)


def test_a_constant_beyond_float16_keeps_its_node_in_fp32() -> None:
    writer = GraphWriter(0)
    x = writer.add("Tanh", ["x"])
    x = writer.add("Min", [x, writer.constant(1e9)])
    writer.add("Tanh", [x])
    assert kinds(halved(vector_model(writer), rows())) == {"tanh_0": "fp16", "min_1": "fp32", "tanh_2": "fp16"}


def test_values_too_small_for_float16_stay_fp32() -> None:
    writer = GraphWriter(0)
    small = writer.add("Mul", [writer.add("Tanh", ["x"]), writer.constant(1e-7)])
    writer.add("Mul", [small, writer.constant(4000)])
    model = vector_model(writer)
    found = halved(model, rows())
    assert kinds(found)["tanh_0"] == "fp16" and kinds(found)["mul_1"] == "fp32"
    np.testing.assert_allclose(run(found, rows(1)), run(model, rows(1)), rtol=2e-3)


def test_a_norm_whose_squares_would_overflow_stays_fp32() -> None:
    for scale, kind in ((1.0, "fp16"), (30.0, "fp32")):
        writer = GraphWriter(0)
        x = writer.add("Mul", ["x", writer.constant(scale)])
        norm = _norm(writer, x)
        writer.add("Div", [x, norm])
        found = halved(vector_model(writer), rows())
        assert kinds(found)[norm] == kind and kinds(found)[x] == "fp16"


def _norm(writer: GraphWriter, x: str) -> str:
    """Over the last axis."""
    writer.constants["last"] = np.array([-1], np.int64)
    return writer.add("ReduceL2", [x, "last"], keepdims=1)


def test_the_magnitude_that_makes_an_island_is_far_below_where_float16_ends() -> None:
    for magnitude, kind in ((0.9 * LARGEST, "fp16"), (1.1 * LARGEST, "fp32")):
        writer = GraphWriter(0)
        writer.add("Relu", ["x"])
        found = to_half(vector_model(writer), {"x": magnitude, "y": magnitude})
        assert kinds(found) == {"relu_0": kind}
    assert np.finfo(np.float16).max / LARGEST > 15


def test_int8_graphs_become_float16_around_the_pairs_with_scales_that_float16_holds() -> None:
    model = video_encoder()
    feeds = {"frames": np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)}
    ranges = compute_ranges("video", model, feeds, values_to_observe(model, "tensorrt"), method="minmax")
    plain = quantise(model, ranges.tensors, "tensorrt", half_scales=True)
    mixed = to_half(plain, ranges.largest)
    assert qdq_problems(mixed) == [] and needless_casts(mixed) == []
    before, after = GraphEditor(plain), GraphEditor(mixed)
    names = {node.input[1] for node in after.nodes if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    assert len(names) > 10
    for name in names:
        assert after.constant(name).dtype == np.float16
        np.testing.assert_array_equal(after.constant(name).astype(np.float32), before.constant(name))
    wanted = run(model, feeds)
    error = np.linalg.norm(run(mixed, feeds) - wanted) / np.linalg.norm(wanted)
    assert error < 1.3 * np.linalg.norm(run(plain, feeds) - wanted) / np.linalg.norm(wanted)


def test_an_int8_layer_whose_result_is_an_island_takes_its_pairs_in_fp32() -> None:
    model = video_encoder()
    feeds = {"frames": np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)}
    ranges = compute_ranges("video", model, feeds, values_to_observe(model, "tensorrt"), method="minmax")
    plain = quantise(model, ranges.tensors, "tensorrt", half_scales=True)
    layer = [node for node in plain.graph.node if node.op_type == "Conv"][2]
    mixed = to_half(plain, {**ranges.largest, layer.output[0]: 1e5})
    assert qdq_problems(mixed) == [] and needless_casts(mixed) == []
    types, graph = types_of(mixed), GraphEditor(mixed)
    conv = next(node for node in graph.nodes if node.name == layer.name)
    assert [types[name] for name in conv.input] == [TensorProto.FLOAT] * len(conv.input)
    makers = [graph.producers()[name].op_type for name in conv.input[:2]]
    assert makers == ["DequantizeLinear", "DequantizeLinear"]
    assert sum(kind == "fp16" for kind in kinds(mixed).values()) > 20
    wanted = run(plain, feeds)
    assert np.linalg.norm(run(mixed, feeds) - wanted) < 0.05 * np.linalg.norm(wanted)


def test_weights_far_smaller_than_float16_can_scale_are_still_quantised_finely() -> None:
    writer = GraphWriter(0)
    weights = writer.rng.standard_normal((32, DIM)) * np.geomspace(1e-5, 1, 32)[:, None]
    hidden = writer.add("Gemm", ["x", writer.constant(weights)], transB=1)
    last = writer.constant(writer.rng.standard_normal((DIM, 32)) * np.geomspace(1e5, 1, 32) / 100)
    writer.add("Gemm", [hidden, last], transB=1)
    model = vector_model(writer)
    feeds = rows()
    ranges = compute_ranges("s", model, feeds, {"x"}, method="minmax")
    full = quantise(model, ranges.tensors, "tensorrt")
    short = quantise(model, ranges.tensors, "tensorrt", half_scales=True)
    wanted = run(model, feeds)
    errors = [np.linalg.norm(run(each, feeds) - wanted) / np.linalg.norm(wanted) for each in (full, short)]
    assert errors[1] < 1.5 * errors[0] < 0.05


def test_before_opset_19_pairs_stay_fp32_because_float16_ones_do_not_exist() -> None:
    model = video_encoder()
    model.opset_import[0].CopyFrom(helper.make_opsetid("", 18))
    pairs = quantise(model, dict.fromkeys(values_to_observe(model, "tensorrt"), (-3.0, 3.0)), "tensorrt")
    mixed = to_half(pairs, {})
    types = types_of(mixed)
    scales = [node.input[1] for node in mixed.graph.node if node.op_type == "QuantizeLinear"]
    assert {types[name] for name in scales} == {TensorProto.FLOAT}
    assert qdq_problems(mixed) == []
