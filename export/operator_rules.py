"""What a table allows of one node: each rule yields what is wrong with it, in words that follow the operator's name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .operator_table import Limits, OperatorTable
from .typed_graph import TypedGraph, attributes_of

if TYPE_CHECKING:
    import onnx

__all__ = ["GENERAL_TYPES", "QUANTISERS", "RULES", "Place", "Rule"]

QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
CASTS = ("Cast", "CastLike")
# What TensorRT computes in. INT8 stands between QuantizeLinear and DequantizeLinear alone, UINT8 at a Cast.
GENERAL_TYPES = ("FP32", "FP16", "BF16", "INT32", "INT64", "BOOL")


@dataclass(frozen=True)
class Place:
    """A node in its graph, beside what one table says of its operator."""

    graph: TypedGraph
    node: onnx.NodeProto
    schema: Any
    table: OperatorTable
    limits: Limits

    @cached_property
    def attributes(self) -> dict[str, Any]:
        return attributes_of(self.node)

    def given(self, index: int) -> str | None:
        """The name of an input; None where it is left out."""
        return self.node.input[index] or None if index < len(self.node.input) else None

    @property
    def data(self) -> str | None:
        """The value whose type and shape the table speaks of."""
        return self.node.output[0] if self.limits.data_input is None else self.given(self.limits.data_input)


Rule = Callable[[Place], Iterator[str]]


def element_types(place: Place) -> Iterator[str]:
    limits, schema = place.limits, place.schema
    formal = schema.outputs[0] if limits.data_input is None else schema.inputs[limits.data_input]
    listed = place.table.types(limits)
    quantiser = place.node.op_type in QUANTISERS
    sides = [("input", place.node.input, schema.inputs), ("output", place.node.output, schema.outputs)]
    for side, names, formals in sides:
        for index, name in enumerate(names):
            same = formals[min(index, len(formals) - 1)].type_str == formal.type_str
            if not name or (side == "output" and same and limits.data_input is not None):
                continue  # outputs of the data input's type have been judged with it
            if quantiser and (side == "output" or index > 0):
                continue  # their scales and zero points have rules of their own, which make the output's type
            either = same or place.node.op_type in CASTS
            yield from _type_problem(place, f"{side} {index}", name, listed if either else GENERAL_TYPES)


def _type_problem(place: Place, where: str, name: str, allowed: tuple[str, ...]) -> Iterator[str]:
    found = place.graph.element_type(name)
    if not place.graph.is_tensor(name):
        yield f"its {where} is a sequence or an optional, not a tensor"
    elif found is None:
        yield f"the element type of its {where} cannot be told"
    elif found == "UINT8" and found not in allowed:
        yield "computes on UINT8, which is for the network's inputs before a Cast alone: write x.float() first"
    elif found not in allowed:
        yield f"its {where} is {found}; {', '.join(allowed)} may be"


def bytes_at_the_edge(place: Place) -> Iterator[str]:
    graph = place.graph
    if place.node.op_type in QUANTISERS:
        return
    for name in (*place.node.input, *place.node.output):
        if name and graph.element_type(name) == "UINT8" and name not in (*graph.inputs, *graph.outputs):
            yield "takes or gives UINT8 inside the network, where it is for inputs and outputs alone"


def ranks(place: Place) -> Iterator[str]:
    if not place.limits.ranks or place.data is None:
        return
    shape = place.graph.shape(place.data)
    if shape is None:
        yield "the rank of its input cannot be told"
    elif len(shape) not in place.limits.ranks:
        yield f"its input has {len(shape)} axes; {' or '.join(map(str, place.limits.ranks))} may be"


def outputs(place: Place) -> Iterator[str]:
    most = place.limits.outputs
    if most is not None and any(place.node.output[most:]):
        names = [place.schema.outputs[index].name for index in range(most, len(place.node.output))]
        yield f"its output {', '.join(names)} is not available"


def constants(place: Place) -> Iterator[str]:
    for index in place.limits.constant_inputs:
        name = place.given(index)
        if name is not None and not place.graph.is_constant(name):
            yield f"its input {index} ({place.schema.inputs[index].name}) must be a constant"


def absent(place: Place) -> Iterator[str]:
    for index in place.limits.absent_inputs:
        if place.given(index) is not None:
            yield f"its input {index} ({place.schema.inputs[index].name}) is not available"


def zeros(place: Place) -> Iterator[str]:
    for index in place.limits.zero_inputs:
        name = place.given(index)
        value = None if name is None else place.graph.constant(name)
        if name is not None and (value is None or np.any(value)):
            yield f"its input {index} ({place.schema.inputs[index].name}) must be the constant 0"


def small(place: Place) -> Iterator[str]:
    for index, bound in place.limits.input_below.items():
        name = place.given(index)
        value = None if name is None else place.graph.constant(name)
        if value is not None and np.any(value >= bound):
            yield f"its input {index} ({place.schema.inputs[index].name}) is {np.max(value)}, not below {bound}"


def static_shapes(place: Place) -> Iterator[str]:
    name = place.given(0)
    shape = None if name is None else place.graph.shape(name)
    if place.limits.static_input and (shape is None or None in shape):
        yield "its input has an axis without a fixed size"


def last_axes(place: Place) -> Iterator[str]:
    wanted, shape = place.limits.last_axis, None if place.data is None else place.graph.shape(place.data)
    if wanted is not None and (not shape or shape[-1] != wanted):
        yield f"the last axis of its input must be {wanted}"


def symmetric_pads(place: Place) -> Iterator[str]:
    pads = place.attributes.get("pads", [])
    if place.limits.symmetric_pads and pads[: len(pads) // 2] != pads[len(pads) // 2 :]:
        yield f"its pads {pads} differ between the two sides"


def activations(place: Place) -> Iterator[str]:
    names = place.attributes.get("activations", [])
    half = len(names) // 2
    both = place.attributes.get("direction") == "bidirectional"
    if place.limits.same_activations and both and names[:half] != names[half:]:
        yield f"its activations {', '.join(names)} differ between the two directions"


def attribute_values(place: Place) -> Iterator[str]:
    for name, allowed in place.limits.attributes.items():
        value = place.attributes.get(name)
        values = value if isinstance(value, list) else [] if value is None else [value]
        wrong = [one for one in values if one not in allowed]
        if wrong:
            yield f"its {name} is {value}; {', '.join(map(str, allowed))} may be"
    for name, pattern in place.limits.attribute_patterns.items():
        value = place.attributes.get(name)
        if value is not None and re.fullmatch(pattern, str(value)) is None:
            yield f"its {name} {value!r} is more than this version reads"
    for name in place.limits.without_attributes:
        if place.attributes.get(name):
            yield f"its attribute {name} is not available"


# With the way round where the rule knows it; elsewhere it is the table's.
RULES: tuple[tuple[Rule, str | None], ...] = (
    (element_types, "cast it first"),
    (bytes_at_the_edge, "cast right after the input or right before the output"),
    (ranks, None),
    (outputs, None),
    (constants, None),
    (absent, None),
    (zeros, None),
    (small, None),
    (static_shapes, None),
    (last_axes, None),
    (symmetric_pads, None),
    (activations, None),
    (attribute_values, None),
)
