"""An ONNX graph with the element types and shapes of its values, inferred and not believed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

__all__ = ["TOKENS", "TypedGraph", "attributes_of"]

Shape = tuple[int | None, ...]
TOKENS = "tokens"  # the axis of word pieces: the contract says which lengths it may have
LARGE = 4096  # bytes; shapes and axes, whose values count, are smaller
# ONNX's names of element types → those of TensorRT's lists; a type that is not here keeps ONNX's name.
NAMES = {"FLOAT": "FP32", "FLOAT16": "FP16", "BFLOAT16": "BF16", "DOUBLE": "FP64"}


class TypedGraph:
    """Reads `model`, never changes it. Unknown types and shapes are None; weights in other files are not opened."""

    def __init__(self, model: onnx.ModelProto) -> None:
        import onnx

        self.model = model
        self.opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
        bare = _without_claims(model)
        try:
            inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True).graph
        except onnx.shape_inference.InferenceError:
            inferred = bare.graph  # what is not known is told of the node that needs it
        self.nodes = list(model.graph.node)
        self.inputs = [value.name for value in inferred.input]
        self.outputs = [value.name for value in inferred.output]
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in self.nodes:
            self._tensors.update(_constant_of(node))
        self._values = {value.name: value for value in (*inferred.value_info, *inferred.input, *inferred.output)}
        self.sparse = [tensor.values.name for tensor in model.graph.sparse_initializer]
        self.external = [name for name, tensor in self._tensors.items() if tensor.data_location]

    def element_type(self, name: str) -> str | None:
        """As TensorRT's lists call it: FP32, INT64, BOOL."""
        from onnx import TensorProto

        code: int = self._tensors[name].data_type if name in self._tensors else 0
        if name in self._values and self._values[name].type.HasField("tensor_type"):
            code = code or self._values[name].type.tensor_type.elem_type
        if code not in TensorProto.DataType.values() or code == TensorProto.UNDEFINED:
            return None
        found = str(TensorProto.DataType.Name(code))
        return NAMES.get(found, found)

    def is_tensor(self, name: str) -> bool:
        """False for sequences, optionals and maps."""
        value = self._values.get(name)
        return value is None or value.type.WhichOneof("value") in (None, "tensor_type")

    def shape(self, name: str) -> Shape | None:
        if name in self._tensors:
            return tuple(self._tensors[name].dims)
        value = self._values.get(name)
        if value is None or not value.type.tensor_type.HasField("shape"):
            return None
        axes = value.type.tensor_type.shape.dim
        return tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in axes)

    def axis_name(self, name: str, axis: int) -> str | None:
        """What an axis without a fixed size is called; None for one that has no name, or is not there."""
        value = self._values.get(name)
        axes = value.type.tensor_type.shape.dim if value is not None else ()
        return axes[axis].dim_param or None if axis < len(axes) else None

    def is_constant(self, name: str) -> bool:
        """False for one that is an input too, which a caller may replace."""
        return name in self._tensors and name not in self.inputs

    def constant(self, name: str) -> npt.NDArray[Any] | None:
        """The value of a constant; None where it is none, or cannot be read from this file alone."""
        from onnx import numpy_helper

        tensor = self._tensors.get(name)
        if tensor is None or tensor.data_location or name in self.inputs:
            return None
        try:
            return np.asarray(numpy_helper.to_array(tensor))
        except (ValueError, TypeError):
            return None


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Texts as text; a list of one kind as a list."""
    from onnx import helper

    def read(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return [read(one) for one in value] if isinstance(value, list) else value

    return {attribute.name: read(helper.get_attribute_value(attribute)) for attribute in node.attribute}


def _without_claims(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without what it says of inner values and outputs, and without large weights, of which shapes count."""
    import onnx

    bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    bare.graph.node.extend(model.graph.node)
    bare.graph.input.extend(model.graph.input)
    bare.graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in model.graph.output)
    for tensor in model.graph.initializer:
        if tensor.ByteSize() > LARGE:
            bare.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        else:
            bare.graph.initializer.append(tensor)
    return bare


def _constant_of(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    from onnx import numpy_helper

    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or not node.output:
        return
    for attribute in node.attribute:
        if attribute.name == "value":
            yield node.output[0], attribute.t
        elif attribute.name in ("value_int", "value_ints"):
            values = list(attribute.ints) if attribute.name == "value_ints" else attribute.i
            yield node.output[0], numpy_helper.from_array(np.asarray(values, np.int64))
        elif attribute.name in ("value_float", "value_floats"):
            values = list(attribute.floats) if attribute.name == "value_floats" else attribute.f
            yield node.output[0], numpy_helper.from_array(np.asarray(values, np.float32))
