"""FP16 by casting a graph, with FP32 islands where float16 is too short for what was measured.

What stays FP32, and is cast on its borders alone:

- front ends, whose spectra span too many decades, and the graph's inputs and outputs;
- a node that takes or gives a value, or a constant, whose magnitude was seen above `LARGEST`;
- a node that gives values which were all seen below `SMALLEST`, where float16 loses its digits;
- a norm that squares its input on the way in the input's own type, where the squares' sum would be above `LARGEST`.
  A layer norm computes its mean and squares in float32 by itself, whatever it takes and gives, if its `stash_type` is
  1, which is ONNX's default and what is exported; so it stays whole and small.

The casting itself is ONNX Runtime's own converter. It hands values from island to island through float16, which is
what an island is there to avoid, and writes a cast twice where two islands take one value; both are mended here.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

import numpy as np

from .graph import GraphEditor, attributes_of
from .scope import is_front_end

if TYPE_CHECKING:
    import onnx

__all__ = ["LARGEST", "SMALLEST", "to_half"]

# float16 ends at 65504. A sixteenth of it: inputs that were not recorded are larger, and so are sums on their way.
LARGEST = 4096.0
SMALLEST = 2.0**-14  # below it numbers of float16 have fewer than 11 bits
QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
FIRST_HALF_QUANTISERS = 19  # opset


def to_half(
    model: onnx.ModelProto, largest: Mapping[str, float], *, keep: Set[str] = frozenset(), only: Set[str] | None = None
) -> onnx.ModelProto:
    """`model` in float16 but for its islands; inputs and outputs keep their types.

    `largest`: value → largest magnitude that was observed; pairs around a value need no entries of their own. `keep`:
    outputs of nodes that become islands as well. `only`: outputs of the nodes that alone become float16.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    graph = GraphEditor(model)
    taken: set[str] = set()
    for node in graph.nodes:
        node.name = node.name if node.name and node.name not in taken else node.output[0]
        taken.add(node.name)
    islands = _islands(graph, largest, keep, only)
    _give_own_inputs(graph, islands)
    whole = graph.model()
    names = {node.name for node in whole.graph.node}
    halved = convert_float_to_float16(
        whole, keep_io_types=True, disable_shape_infer=True, op_block_list=[], node_block_list=sorted(islands)
    )
    return _without_needless_casts(halved, names)


def _islands(graph: GraphEditor, largest: Mapping[str, float], keep: Set[str], only: Set[str] | None) -> set[str]:
    """Names of the nodes that stay FP32."""
    from onnx import TensorProto

    producers = graph.producers()
    too_old = graph.opset < FIRST_HALF_QUANTISERS

    def magnitude(name: str) -> float:
        if graph.is_constant(name):
            value = graph.constant(name)
            finite = np.abs(value[np.isfinite(value)]) if value.dtype == np.float32 else np.zeros(0)
            return float(finite.max()) if finite.size else 0.0
        while name not in largest and name in producers and producers[name].op_type in QUANTISERS:
            name = producers[name].input[0]
        return largest.get(name, 0.0)

    def squared(node: onnx.NodeProto, given: float) -> float:
        """The sum of squares on the way of a norm that computes in its input's type; 0 for other nodes."""
        if node.op_type == "ReduceL2":
            return given**2
        if node.op_type == "LayerNormalization" and attributes_of(node).get("stash_type", 1) != TensorProto.FLOAT:
            return graph.constant(node.input[1]).size * magnitude(node.input[0]) ** 2
        return 0.0

    def is_island(node: onnx.NodeProto) -> bool:
        if is_front_end(node) or node.output[0] in keep or (only is not None and node.output[0] not in only):
            return True
        if node.op_type in QUANTISERS and too_old:
            return True
        given = max(magnitude(name) for name in node.output if name)
        if squared(node, given) > LARGEST:
            return True
        highest = max([given, *(magnitude(name) for name in node.input if name)])
        return highest > LARGEST or (0 < given < SMALLEST and node.op_type not in QUANTISERS)

    return {node.name for node in graph.nodes if is_island(node)}


def _give_own_inputs(graph: GraphEditor, islands: set[str]) -> None:
    """An island takes FP32 from constants and DequantizeLinear nodes of its own, so that nothing is cast in between."""
    producers = graph.producers()
    copies: dict[str, onnx.NodeProto] = {}
    for node in graph.nodes:
        if node.name not in islands:
            continue
        for name in set(node.input):
            maker = producers.get(name)
            if maker is None or maker.op_type != "DequantizeLinear" or maker.name in islands:
                continue
            if name not in copies:
                copies[name] = copy = type(maker)()
                copy.CopyFrom(maker)
                copy.name, copy.output[0] = f"{maker.name}:fp32", f"{name}:fp32"
            node.input[:] = [f"{name}:fp32" if value == name else value for value in node.input]
    used = {name for node in graph.nodes for name in node.input} | set(graph.outputs)
    graph.nodes = [
        made
        for node in graph.nodes
        for made in (node, copies.get(node.output[0]))
        if made is not None and (made.op_type != "DequantizeLinear" or made.output[0] in used)
    ]
    islands |= {copy.name for copy in copies.values()}
    consumers = graph.consumers()
    mixed = {name for name, users in consumers.items() if len({user.name in islands for user in users}) == 2}
    for node in graph.nodes:
        if node.name in islands:
            for name in mixed.intersection(node.input):
                if graph.is_constant(name) and graph.constant(name).dtype == np.float32:
                    graph.set_constant(f"{name}:fp32", graph.constant(name))
                    node.input[:] = [f"{name}:fp32" if value == name else value for value in node.input]


def _without_needless_casts(model: onnx.ModelProto, names: Set[str]) -> onnx.ModelProto:
    """Drop casts to float16 and back that the converter put between islands. `names`: the nodes from before it."""
    from onnx import TensorProto

    graph = GraphEditor(model)
    once = {node.output[0]: node for node in graph.nodes if node.name not in names}
    graph.nodes = [node for node in graph.nodes if node.name in names or once[node.output[0]] is node]
    renamed: dict[str, str] = {}
    for node in list(graph.nodes):
        first = once.get(node.input[0]) if node.output[0] in once else None
        if first is None or attributes_of(node)["to"] != TensorProto.FLOAT:
            continue
        # A value that leaves the graph keeps the output's name, any other its own.
        if node.output[0] in graph.outputs:
            renamed[first.input[0]] = node.output[0]
        else:
            renamed[node.output[0]] = first.input[0]
        graph.nodes.remove(node)
    for node in graph.nodes:
        node.input[:] = [_last(renamed, name) for name in node.input]
        node.output[:] = [_last(renamed, name) for name in node.output]
    used = {name for node in graph.nodes for name in node.input} | set(graph.outputs)
    graph.nodes = [node for node in graph.nodes if node.name in names or node.output[0] in used]
    makers = {name: index for index, node in enumerate(graph.nodes) for name in node.output}
    order = TopologicalSorter({i: [makers[n] for n in node.input if n in makers] for i, node in enumerate(graph.nodes)})
    graph.nodes = [graph.nodes[index] for index in order.static_order()]
    return graph.model()


def _last(renamed: Mapping[str, str], name: str) -> str:
    while name in renamed:
        name = renamed[name]
    return name
