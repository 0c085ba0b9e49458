"""What TensorRT computes better in floats gets no pairs from us, and is told where another tool put some."""

import numpy as np
import onnx
import pytest
from doubles.pairs import pair_on
from doubles.residual_bundle import GraphWriter
from onnx import TensorProto

from affectrt.calibration.graph import GraphEditor
from affectrt.calibration.lint import qdq_problems
from affectrt.calibration.placement import values_to_observe
from affectrt.calibration.quantise import quantise


def transformer() -> onnx.ModelProto:
    """Tokens (B, 4, 32): a norm, attention, a small and a large product, and a head."""
    writer = GraphWriter(0)
    weights = [writer.constant(writer.rng.standard_normal(shape)) for shape in ((32, 32), (32, 32), (32, 8), (8, 32))]
    x = writer.add("LayerNormalization", ["tokens", writer.constant(np.ones(32))], axis=-1)
    queries, keys = (writer.add("MatMul", [x, weight]) for weight in weights[:2])
    scores = writer.add("Softmax", [writer.add("MatMul", [queries, writer.add("Transpose", [keys], perm=[0, 2, 1])])])
    mixed = writer.add("MatMul", [scores, x])
    narrow = writer.add("MatMul", [writer.add("Relu", [mixed]), weights[2]])
    wide = writer.add("Relu", [writer.add("MatMul", [narrow, weights[3]])])
    wide = writer.add("Relu", [writer.add("MatMul", [wide, weights[0]])])
    writer.add("MatMul", [wide, weights[1]])
    return writer.model({"tokens": (TensorProto.FLOAT, (4, 32))}, "features", (4, 32))


@pytest.mark.parametrize(
    ("node", "index", "told"),
    [
        ("softmax_5", 0, "norms, softmax and products of two computed values stay float"),
        ("matmul_4", 0, "products of two computed values stay float"),
        ("matmul_4", 1, "products of two computed values stay float"),
        ("matmul_6", 0, "what softmax_5 (Softmax) gives, which stays float"),
        ("matmul_6", 1, "what layernormalization_0 (LayerNormalization) gives, which stays float"),
        ("relu_7", 0, "what matmul_6 (MatMul) gives, which stays float"),
        ("matmul_8", 0, "K or N below 16"),
        ("matmul_9", 0, "K or N below 16"),
        ("matmul_13", 0, "heads stay float"),
        ("layernormalization_0", 0, "norms, softmax and products of two computed values stay float"),
    ],
)
def test_pairs_around_what_stays_float_are_told(node: str, index: int, told: str) -> None:
    graph = GraphEditor(transformer())
    assert qdq_problems(graph.unchecked_model()) == []
    taker = next(n for n in graph.nodes if n.name == node)
    pair_on(graph, taker, index)
    assert told in "\n".join(qdq_problems(graph.unchecked_model()))


def test_placement_leaves_alone_what_the_lint_would_tell() -> None:
    model = transformer()
    ranges = dict.fromkeys(values_to_observe(model, "tensorrt"), (-3.0, 3.0))
    made = quantise(model, ranges, "tensorrt")
    assert qdq_problems(made) == []
    pairs = [node for node in made.graph.node if node.op_type == "QuantizeLinear"]
    # What products with weights take, the large ones that are inside: queries and keys share the norm's.
    assert [node.input[0] for node in pairs] == ["layernormalization_0", "relu_10"]
