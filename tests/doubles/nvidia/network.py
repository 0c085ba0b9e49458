"""The network and the parser: an ONNX model read by the real onnx package, refused where TensorRT's parser would."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
from doubles.nvidia.behaviour import Behaviour
from doubles.nvidia.layers import LAYER_TYPES
from onnx import TensorProto, numpy_helper

__all__ = ["DTYPES", "Network"]

# What a tensor's ONNX type is called here, and its counterpart in NumPy.
DTYPES = {
    TensorProto.FLOAT: ("FLOAT", np.float32),
    TensorProto.FLOAT16: ("HALF", np.float16),
    TensorProto.INT8: ("INT8", np.int8),
    TensorProto.UINT8: ("UINT8", np.uint8),
    TensorProto.INT32: ("INT32", np.int32),
    TensorProto.INT64: ("INT64", np.int64),
    TensorProto.BOOL: ("BOOL", np.bool_),
}
# By the first version that knows it; None: no version does.
UNSUPPORTED: dict[str, tuple[int, int] | None] = {
    **dict.fromkeys(("DFT", "MatMulInteger", "ConvInteger", "DynamicQuantizeLinear", "Unique", "StringNormalizer")),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "SequenceAt", "SequenceConstruct", "SplitToSequence")),
    "STFT": (10, 5),
}
MAX_OPSET = {(10, 3): 20, (10, 16): 24, (11, 4): 24}


class Tensor(Behaviour):
    stands_behind = "ITensor"

    def __init__(self, trt: ModuleType, name: str, onnx_type: int, axes: list[int | str], is_input: bool) -> None:
        super().__init__(trt)
        self.name = name
        self.axes = axes  # an open one by its name in the graph, which must mean one size wherever it stands
        self.shape = tuple(size if isinstance(size, int) else -1 for size in axes)
        self.dtype = getattr(self.trt.DataType, DTYPES[onnx_type][0])
        self.location = self.trt.TensorLocation.DEVICE
        self.allowed_formats = 1 << int(self.trt.TensorFormat.LINEAR)
        self.is_network_input, self.is_network_output = is_input, not is_input
        self.is_shape_tensor, self.is_execution_tensor = False, True


class Layer(Behaviour):
    stands_behind = "ILayer"

    def __init__(self, trt: ModuleType, node: onnx.NodeProto) -> None:
        super().__init__(trt)
        self.name = node.name or node.op_type
        self.metadata = f"[ONNX Layer: {self.name}]"
        self.type = getattr(self.trt.LayerType, LAYER_TYPES.get(node.op_type, "ELEMENTWISE"))
        self.num_inputs, self.num_outputs = len(node.input), len(node.output)
        self.precision_is_set = False


class Network(Behaviour):
    stands_behind = "INetworkDefinition"

    def __init__(self, trt: ModuleType, logger: Any, builder: Behaviour, flags: int) -> None:
        super().__init__(trt, logger)
        self.builder = builder
        self.creation_flags = flags
        self.name = "Unnamed Network 0"
        self.model: onnx.ModelProto | None = None
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.layers: list[Layer] = []
        self.has_implicit_batch_dimension = False

    num_inputs = property(lambda self: len(self.inputs))
    num_outputs = property(lambda self: len(self.outputs))
    num_layers = property(lambda self: len(self.layers))
    flags = property(lambda self: self.creation_flags)

    def get_input(self, index: int) -> Tensor:
        return self.inputs[index]

    def get_output(self, index: int) -> Tensor:
        return self.outputs[index]

    def get_layer(self, index: int) -> Layer:
        return self.layers[index]

    __getitem__ = get_layer

    def __len__(self) -> int:
        return len(self.layers)

    def get_flag(self, flag: Any) -> bool:
        return bool(self.creation_flags & 1 << int(flag))

    @property
    def strongly_typed(self) -> bool:
        """Every network is, where the flag that once made weak ones possible is gone."""
        flag = self.trt.NetworkDefinitionCreationFlag
        return not hasattr(flag, "EXPLICIT_BATCH") or self.get_flag(flag.STRONGLY_TYPED)


class ParserError(Behaviour):
    stands_behind = "ParserError"

    def __init__(self, trt: ModuleType, code: str, desc: str, node: int, proto: onnx.NodeProto | None) -> None:
        super().__init__(trt)
        self._facts = (getattr(self.trt.ErrorCode, code), desc, node, proto)

    def code(self) -> Any:
        return self._facts[0]

    def desc(self) -> str:
        return self._facts[1]

    def node(self) -> int:
        return self._facts[2]

    def node_name(self) -> str:
        return self._facts[3].name if self._facts[3] else ""

    def node_operator(self) -> str:
        return self._facts[3].op_type if self._facts[3] else ""

    def file(self) -> str:
        return "simulated"

    def line(self) -> int:
        return 0

    def func(self) -> str:
        return "parse"

    def local_function_stack(self) -> list[str]:
        return []

    def local_function_stack_size(self) -> int:
        return 0

    def __str__(self) -> str:
        return (
            f"In node {self.node()} with name: {self.node_name()} and operator: {self.node_operator()}: {self.desc()}"
        )

    __repr__ = __str__


class RefusedError(Exception):
    def __init__(self, code: str, what: str, at: int = -1, node: onnx.NodeProto | None = None) -> None:
        super().__init__(what)
        self.facts = (code, what, at, node)


class OnnxParser(Behaviour):
    stands_behind = "OnnxParser"

    def __init__(self, trt: ModuleType, network: Network, logger: Any) -> None:
        super().__init__(trt, logger)
        self.network = network
        self.errors: list[ParserError] = []
        self.flags = 0

    num_errors = property(lambda self: len(self.errors))

    def set_flag(self, flag: Any) -> None:
        self.flags |= 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        self.flags &= ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        return bool(self.flags & 1 << int(flag))

    def get_error(self, index: int) -> ParserError:
        return self.errors[index]

    def clear_errors(self) -> None:
        self.errors.clear()

    def parse_from_file(self, model: str) -> bool:
        return self.parse(memoryview(Path(model).read_bytes()))

    def parse(self, model: memoryview, path: str | None = None) -> bool:
        try:
            proto = self._checked(bytes(model))
            _fill(self.network, proto)
        except RefusedError as refused:
            self.errors.append(ParserError(self.trt, *refused.facts))
            self.log_error(f"ModelImporter: {self.errors[-1]}")
            return False
        return True

    def _checked(self, model: bytes) -> onnx.ModelProto:
        try:
            proto = onnx.load_model_from_string(model)
        except Exception as error:
            raise RefusedError("MODEL_DESERIALIZE_FAILED", "Failed to parse ONNX model from buffer") from error
        try:
            onnx.checker.check_model(proto)
            proto = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
        except Exception as error:
            raise RefusedError("INVALID_GRAPH", str(error).splitlines()[0]) from error
        version = tuple(int(part) for part in self.trt.__version__.split(".")[:2])
        opset = max(item.version for item in proto.opset_import if item.domain in {"", "ai.onnx"})
        if opset > MAX_OPSET.get(version, 24):
            raise RefusedError("UNSUPPORTED_GRAPH", f"opset {opset} is newer than this parser")
        _check_nodes(proto, version)
        return proto


def _check_nodes(proto: onnx.ModelProto, version: tuple[int, ...]) -> None:
    constants = {item.name: numpy_helper.to_array(item) for item in proto.graph.initializer}
    constants |= {n.output[0]: _constant(n) for n in proto.graph.node if n.op_type == "Constant"}
    bytes_in = {item.name for item in proto.graph.input if item.type.tensor_type.elem_type == TensorProto.UINT8}
    for at, node in enumerate(proto.graph.node):
        if node.op_type in UNSUPPORTED:
            since = UNSUPPORTED[node.op_type]
            if since is None or version < since:
                raise RefusedError("UNSUPPORTED_NODE", f"No importer registered for op: {node.op_type}", at, node)
        if node.op_type != "Cast" and bytes_in & set(node.input):
            raise RefusedError(
                "UNSUPPORTED_NODE_DATATYPE", "UINT8 is for network inputs, outputs and Cast alone", at, node
            )
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            _check_quantiser(at, node, constants)


def _check_quantiser(at: int, node: onnx.NodeProto, constants: dict[str, Any]) -> None:
    scale = constants.get(node.input[1])
    if scale is None or not np.all(scale > 0):
        raise RefusedError("INVALID_NODE", "scale must be a constant and positive", at, node)
    if len(node.input) > 2:
        zero = constants.get(node.input[2])
        if zero is None or zero.dtype != np.int8 or np.any(zero != 0):
            raise RefusedError("INVALID_NODE", "zero point must be a constant of INT8, all zeros", at, node)


def _constant(node: onnx.NodeProto) -> Any:
    return next((numpy_helper.to_array(item.t) for item in node.attribute if item.name == "value"), np.zeros(0))


def _fill(network: Network, proto: onnx.ModelProto) -> None:
    initialisers = {item.name for item in proto.graph.initializer}
    network.model = proto
    for value in proto.graph.input:
        if value.name not in initialisers:
            network.inputs.append(_tensor(network.trt, value, True))
    network.outputs.extend(_tensor(network.trt, value, False) for value in proto.graph.output)
    network.layers.extend(Layer(network.trt, node) for node in proto.graph.node if node.op_type != "Constant")


def _tensor(trt: ModuleType, value: onnx.ValueInfoProto, is_input: bool) -> Tensor:
    kind = value.type.tensor_type
    if kind.elem_type not in DTYPES:
        raise RefusedError("UNSUPPORTED_GRAPH", f"tensor {value.name} has a type that TensorRT lacks")
    unnamed = (f"axis {at} of {value.name}" for at in range(len(kind.shape.dim)))
    axes = [
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or name
        for dim, name in zip(kind.shape.dim, unnamed, strict=True)
    ]
    return Tensor(trt, value.name, kind.elem_type, axes, is_input)
