"""A text encoder in lower precision: its products are eight bits wide, its tables, norms and piece numbers are not."""

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pytest
from doubles.text_bundle import text_bundle
from doubles.text_models import VOCABULARY
from doubles.tiny_bundle import make_tiny_bundle
from onnx import TensorProto, helper, numpy_helper

from affectrt.bundle import Bundle, Contract, MediaError
from affectrt.calibration.conditions import open_candidate
from affectrt.calibration.graph import GraphEditor, attributes_of
from affectrt.calibration.half import to_half
from affectrt.calibration.informative import check_informative
from affectrt.calibration.placement import layer_nodes
from affectrt.calibration.stage import TARGETS, StageSource, emit, prepare_stage
from affectrt.calibration.windows import record_fusion_windows, record_windows, stacked
from affectrt.export import operator_problems
from affectrt.export.sentences import random_sentences
from affectrt.runtime.engines import open_engine
from affectrt.runtime.sources import Source
from affectrt.runtime.sources.memory import MemorySource
from affectrt.runtime.words.pieces import pieces_of
from affectrt.runtime.words.spoken import with_words
from affectrt.runtime.words.transcript import TranscriptFile

ROOT = Path(__file__).parents[2]
PRODUCTS_A_LAYER = 6  # query, key, value, what attention gives, and two of the feed-forward part


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return text_bundle(ROOT / "build" / "doubles")


@pytest.fixture(scope="module")
def feeds(bundle: Bundle) -> Mapping[str, np.ndarray]:
    assert bundle.contract.text is not None
    return random_sentences(bundle.contract.text, len(VOCABULARY), seed=5)


@pytest.fixture(scope="module")
def source(bundle: Bundle, feeds: Mapping[str, np.ndarray]) -> StageSource:
    return prepare_stage(bundle, "text", feeds, method="minmax", seed=0)


def answers(graph: bytes, feeds: Mapping[str, np.ndarray], target: str = "tensorrt") -> np.ndarray:
    with open_candidate(target, graph, 1) as engine:  # type: ignore[arg-type]
        return np.asarray(engine.infer(feeds)["features"], np.float64)


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("target", TARGETS)
def test_every_product_with_weights_becomes_int8_and_nothing_else(
    source: StageSource, feeds: Mapping[str, np.ndarray], target: str
) -> None:
    graph = emit(source, "int8", target)  # type: ignore[arg-type]
    model = onnx.load_from_string(graph)
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    quantised = [
        node
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in makers and makers[node.input[1]].op_type == "DequantizeLinear"
    ]
    layers = sum(node.op_type == "Softmax" for node in model.graph.node)
    assert len(quantised) == PRODUCTS_A_LAYER * layers
    for node in quantised:
        values, scales, *_ = makers[node.input[1]].input
        assert held[values].dtype == np.int8 and held[scales].shape == held[values].shape[1:]
    tables = [held[node.input[0]] for node in model.graph.node if node.op_type == "Gather" and node.input[0] in held]
    assert len(tables) == 2 and all(table.dtype == np.float32 for table in tables)
    if target == "tensorrt":
        assert operator_problems(model) == []
    wanted = answers(source.fp32, feeds)
    found = answers(graph, feeds, target)
    assert 0 < error(found, wanted) < 0.05
    assert (found[wanted == 0] == 0).all()


def test_float16_keeps_whole_norms_softmax_and_the_numbers_of_pieces(
    source: StageSource, feeds: Mapping[str, np.ndarray]
) -> None:
    graph = emit(source, "fp16", "tensorrt")
    model = onnx.load_from_string(graph)
    assert [value.type.tensor_type.elem_type for value in model.graph.input] == [TensorProto.INT64] * 3
    inferred = onnx.shape_inference.infer_shapes(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    for node in model.graph.node:
        if node.op_type in ("LayerNormalization", "Softmax", "MatMul", "Gelu") and node.output[0] in kinds:
            assert kinds[node.output[0]] == TensorProto.FLOAT16, node.name
        if node.op_type == "LayerNormalization":
            assert attributes_of(node).get("stash_type", 1) == TensorProto.FLOAT
    assert operator_problems(model) == []
    found, wanted = answers(graph, feeds), answers(source.fp32, feeds)
    assert 0 < error(found, wanted) < 0.005
    assert (found[wanted == 0] == 0).all()


def test_both_together_compute_nearly_the_same(source: StageSource, feeds: Mapping[str, np.ndarray]) -> None:
    graph = emit(source, "int8-fp16", "tensorrt")
    assert error(answers(graph, feeds), answers(source.fp32, feeds)) < 0.05
    assert operator_problems(onnx.load_from_string(graph)) == []


def test_padding_leaves_nothing_in_any_precision(source: StageSource, feeds: Mapping[str, np.ndarray]) -> None:
    """Rows of one word, with and without the rest of the longest length behind them."""
    short = {name: rows[1:2, :8] for name, rows in feeds.items()}
    padded = {name: rows[1:2] for name, rows in feeds.items()}
    words = int(short["word_index"].max())
    for precision in ("int8", "fp16"):
        graph = emit(source, precision, "tensorrt")  # type: ignore[arg-type]
        alone, among = answers(graph, short)[0, :words], answers(graph, padded)[0, :words]
        assert np.abs(alone - among).max() < 2e-3 * np.abs(alone).max()


@pytest.mark.parametrize(("stash", "largest", "island"), [(1, 4000.0, False), (10, 4.0, False), (10, 40.0, True)])
def test_a_norm_that_would_square_beyond_float16_stays_float32(stash: int, largest: float, island: bool) -> None:
    """16 squares of 40 are 25 600, above what is let into float16; of 4 they are 256."""
    width = 16
    ones = numpy_helper.from_array(np.ones(width, np.float32), "scale")
    norm = helper.make_node("LayerNormalization", ["x", "scale"], ["y"], "norm", axis=-1, stash_type=stash)
    shape = ["batch", width]
    graph = helper.make_graph(
        [norm],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [ones],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    found = to_half(model, {"x": largest, "y": 4.0})
    kept = next(tensor for tensor in found.graph.initializer if tensor.name.startswith("scale"))
    assert (kept.data_type == TensorProto.FLOAT) is island


def test_tables_and_attention_are_no_layers(source: StageSource) -> None:
    graph = GraphEditor(source.variants["tensorrt"])
    named = Counter(node.name.split(".")[-1].split("/")[0] for node in layer_nodes(graph, "tensorrt"))
    assert set(named) == {"query", "key", "value", "dense"}


def test_sentences_of_any_length_are_padded_to_the_longest(bundle: Bundle) -> None:
    names = ("token_ids", "mask", "word_index")
    rows = [{name: np.ones(length, np.int64) for name in names} for length in (8, 32, 16)]
    found = stacked(bundle.contract, "text", rows)
    assert {name: array.shape for name, array in found.items()} == dict.fromkeys(names, (3, 32))
    assert found["mask"].sum(axis=1).tolist() == [8, 32, 16]


def test_sentences_are_never_called_empty(bundle: Bundle, feeds: Mapping[str, np.ndarray]) -> None:
    check_informative(bundle.contract, {"text": feeds})


def test_rows_are_the_sentences_of_a_clip_and_the_words_under_its_windows(tmp_path: Path) -> None:
    spoken = make_tiny_bundle(tmp_path / "spoken.affect", text_lengths=(8, 12))
    said = [{"word": word, "start": 0.2 * at, "end": 0.2 * at + 0.2} for at, word in enumerate(["a", "b.", "a", "b"])]
    (tmp_path / "clip.json").write_text(json.dumps({"words": said}))
    rng = np.random.default_rng(0)

    def opened(contract: Contract, path: Path) -> Source:
        frames = rng.integers(0, 256, (25, 24, 24, 3), dtype=np.uint8)
        sound = rng.uniform(-0.5, 0.5, 16_000).astype(np.float32)
        clip = MemorySource.from_arrays(frames=frames, pts_s=np.arange(25) / 25, samples=sound)
        return with_words(clip, TranscriptFile(tmp_path / "clip.json"))

    known = {"pieces": pieces_of(spoken), "opened": opened, "per_stage": 10, "seed": 0}
    found = record_windows(spoken.contract, [Path("clip.mp4")], **known)  # type: ignore[arg-type]
    assert found["text"]["token_ids"].shape == (2, 12), "two sentences, as long as the longest"
    assert found["text"]["word_index"].max(axis=1).tolist() == [2, 2]
    with ExitStack() as stack:
        engines = {s: stack.enter_context(open_engine(spoken, s, "fp32")) for s in spoken.contract.stages}
        windows = record_fusion_windows(spoken.contract, [Path("clip.mp4")], engines, **known)  # type: ignore[arg-type]
    assert windows["fusion"]["text"].any()
    with pytest.raises(MediaError, match="no input for stage text"):
        record_windows(spoken.contract, [Path("clip.mp4")], **{**known, "pieces": None})  # type: ignore[arg-type]
