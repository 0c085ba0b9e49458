"""A small editor over an ONNX graph: who makes a value, who uses it, what is constant, how large it is."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from affectrt.bundle.scopes import BODY, SCOPE_KEY

if TYPE_CHECKING:
    import onnx

__all__ = ["GraphEditor", "attributes_of", "body_node"]

Floats = npt.NDArray[np.float32]


class GraphEditor:
    """Edits a copy of `model`. Nodes may be changed in place; `nodes` is replaced as a whole."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = type(model)()
        self._model.CopyFrom(model)
        self.nodes: list[onnx.NodeProto] = list(self._model.graph.node)
        self.constants: dict[str, npt.NDArray[Any]] = {}
        self._tensors = {tensor.name: tensor for tensor in self._model.graph.initializer}
        self.inputs = [value.name for value in self._model.graph.input]
        self.outputs = [value.name for value in self._model.graph.output]

    @property
    def opset(self) -> int:
        return int(next(entry.version for entry in self._model.opset_import if entry.domain in ("", "ai.onnx")))

    def shape(self, name: str) -> tuple[int | None, ...] | None:
        """The shape that was inferred for a value before any edit; None for an axis, or in all, that is not known."""
        graph = self._model.graph
        for value in (*graph.value_info, *graph.input, *graph.output):
            if value.name == name and value.type.tensor_type.HasField("shape"):
                axes = value.type.tensor_type.shape.dim
                return tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in axes)
        return None

    def is_constant(self, name: str) -> bool:
        return name in self.constants or name in self._tensors

    def constant(self, name: str) -> npt.NDArray[Any]:
        """The value of a constant; KeyError if it is none. Do not write to it."""
        from onnx import numpy_helper

        if name not in self.constants:
            self.constants[name] = numpy_helper.to_array(self._tensors[name])
        return self.constants[name]

    def set_constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add or replace a constant; returns its name."""
        self._tensors.pop(name, None)
        self.constants[name] = value
        return name

    def producers(self) -> dict[str, onnx.NodeProto]:
        return {name: node for node in self.nodes for name in node.output if name}

    def consumers(self) -> dict[str, list[onnx.NodeProto]]:
        """Value → nodes that take it, once per input slot."""
        users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                if name:
                    users[name].append(node)
        return users

    def model(self) -> onnx.ModelProto:
        """The edited model, with shapes inferred anew, and checked."""
        import onnx

        result = onnx.shape_inference.infer_shapes(
            self.unchecked_model(), check_type=True, strict_mode=True, data_prop=True
        )
        onnx.checker.check_model(result, full_check=True)
        return result

    def unchecked_model(self) -> onnx.ModelProto:
        """The edited model, valid or not. Constants that nobody uses are gone."""
        from onnx import numpy_helper

        result = type(self._model)()
        result.CopyFrom(self._model)
        for field in ("node", "initializer", "value_info"):
            result.graph.ClearField(field)
        result.graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input}
        for name in sorted(used & (self.constants.keys() | self._tensors.keys())):
            if name in self._tensors:
                result.graph.initializer.append(self._tensors[name])
            else:
                result.graph.initializer.append(numpy_helper.from_array(self.constants[name], name))
        domains = {node.domain for node in self.nodes} | {""}
        imports = [entry for entry in self._model.opset_import if entry.domain in domains]
        result.ClearField("opset_import")
        result.opset_import.extend(imports)
        return result


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def body_node(op_type: str, inputs: list[str], output: str, name: str = "", **attributes: Any) -> onnx.NodeProto:
    """A node outside front ends with one output, after which it is called unless it has a name of its own."""
    from onnx import helper

    node = helper.make_node(op_type, inputs, [output], name or output, **attributes)
    note = node.metadata_props.add()
    note.key, note.value = SCOPE_KEY, BODY
    return node
