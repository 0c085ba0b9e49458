"""Which layers an engine of a graph has, as the inspector tells of them: fused, typed, named after ONNX nodes."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto

__all__ = ["LAYER_TYPES", "engine_layers", "inspector_entry"]

LAYER_TYPES = {
    "Conv": "CONVOLUTION",
    "ConvTranspose": "DECONVOLUTION",
    "Gemm": "MATRIX_MULTIPLY",
    "MatMul": "MATRIX_MULTIPLY",
    "Relu": "ACTIVATION",
    "Sigmoid": "ACTIVATION",
    "Tanh": "ACTIVATION",
    "Softmax": "SOFTMAX",
    "MaxPool": "POOLING",
    "AveragePool": "POOLING",
    "Concat": "CONCATENATION",
    "Cast": "CAST",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
    "Reshape": "SHUFFLE",
    "Transpose": "SHUFFLE",
    "Slice": "SLICE",
    "Gather": "GATHER",
    "ReduceMean": "REDUCE",
    "ReduceSum": "REDUCE",
}
PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
WORDS = {
    TensorProto.FLOAT: "Float",
    TensorProto.FLOAT16: "Half",
    TensorProto.INT8: "Int8",
    TensorProto.UINT8: "UInt8",
    TensorProto.INT32: "Int32",
    TensorProto.INT64: "Int64",
    TensorProto.BOOL: "Bool",
}
# Newer versions write the first form, older ones the second.
FORMATS = {
    "Int8": ("Int8 NC/32HW32", "Thirty-two wide channel vectorized row major Int8 format"),
    "Half": ("Half", "Row major linear FP16 format"),
    "Float": ("Float", "Row major linear FP32"),
}

Layer = dict[str, Any]


class _Graph:
    def __init__(self, proto: onnx.ModelProto) -> None:
        graph = proto.graph
        values = [*graph.input, *graph.value_info, *graph.output]
        self.nodes = list(graph.node)
        self.types = {value.name: value.type.tensor_type.elem_type for value in values}
        self.shapes = {
            value.name: [dim.dim_value if dim.HasField("dim_value") else -1 for dim in value.type.tensor_type.shape.dim]
            for value in values
        }
        self.constants = {item.name for item in graph.initializer}
        self.outputs = {value.name for value in graph.output}
        self.maker = {output: node for node in self.nodes for output in node.output}
        self.users: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            if all(name in self.constants for name in node.input if name):
                self.constants.update(node.output)  # computed when the engine is built
            for name in node.input:
                self.users.setdefault(name, []).append(node)

    def only_user(self, name: str) -> onnx.NodeProto | None:
        users = self.users.get(name, [])
        return users[0] if len(users) == 1 and name not in self.outputs else None

    def behind(self, name: str, operator: str) -> onnx.NodeProto | None:
        maker = self.maker.get(name)
        return maker if maker is not None and maker.op_type == operator else None


def engine_layers(proto: onnx.ModelProto, overrides: dict[str, str]) -> list[Layer]:
    """In execution order; each `{"name", "kind", "nodes", "inputs": [[name, shape, word]], "outputs", "weights"}`.

    A product of two dequantised operands is one INT8 layer with the Q/DQ around it, and takes a following Relu in.
    `overrides` gives, by the name of any node inside, the type that the layer came out as.
    """
    graph = _Graph(proto)
    taken: set[int] = set()
    layers: list[Layer] = []
    for node in graph.nodes:
        if id(node) in taken or all(output in graph.constants for output in node.output):
            continue
        layers.append(_product(graph, node, taken) if node.op_type in PRODUCTS else _single(graph, node))
    layers = [layer for layer in layers if not _is_folded(graph, layer)]
    for layer in layers:
        word = next((overrides[name] for name in layer["nodes"] if name in overrides), None)
        if word:
            layer["weights"] = word if layer["weights"] else ""
            for tensor in (*layer["inputs"], *layer["outputs"]):
                tensor[2] = word
    return layers


def _product(graph: _Graph, node: onnx.NodeProto, taken: set[int]) -> Layer:
    nodes = [node]
    data, weights = node.input[0], node.input[1]
    data_dq, weights_dq = graph.behind(data, "DequantizeLinear"), graph.behind(weights, "DequantizeLinear")
    quantised = data_dq is not None and weights_dq is not None
    word = "Int8" if quantised else WORDS.get(graph.types.get(node.output[0], 0), "Float")
    follower = graph.only_user(node.output[0])
    if follower is not None and follower.op_type == "Relu":
        nodes.append(follower)
    taken.update(map(id, nodes))
    output = nodes[-1].output[0]
    word_out = WORDS.get(graph.types.get(output, 0), "Float")
    quantiser = graph.only_user(output)
    if quantised and quantiser is not None and quantiser.op_type == "QuantizeLinear":
        taken.add(id(quantiser))
        output, word_out = quantiser.output[0], "Int8"
    names = [item.name or item.op_type for item in nodes]
    prefix = []
    if quantised and weights_dq is not None:
        maker = graph.behind(weights_dq.input[0], "QuantizeLinear")
        prefix = [maker.name] if maker is not None and maker.name else []
    fed = data_dq.input[0] if quantised and data_dq is not None else data
    return {
        "name": " + ".join([*prefix, *names]),
        "kind": "CaskConvolution" if node.op_type.startswith("Conv") else "CaskGemmMatrixMultiply",
        "nodes": names,
        "inputs": [[fed, graph.shapes.get(fed, []), word]],
        "outputs": [[output, graph.shapes.get(output, []), word_out]],
        "weights": word if weights in graph.constants else "",
    }


def _single(graph: _Graph, node: onnx.NodeProto) -> Layer:
    name = node.name or node.op_type
    kinds = {"SHUFFLE": "Shuffle", "QUANTIZE": "Reformat", "DEQUANTIZE": "Reformat", "CAST": "Cast"}

    def tensor(of: str) -> list[Any]:
        return [of, graph.shapes.get(of, []), WORDS.get(graph.types.get(of, 0), "Float")]

    return {
        "name": name,
        "kind": kinds.get(LAYER_TYPES.get(node.op_type, ""), "kgen"),
        "nodes": [name],
        "inputs": [tensor(of) for of in node.input if of and of not in graph.constants],
        "outputs": [tensor(of) for of in node.output if of],
        "weights": "",
    }


def _is_folded(graph: _Graph, layer: Layer) -> bool:
    """A DequantizeLinear all of whose users are INT8 layers is part of them."""
    output = layer["outputs"][0][0]
    node = graph.maker.get(output)
    if node is None or node.op_type != "DequantizeLinear" or output in graph.outputs:
        return False
    return all(
        user.op_type in PRODUCTS and graph.behind(user.input[1], "DequantizeLinear") for user in graph.users[output]
    )


def inspector_entry(layer: Layer, profile: int, modern: bool, batch: int | None) -> dict[str, Any]:
    """One layer of the inspector's JSON at detailed verbosity; unknown sizes are the batch, where one is set."""

    def tensor(facts: list[Any]) -> dict[str, Any]:
        name, shape, word = facts
        sizes = [batch if size == -1 and batch is not None else size for size in shape]
        form = FORMATS.get(word, (word, word))[0 if modern else 1]
        return {"Name": name, "Location": "Device", "Dimensions": sizes, "Format/Datatype": form}

    entry = {
        "Name": layer["name"] + (f" [profile {profile}]" if profile else ""),
        "LayerType": layer["kind"],
        "Inputs": [tensor(facts) for facts in layer["inputs"]],
        "Outputs": [tensor(facts) for facts in layer["outputs"]],
        "StreamId": 0,
        "Metadata": "\x1e".join(f"[ONNX Layer: {name}]" for name in layer["nodes"]),
    }
    if layer["weights"]:
        entry["Weights"] = {"Type": layer["weights"], "Count": 0}
    return entry
