"""Which values of a graph become eight bits wide, for whom, and whose range they take.

|             | tensorrt                                   | cpu (ONNX Runtime)                                |
|-------------|--------------------------------------------|---------------------------------------------------|
| convolution | its input                                  | input and output                                  |
| residual +  | the skip branch; the other one stays fused | both branches and the sum                         |
| concat      | what convolutions take of it               | the branches, all scaled as the whole, and itself |
| pool, moves | between two quantised values               | as what they take                                 |

A branch that is scaled as the whole costs nothing to put into it, and loses nothing: what takes the whole would see it
on that scale in any case. For TensorRT heads and small products are left alone (`spared`), and so is what attention,
softmax or a layer norm gave, but where a product with constant weights takes it: those products are what a
transformer's time goes into, and they take nothing else. Tables that are looked up in stay as they are.

A layer is a convolution or product with constant weights, and is called after its output. Of a kept layer no value
that it takes or gives is quantised, for nobody. Where only some layers are quantised, the others take and give floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .graph import GraphEditor
from .scope import body_nodes, is_front_end
from .spared import FLOAT_OPS, heads, is_attention_product, is_small_product, maker_of

if TYPE_CHECKING:
    import onnx

__all__ = ["Int8Target", "Placement", "layer_nodes", "place", "values_to_observe", "weighted_nodes"]

Int8Target = Literal["cpu", "tensorrt"]
PRODUCTS = ("Gemm", "MatMul")
WEIGHTED = ("Conv", *PRODUCTS)
# Operations that give values as they take them, in another place; the zeros of a Pad are in every range.
MOVES = ("Flatten", "Gather", "Pad", "Reshape", "Transpose")


@dataclass
class Placement:
    """Value → the nodes that take it quantised, or None for all of them; and the layers whose weights are.

    `floats`: values that layers which are not quantised take or give.
    """

    layers: list[onnx.NodeProto]
    floats: Set[str] = frozenset()
    users: dict[str, list[int] | None] = field(default_factory=dict)
    _like: dict[str, str] = field(default_factory=dict)

    def everywhere(self, name: str) -> None:
        if name not in self.floats:
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


def place(
    graph: GraphEditor, target: Int8Target, *, keep: Set[str] = frozenset(), only: Set[str] | None = None
) -> Placement:
    """`keep` and `only` name layers; names that no layer has are nobody's."""
    candidates = layer_nodes(graph, target)
    kept = _touched(graph, [node for node in weighted_nodes(graph) if node.output[0] in keep])
    chosen = [
        node
        for node in candidates
        if node.output[0] not in keep and node.input[0] not in kept and (only is None or node.output[0] in only)
    ]
    others = [] if only is None else [node for node in candidates if node.output[0] not in only]
    placement = Placement(chosen, kept | _touched(graph, others))
    for node in chosen:
        placement.at(node.input[0], node)
    if target == "cpu":
        _place_for_cpu(graph, placement)
    else:
        _place_for_tensorrt(graph, placement)
    return placement


def values_to_observe(model: onnx.ModelProto, target: Int8Target) -> set[str]:
    """Every value whose range is needed, whichever layers are kept."""
    graph = GraphEditor(model)
    placement, producers = place(graph, target), graph.producers()
    # What is only moved always has the range of what it was before; a pool has its own where that is not quantised.
    own = {name for name in placement.users if target == "tensorrt" or not _is_moved(producers, name)}
    return own | {placement.range_of(name) for name in placement.users}


def weighted_nodes(graph: GraphEditor) -> list[onnx.NodeProto]:
    return [node for node in body_nodes(graph.nodes) if node.op_type in WEIGHTED and graph.is_constant(node.input[1])]


def layer_nodes(graph: GraphEditor, target: Int8Target) -> list[onnx.NodeProto]:
    """The layers that may be quantised for `target`, in the order of computation."""
    if target == "cpu":
        return weighted_nodes(graph)
    producers = graph.producers()
    spared = {id(node) for node in heads(graph)}
    return [
        node
        for node in weighted_nodes(graph)
        if id(node) not in spared
        and not is_small_product(graph, producers, node)
        and (node.op_type in PRODUCTS or not _is_float_value(graph, producers, node.input[0]))
    ]


def _touched(graph: GraphEditor, layers: Iterable[onnx.NodeProto]) -> set[str]:
    """What `layers` take and give, and the same values in another place: before and after moves and pools."""
    producers, consumers = graph.producers(), graph.consumers()
    ahead = [name for node in layers for name in (node.input[0], node.output[0])]
    found: set[str] = set()
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        found.add(name)
        if name in producers and _keeps_values(producers[name]):
            ahead.append(producers[name].input[0])
        ahead += [user.output[0] for user in consumers[name] if _keeps_values(user)]
    return found


def _place_for_tensorrt(graph: GraphEditor, placement: Placement) -> None:
    producers, consumers = graph.producers(), graph.consumers()
    chosen = {id(node) for node in placement.layers}
    for node in _residual_sums(graph):
        fused = [name for name in node.input if producers[name].op_type == "Conv" and len(consumers[name]) == 1]
        skip = next((name for name in node.input if name not in fused), None)
        if skip is None or skip in placement.floats or _is_float_value(graph, producers, skip):
            continue
        if any(id(producers[name]) in chosen for name in fused):
            placement.at(skip, node)
    for node in body_nodes(graph.nodes):
        # A pool beside convolutions and before others, as in Inception units: in eight bits it needs no floats at all.
        between = node.op_type == "MaxPool" and node.input[0] in placement.users and node.output[0] in placement.users
        if between and all(id(user) in chosen for user in consumers[node.output[0]]):
            placement.at(node.input[0], node)
            placement.scale_like(node.output[0], node.input[0])


def _place_for_cpu(graph: GraphEditor, placement: Placement) -> None:
    producers, consumers = graph.producers(), graph.consumers()
    integer = {id(node) for node in placement.layers}
    for node in placement.layers:
        # What is only moved on its way to a convolution is quantised before it is moved.
        origin = node.input[0]
        while _is_moved(producers, origin):
            placement.scale_like(origin, producers[origin].input[0])
            origin = producers[origin].input[0]
        if origin != node.input[0]:
            placement.everywhere(origin)
    for node in placement.layers:
        result = node.output[0]
        users = consumers[result]
        if len(users) == 1 and users[0].op_type == "Relu":
            result = users[0].output[0]
            users = consumers[result]
        # A last matrix product gives its features in float32: nothing follows that would be faster with less.
        if result not in graph.outputs and (node.op_type == "Conv" or any(id(user) in integer for user in users)):
            placement.everywhere(result)
    for node in _residual_sums(graph):
        values = {*node.input, node.output[0]}
        convolved = [producers[name] for name in node.input if producers[name].op_type == "Conv"]
        if not values & placement.floats and all(id(conv) in integer for conv in convolved):
            for name in values - set(graph.outputs):
                placement.everywhere(name)
    for node in body_nodes(graph.nodes):
        if node.output[0] not in graph.outputs:
            _follow(placement, node, producers)


def _follow(placement: Placement, node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> None:
    """Quantise what comes out of an operation that computes nothing, if what goes in is."""
    result = node.output[0]
    if result in placement.floats:
        return
    if node.op_type == "MaxPool" or _moves(node):
        if placement.is_everywhere(node.input[0]):
            placement.everywhere(result)
            placement.scale_like(result, node.input[0])
    elif node.op_type == "Concat" and all(placement.is_everywhere(name) for name in node.input):
        placement.everywhere(result)
        for name in node.input:
            if producers[name].op_type in ("Conv", "Relu") and placement.range_of(name) == name:
                placement.scale_like(name, result)


def _is_float_value(graph: GraphEditor, producers: dict[str, onnx.NodeProto], name: str) -> bool:
    """What attention, softmax or a layer norm gave."""
    maker = maker_of(producers, name)
    return maker is not None and (maker.op_type in FLOAT_OPS or is_attention_product(graph, producers, maker))


def _keeps_values(node: onnx.NodeProto) -> bool:
    return _moves(node) or (node.op_type == "MaxPool" and not is_front_end(node))


def _is_moved(producers: dict[str, onnx.NodeProto], name: str) -> bool:
    return name in producers and _moves(producers[name])


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
