"""Whether an engine computes in the precision that its graph asks for, read from JSON in the inspector's style."""

import json
from typing import Any

import numpy as np
import pytest

from affectrt.bundle.errors import EngineError
from affectrt.bundle.manifest import Precision

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from affectrt.export.engines.inspector import count_layers, layers_from_json  # noqa: E402
from affectrt.export.engines.onnx_graph import graph_from_bytes, input_shapes  # noqa: E402
from affectrt.export.engines.precision import asked_layers, prove_precision  # noqa: E402

INT8_LONG = "Thirty-two wide channel vectorized row major INT8 format"
FP16_LONG = "Channel major FP16 format where channel % 8 == 0"


def layer(
    name: str, kind: str, reads: tuple[str, ...], weights: str | None = None, metadata: str = ""
) -> dict[str, Any]:
    tensors = [
        {"Name": f"t{i}", "Location": "Device", "Dimensions": [1, 8], "Format/Datatype": t} for i, t in enumerate(reads)
    ]
    entry: dict[str, Any] = {"Name": name, "LayerType": kind, "Inputs": tensors, "Outputs": tensors[:1]}
    if weights is not None:
        entry["Weights"] = {"Type": weights, "Count": 864}
    return {**entry, "TacticName": "a_tactic", "Metadata": metadata}


def inspected(*layers: dict[str, Any] | str) -> str:
    return json.dumps({"Layers": list(layers), "Bindings": ["x", "y"]})


def prove(asked: dict[str, str], expected: Precision, *layers: dict[str, Any]) -> Any:
    return prove_precision("video", layers_from_json(inspected(*layers)), asked, expected)


@pytest.mark.parametrize("told", ["Int8", INT8_LONG])
@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("/conv/Conv", ""),
        ("W + /w/QuantizeLinear + /conv/Conv + /relu/Relu", ""),
        ("/conv/Conv || /side/Conv", ""),
        ("/conv/Conv [profile 1]", ""),
        ("__myl_ConvAdd_myl0_3", "[ONNX Layer: /conv/Conv]\x1f[ONNX Layer: /add/Add]"),
        ("fused", "[ONNX Layer: /add/Add]\x1e[ONNX Layer: /conv/Conv]"),
        ("fused", "[ONNX Layer: /add/Add][ONNX Layer: /conv/Conv]"),
    ],
)
def test_a_layer_is_found_by_its_name_its_fused_name_or_its_metadata(name: str, metadata: str, told: str) -> None:
    found = prove({"/conv/Conv": "int8"}, "int8", layer(name, "CaskConvolution", (told,), "Int8", metadata))
    assert found.proven == ("/conv/Conv",)
    assert found.notes() == []


def test_every_layer_that_came_out_in_another_precision_is_listed() -> None:
    asked = {"a": "int8", "b": "int8", "c": "int8"}
    layers = [
        layer("a + relu", "CaskConvolution", ("Float",), "Float"),
        layer("b", "CaskConvolution", (INT8_LONG,), "Int8"),
        layer("c", "CaskConvolution", (FP16_LONG,), "Half"),
    ]
    with pytest.raises(EngineError, match="2 of 3 layers") as caught:
        prove(asked, "int8", *layers)
    assert "a: asked int8, got fp32" in str(caught.value)
    assert "c: asked int8, got fp16" in str(caught.value)
    assert "b:" not in str(caught.value)


def test_a_layer_must_be_right_in_every_profile() -> None:
    good = layer("a", "CaskConvolution", ("Int8",), "Int8")
    bad = layer("a [profile 1]", "CaskConvolution", ("Float",), "Float")
    assert prove({"a": "int8"}, "int8", good).proven == ("a",)
    with pytest.raises(EngineError, match="a: asked int8, got fp32 in profile 1"):
        prove({"a": "int8"}, "int8", good, bad)


def test_reformats_and_quantisers_that_bear_a_layers_name_prove_nothing() -> None:
    copies = [
        layer("Reformatting CopyNode for Input Tensor 0 to a", "Reformat", ("Int8",), metadata="[ONNX Layer: a]"),
        layer("a_quantise", "Quantize", ("Int8",), metadata="[ONNX Layer: a]"),
    ]
    with pytest.raises(EngineError, match="a: asked int8, got fp32"):
        prove({"a": "int8"}, "int8", *copies, layer("a", "CaskConvolution", ("Float",), "Float"))


def test_a_skip_branch_in_int8_does_not_make_its_convolution_int8() -> None:
    with pytest.raises(EngineError, match="a: asked int8, got fp32"):
        prove({"a": "int8"}, "int8", layer("a + add", "CaskConvolution", ("Float", "Int8"), "Float"))


def test_a_compiled_products_inputs_may_stand_in_any_order() -> None:
    product = layer("__myl_Fc_myl0_2", "gemm", ("Float", "Int8", "Int8"), metadata="[ONNX Layer: a]")
    assert prove({"a": "int8"}, "int8", product).proven == ("a",)


def test_a_name_within_another_name_is_not_that_layer() -> None:
    with pytest.raises(EngineError, match="no layer of the engine of video bears the name"):
        prove({"conv": "int8"}, "int8", layer("conv_1 + my/conv", "CaskConvolution", ("Int8",), "Int8"))


def test_layers_inside_a_foreign_region_count_as_hidden_and_do_not_fail() -> None:
    region = layer("{ForeignNode[first/MatMul...last/Add]}", "Myelin", ("Half",))
    named = layer("{ForeignNode[q...k]}", "Myelin", ("Half",), metadata="[ONNX Layer: named]")
    conv = layer("a", "CaskConvolution", ("Int8",), "Int8")
    found = prove({"a": "int8", "inner": "int8", "named": "int8"}, "int8", region, named, conv)
    assert (found.proven, set(found.hidden), found.unseen) == (("a",), {"inner", "named"}, ())
    assert found.notes() == [
        "the precision of 2 of 3 layers is not proved: they lie in regions that TensorRT's inspector does not look into"
    ]


def test_layers_that_no_engine_layer_names_are_told_when_others_are_proved() -> None:
    found = prove({"a": "int8", "gone": "int8"}, "int8", layer("a", "CaskConvolution", ("Int8",), "Int8"))
    assert found.unseen == ("gone",)
    assert "1 of 2 layers is not proved: they are named by no layer" in found.notes()[0]


def test_a_mixed_graph_asks_for_both_precisions() -> None:
    asked = {"a": "int8", "b": "fp16"}
    conv = layer("a", "CaskConvolution", ("Int8",), "Int8")
    assert set(prove(asked, "int8-fp16", conv, layer("b", "gemm", (FP16_LONG,))).proven) == {"a", "b"}
    with pytest.raises(EngineError, match="b: asked fp16, got fp32"):
        prove(asked, "int8-fp16", conv, layer("b", "gemm", ("Row major linear FP32",)))


def test_a_graph_that_asks_for_nothing_of_its_precision_is_refused() -> None:
    with pytest.raises(EngineError, match="the int8 graph of video asks for no layer in int8"):
        prove({}, "int8", layer("a", "CaskConvolution", ("Float",)))
    assert prove({}, "fp32", layer("a", "CaskConvolution", ("Half",))).proven == ()


def test_layers_are_counted_by_precision_once_for_all_profiles() -> None:
    layers = layers_from_json(
        inspected(
            layer("a", "CaskConvolution", ("Int8",), "Int8"),
            layer("b", "CaskConvolution", (INT8_LONG,), "Int8"),
            layer("a [profile 1]", "CaskConvolution", ("Int8",), "Int8"),
            layer("c", "gemm", (FP16_LONG,)),
            layer("q", "Reformat", ("Row major linear FP32",)),
            layer("front", "Cast", ("UInt8",)),
            layer("{ForeignNode[x...y]}", "Myelin", ("Half",)),
            layer("odd", "NoOp", ("Something new",)),
        )
    )
    assert count_layers(layers) == {"int8": 2, "fp16": 1, "fp32": 1, "hidden": 1, "uint8": 1, "unknown": 1}


def test_an_engine_that_tells_names_alone_is_read_as_names() -> None:
    names = [(found.profile, found.name) for found in layers_from_json(inspected("a + b", "a + b [profile 1]"))]
    assert names == [(0, "a + b"), (1, "a + b")]


@pytest.mark.parametrize(
    "text", ["", "not JSON", "[]", '{"Bindings": []}', '{"Layers": [{}]}', '{"Layers": 3}', '{"Layers": [3]}']
)
def test_what_no_inspector_says_is_an_error_and_no_traceback(text: str) -> None:
    with pytest.raises(EngineError, match="cannot be read"):
        layers_from_json(text)


def quantised_graph() -> Any:
    """conv (named, quantised) → product (unnamed, floats of 16 bits) → product (FP32)."""
    half = numpy_helper.from_array(np.ones((8, 8), np.float16), "half")
    constants = [
        numpy_helper.from_array(np.array(0.1, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
        numpy_helper.from_array(np.ones((8, 3, 1, 1), np.int8), "w"),
        numpy_helper.from_array(np.ones((8, 8), np.float32), "whole"),
        half,
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["x_q"], "q"),
        helper.make_node("DequantizeLinear", ["x_q", "scale", "zero"], ["x_d"], "d"),
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["w_d"], "w_dq"),
        helper.make_node("Conv", ["x_d", "w_d"], ["c"], "/conv/Conv"),
        helper.make_node("Flatten", ["c"], ["flat"], "flat"),
        helper.make_node("Cast", ["flat"], ["h"], "cast", to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["h", "half"], ["m"]),
        helper.make_node("Cast", ["m"], ["f"], "back", to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["f", "whole"], ["y"], "last"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize(
    ("expected", "asked"),
    [
        ("fp32", {}),
        ("int8", {"/conv/Conv": "int8"}),
        ("fp16", {"node_of_m": "fp16"}),
        ("int8-fp16", {"/conv/Conv": "int8", "node_of_m": "fp16"}),
    ],
)
def test_what_a_graph_asks_for_is_read_from_its_quantisers_and_types(
    expected: Precision, asked: dict[str, str]
) -> None:
    assert asked_layers(quantised_graph(), expected) == asked


def test_input_shapes_take_the_batch_and_refuse_open_axes() -> None:
    model = quantised_graph()
    assert input_shapes("video", model, 8) == {"x": (8, 3, 1, 1)}
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    assert input_shapes("video", model, 4) == {"x": (4, 3, 1, 1)}
    with pytest.raises(EngineError, match=r"\[4, 3, 1, 1\]"):
        input_shapes("video", model, 8)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    with pytest.raises(EngineError, match=r"\[4, 3, '\?', 1\]"):
        input_shapes("video", model, 4)


def test_a_graph_that_is_none_or_leads_to_other_files_is_refused_before_tensorrt_sees_it() -> None:
    with pytest.raises(EngineError, match="no ONNX graph"):
        graph_from_bytes("video", b"\xff these bytes are no graph")
    model = quantised_graph()
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    with pytest.raises(EngineError, match="keeps the weights scale in other files"):
        graph_from_bytes("video", model.SerializeToString())
