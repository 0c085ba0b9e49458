"""Counting multiplications: by hand for small graphs, against the papers' known figures for the real ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from affectrt.benchmarks.macs import count_macs
from affectrt.bundle.errors import EngineError

FLOAT = TensorProto.FLOAT


def graph(
    nodes: Sequence[object], inputs: dict[str, list[int | str]], constants: dict[str, np.ndarray], out: int
) -> bytes:
    """A model with the given inputs (batch first), whose output `y` has `out` axes of unknown size."""
    body = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", FLOAT, [None] * out)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def weights(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def test_convolution_counts_each_output_value_times_its_filter() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], strides=[2, 2])
    macs = count_macs(graph([node], {"x": ["batch", 3, 40, 40]}, {"w": weights(64, 3, 3, 3)}, 4))
    assert macs.total == 64 * 20 * 20 * 3 * 9
    assert macs.by_operator == {"Conv": macs.total}
    assert macs.weights == 64 * 3 * 9


def test_depthwise_convolution_counts_one_channel_a_filter() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=32, pads=[1, 1, 1, 1])
    macs = count_macs(graph([node], {"x": ["batch", 32, 10, 10]}, {"w": weights(32, 1, 3, 3)}, 4))
    assert macs.total == 32 * 10 * 10 * 9


def test_products_count_rows_times_depth_times_columns() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    constants = {"w": weights(50, 20), "b": weights(50), "v": weights(50, 7)}
    macs = count_macs(graph(nodes, {"x": ["batch", 20]}, constants, 2))
    assert macs.by_operator == {"Gemm": 20 * 50, "MatMul": 50 * 7}


def test_attention_between_two_inputs_is_counted() -> None:
    """A product without weights: (1, 300, 128) · (1, 128, 300)."""
    nodes = [
        helper.make_node("Transpose", ["b"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["a", "t"], ["y"]),
    ]
    macs = count_macs(graph(nodes, {"a": ["n", 300, 128], "b": ["n", 300, 128]}, {}, 3))
    assert macs.total == 300 * 128 * 300


def test_quantised_and_plain_graphs_count_the_same() -> None:
    plain = count_macs(
        graph([helper.make_node("Conv", ["x", "w"], ["y"])], {"x": ["batch", 8, 6, 6]}, {"w": weights(16, 8, 3, 3)}, 4)
    )
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "s", "wz", "s", "z"], ["c"]),
        helper.make_node("DequantizeLinear", ["c", "s", "z"], ["y"]),
    ]
    constants = {
        "w": np.zeros((16, 8, 3, 3), np.int8),
        "s": np.float32(0.1),
        "z": np.uint8(128),
        "wz": np.int8(0),
    }
    constants = {name: np.asarray(value) for name, value in constants.items()}
    quantised = count_macs(graph(nodes, {"x": ["batch", 8, 6, 6]}, constants, 4))
    assert quantised.total == plain.total == 16 * 4 * 4 * 8 * 9
    assert quantised.weights == plain.weights


def test_unknown_shapes_are_an_error_not_a_small_number() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=FLOAT),
        helper.make_node("Transpose", ["f"], ["t"]),
        helper.make_node("MatMul", ["t", "w"], ["y"]),
    ]
    with pytest.raises(EngineError, match="cannot be inferred"):
        count_macs(graph(nodes, {"x": ["batch", 4]}, {"w": weights(2, 3)}, 2))


def test_operators_that_hide_work_are_an_error() -> None:
    node = helper.make_node("Einsum", ["x", "x"], ["y"], equation="ij,kj->ik")
    with pytest.raises(EngineError, match="Einsum"):
        count_macs(graph([node], {"x": ["batch", 4]}, {}, 2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "macs", "weights"),
    [
        ("video", 3.03e9, 37.3e6),  # IR-50 on 40 × 40 px
        ("audio", 0.864e9 + 0.0193e9, 72.3e6),  # VGGish on one patch, and the transform to its log-mel picture
    ],
)
def test_papers_encoders_cost_what_is_known(stage: str, macs: float, weights: float) -> None:
    import torch

    from affectrt.bundle import Contract
    from affectrt.export.graphs import graph_from_module
    from affectrt.models.rcma import Rcma
    from affectrt.models.sizes import paper_config

    torch.manual_seed(0)
    model = Rcma(paper_config(modalities=("video", "audio"))).eval()
    contract = Contract.model_validate(model.contract())
    module = model.stage_modules()[stage]
    content = graph_from_module(module, contract.stage_inputs(stage), contract.stage_output(stage)).SerializeToString()
    found = count_macs(content)
    assert found.total == pytest.approx(macs, rel=0.01)
    assert found.weights == pytest.approx(weights, rel=0.01)
