"""Which values of a graph become eight bits wide, for whom, and whose range they take.

|             | tensorrt                                   | cpu (ONNX Runtime)                                |
|-------------|--------------------------------------------|---------------------------------------------------|
| convolution | its input                                  | input and output                                  |
| residual +  | the skip branch; the other one stays fused | both branches and the sum                         |
| concat      | what convolutions take of it               | the branches, all scaled as the whole, and itself |
| pool, moves | between two quantised values               | as what they take                                 |

A branch that is scaled as the whole costs nothing to put into it, and loses nothing: what takes the whole would see it
on that scale in any case.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .graph import GraphEditor
from .scope import body_nodes, is_front_end

if TYPE_CHECKING:
    import onnx

__all__ = ["Int8Target", "Placement", "place", "values_to_observe", "weighted_nodes"]

Int8Target = Literal["cpu", "tensorrt"]
WEIGHTED = ("Conv", "Gemm", "MatMul")
# Operations that give values as they take them, in another place; the zeros of a Pad are in every range.
MOVES = ("Flatten", "Gather", "Pad", "Reshape", "Transpose")


@dataclass
class Placement:
    """Value → the nodes that take it quantised, or None for all of them."""

    users: dict[str, list[int] | None] = field(default_factory=dict)
    _like: dict[str, str] = field(default_factory=dict)

    def everywhere(self, name: str) -> None:
        self.users[name] = None

    def at(self, name: str, node: onnx.NodeProto) -> None:
        users = self.users.setdefault(name, [])
        if users is not None:
            users.append(id(node))

    def scale_like(self, name: str, other: str) -> None:
        """`name` takes the range of `other` instead of its own."""
        self._like[name] = other

    def is_everywhere(self, name: str) -> bool:
        return self.users.get(name, []) is None

    def range_of(self, name: str) -> str:
        """The value whose range `name` takes."""
        while name in self._like:
            name = self._like[name]
        return name


def place(graph: GraphEditor, target: Int8Target) -> Placement:
    return _place_for_cpu(graph) if target == "cpu" else _place_for_tensorrt(graph)


def values_to_observe(model: onnx.ModelProto, target: Int8Target) -> set[str]:
    """Every value whose range is needed."""
    placement = place(GraphEditor(model), target)
    return {placement.range_of(name) for name in placement.users}


def weighted_nodes(graph: GraphEditor) -> list[onnx.NodeProto]:
    return [node for node in body_nodes(graph.nodes) if node.op_type in WEIGHTED and graph.is_constant(node.input[1])]


def _place_for_tensorrt(graph: GraphEditor) -> Placement:
    placement = Placement()
    for node in weighted_nodes(graph):
        placement.at(node.input[0], node)
    producers, consumers = graph.producers(), graph.consumers()
    for node in _residual_sums(graph):
        fused = [n for n in node.input if producers[n].op_type == "Conv" and len(consumers[n]) == 1]
        skip = next((n for n in node.input if n not in fused), None)
        if fused and skip is not None:
            placement.at(skip, node)
    weighted = {id(node) for node in weighted_nodes(graph)}
    for node in body_nodes(graph.nodes):
        # A pool beside convolutions and before others, as in Inception units: in eight bits it needs no floats at all.
        between = node.op_type == "MaxPool" and node.input[0] in placement.users and node.output[0] in placement.users
        if between and all(id(user) in weighted for user in consumers[node.output[0]]):
            placement.at(node.input[0], node)
            placement.scale_like(node.output[0], node.input[0])
    return placement


def _place_for_cpu(graph: GraphEditor) -> Placement:
    placement = Placement()
    producers, consumers = graph.producers(), graph.consumers()
    weighted = weighted_nodes(graph)
    integer = {id(node) for node in weighted}
    for node in weighted:
        placement.at(node.input[0], node)
        # What is only moved on its way to a convolution is quantised before it is moved.
        origin = node.input[0]
        while origin in producers and _moves(producers[origin]):
            origin = producers[origin].input[0]
        if origin != node.input[0]:
            placement.everywhere(origin)
    for node in weighted:
        result = node.output[0]
        users = consumers[result]
        if len(users) == 1 and users[0].op_type == "Relu":
            result = users[0].output[0]
            users = consumers[result]
        # A last matrix product gives its features in float32: nothing follows that would be faster with less.
        if result not in graph.outputs and (node.op_type == "Conv" or any(id(user) in integer for user in users)):
            placement.everywhere(result)
    for node in _residual_sums(graph):
        for name in (*node.input, node.output[0]):
            if name not in graph.outputs:
                placement.everywhere(name)
    for node in body_nodes(graph.nodes):
        if node.output[0] not in graph.outputs:
            _follow(placement, node, producers)
    return placement


def _follow(placement: Placement, node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> None:
    """Quantise what comes out of an operation that computes nothing, if what goes in is."""
    result = node.output[0]
    if node.op_type == "MaxPool" or _moves(node):
        if placement.is_everywhere(node.input[0]):
            placement.everywhere(result)
            placement.scale_like(result, node.input[0])
    elif node.op_type == "Concat" and all(placement.is_everywhere(name) for name in node.input):
        placement.everywhere(result)
        for name in node.input:
            if producers[name].op_type in ("Conv", "Relu") and placement.range_of(name) == name:
                placement.scale_like(name, result)


def _moves(node: onnx.NodeProto) -> bool:
    """Its output holds values of its input, or zeros, and nothing else."""
    return node.op_type in MOVES and not is_front_end(node) and not (node.op_type == "Pad" and len(node.input) > 2)


def _residual_sums(graph: GraphEditor) -> list[onnx.NodeProto]:
    """Sums of two computed values of which one comes straight from a convolution."""
    producers = graph.producers()
    return [
        node
        for node in body_nodes(graph.nodes)
        if node.op_type == "Add"
        and all(name in producers for name in node.input)
        and any(producers[name].op_type == "Conv" for name in node.input)
    ]
