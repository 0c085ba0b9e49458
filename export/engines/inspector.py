"""TensorRT's engine inspector, read: which ONNX nodes each layer of an engine computes, and in which type.

The JSON of an engine that was built with detailed verbosity lists per layer its name, type, inputs and weights; that of
any other engine lists names alone. TensorRT fuses: a layer is named "a + b" or "a || b" after its nodes, or its
metadata names them as "[ONNX Layer: a]". A region given to another compiler is one layer, {ForeignNode[a...b]}, whose
inner nodes and types nobody sees. Layers of a profile other than the first end in " [profile N]".
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from affectrt.bundle.errors import EngineError

__all__ = ["EngineLayer", "count_layers", "layers_from_json"]

# Short form, as without an execution context ("Half"), and long form ("Channel major FP16 format where …").
TYPES = {
    "int8": r"int8",
    "uint8": r"uint8",
    "fp8": r"fp8|float8",
    "bf16": r"bf16|bfloat16",
    "fp16": r"half|fp16|float16",
    "fp32": r"float|fp32|float32",
    "int32": r"int32",
    "int64": r"int64",
    "bool": r"bool",
    "int4": r"int4",
}
TYPE_WORDS = [(name, re.compile(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9])")) for name, words in TYPES.items()]
PROFILE = re.compile(r"\s*\[profile (\d+)\]$")
BETWEEN_NAMES = re.compile(r"\s\+\s|\s\|\|\s")
# TensorRT separates the names by unit and record separators, some versions by nothing.
METADATA = re.compile(r"\[ONNX Layer: ([^\x1e\x1f]*?)\](?=[\x1e\x1f\s]|\[ONNX Layer: |$)")
# Such layers move or convert what a node reads or gives; they do not compute it.
COPIES = ("reformat", "noop", "constant", "shuffle", "quantize", "dequantize", "cast")
FOREIGN = "ForeignNode"


@dataclass(frozen=True)
class EngineLayer:
    """One layer of an engine.

    `inputs` are the types of what it reads, its data first, `weights` that of its own weights; "" where it is not told.
    A `hidden` layer is a region whose inside is not told. `nodes` are the ONNX nodes that it computes.
    """

    name: str
    profile: int = 0
    kind: str = ""
    inputs: tuple[str, ...] = ()
    weights: str = ""
    nodes: frozenset[str] = frozenset()

    @property
    def hidden(self) -> bool:
        return FOREIGN in self.name or FOREIGN in self.kind

    @property
    def precision(self) -> str:
        """The type it computes in, which is that of its data; "hidden" or "unknown" where that is not told."""
        if self.hidden:
            return "hidden"
        return (self.inputs[0] if self.inputs else "") or self.weights or "unknown"

    @property
    def is_copy(self) -> bool:
        return self.kind.lower() in COPIES or self.name.startswith("Reformatting CopyNode")

    def computes_in(self, wanted: str) -> bool:
        """Whether the data or the weights are of this type, or, where a compiler ordered the inputs, any of them."""
        told = {*self.inputs} if self.name.startswith("__my") else {*self.inputs[:1]}
        return wanted in told | {self.weights}


def layers_from_json(text: str) -> list[EngineLayer]:
    """The layers that an inspector's JSON tells of, with names alone where it has no more; raises EngineError."""
    try:
        value = json.loads(text)
        entries = value["Layers"]
        return [_layer(entry) for entry in entries]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EngineError(
            f"TensorRT's engine inspector says what cannot be read: {type(error).__name__}: {error}",
            expected='JSON with a list "Layers"',
        ) from None


def count_layers(layers: Iterable[EngineLayer]) -> dict[str, int]:
    """Layers by precision; of several profiles, which hold the same layers, the first counts."""
    counts = Counter(layer.precision for layer in layers if layer.profile == 0)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _layer(entry: str | Mapping[str, Any]) -> EngineLayer:
    if isinstance(entry, str):
        name, profile = _name_and_profile(entry)
        return EngineLayer(name, profile)
    name, profile = _name_and_profile(str(entry["Name"]))
    read = entry.get("Inputs") or entry.get("Outputs") or ()
    weights = entry.get("Weights")
    nodes = {_node_name(part) for part in BETWEEN_NAMES.split(name)}
    nodes |= set(METADATA.findall(str(entry.get("Metadata") or "")))
    return EngineLayer(
        name,
        profile,
        str(entry.get("LayerType", "")),
        tuple(_type(str(tensor.get("Format/Datatype") or tensor.get("Datatype") or "")) for tensor in read),
        _type(str(weights.get("Type", ""))) if isinstance(weights, Mapping) else "",
        frozenset(nodes),
    )


def _name_and_profile(name: str) -> tuple[str, int]:
    found = PROFILE.search(name)
    return (name[: found.start()], int(found[1])) if found else (name, 0)


def _node_name(part: str) -> str:
    """`PWN(PWN(a))` is how a fused pointwise operation is named."""
    part = part.strip()
    while part.startswith("PWN(") and part.endswith(")"):
        part = part[4:-1].strip()
    return part


def _type(told: str) -> str:
    """`int8` of "Channel major INT8 format where channel % 4 == 0"; "" if no type is told."""
    words = told.lower()
    return next((name for name, pattern in TYPE_WORDS if pattern.search(words)), "")
