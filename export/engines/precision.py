"""Did TensorRT compute in the precision that a graph asks for? A build that quietly did not is worse than none.

Strong typing should make the answer yes. But a pair of quantisers that is not fused with its layer leaves that layer in
floats, and an engine of floats runs as well as another and is merely slow. So the graph's layers are looked up in the
engine, one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from affectrt.bundle.errors import EngineError, listed
from affectrt.bundle.manifest import Precision

from .inspector import EngineLayer

if TYPE_CHECKING:
    import onnx

__all__ = ["Proof", "asked_layers", "prove_precision"]

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Proof:
    """What became of the layers that a graph asks for in a low precision; names of ONNX nodes.

    `hidden` lie in regions that the inspector does not look into, `unseen` are named by no layer of the engine.
    """

    proven: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """What was not proved, for a record."""
        told = [("lie in regions that TensorRT's inspector does not look into", self.hidden)]
        told.append(("are named by no layer of the engine", self.unseen))
        total = len(self.proven) + len(self.hidden) + len(self.unseen)
        return [f"the precision of {len(n)} of {total} layers is not proved: they {why}" for why, n in told if n]


def asked_layers(model: onnx.ModelProto, expected: Precision) -> dict[str, str]:
    """ONNX node → the type ("int8", "fp16") in which a graph of this precision asks for it; empty for fp32.

    Products alone: what else is of lower precision follows from its neighbours. Unnamed nodes are called as TensorRT's
    parser calls them, after their first output.
    """
    if expected == "fp32":
        return {}
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    types = _element_types(model) if "fp16" in expected else {}
    asked: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type not in WEIGHTED:
            continue
        name = node.name or f"node_of_{node.output[0]}"
        quantised = all(makers.get(read) == "DequantizeLinear" for read in node.input[:2])
        if quantised and "int8" in expected:
            asked[name] = "int8"
        elif "fp16" in expected and any(types.get(read) == "fp16" for read in node.input[:2]):
            asked[name] = "fp16"
    return asked


def prove_precision(name: str, layers: Sequence[EngineLayer], asked: dict[str, str], expected: Precision) -> Proof:
    """Raises EngineError that lists every layer which was asked for in a low precision and got another."""
    if expected == "fp32":
        return Proof()
    wanted_low = "int8" if "int8" in expected else "fp16"
    if wanted_low not in asked.values():
        raise EngineError(
            f"the {expected} graph of {name} asks for no layer in {wanted_low}",
            expected=f"at least one {', '.join(WEIGHTED)} in {wanted_low}",
        )
    sorted_out: dict[str, list[str]] = {"proven": [], "hidden": [], "unseen": []}
    wrong: list[str] = []
    for node, wanted in asked.items():
        found = _looked_up(node, wanted, layers)
        if found in sorted_out:
            sorted_out[found].append(node)
        else:
            wrong.append(f"{node}: asked {wanted}, got {found}")
    if wrong:
        raise EngineError(
            listed(f"TensorRT built {name} with {len(wrong)} of {len(asked)} layers in another precision", wrong),
            expected=f"every layer that the {expected} graph asks for in {wanted_low}",
        )
    if not sorted_out["proven"] and not sorted_out["hidden"]:
        raise EngineError(
            listed(f"no layer of the engine of {name} bears the name of a layer of its graph", sorted_out["unseen"]),
            expected=f"layers that can be looked up, to see that {expected} was built",
        )
    return Proof(*(tuple(names) for names in sorted_out.values()))


def _looked_up(node: str, wanted: str, layers: Sequence[EngineLayer]) -> str:
    """proven, hidden or unseen; otherwise what the engine computes it in. It must be right in every profile."""
    carriers = [layer for layer in layers if node in layer.nodes and not layer.is_copy]
    if not carriers:
        return "hidden" if any(layer.hidden for layer in layers) else "unseen"
    verdict = "hidden"
    for profile in sorted({layer.profile for layer in carriers}):
        visible = [layer for layer in carriers if layer.profile == profile and not layer.hidden]
        if not visible:
            continue
        if not any(layer.computes_in(wanted) for layer in visible):
            told = " and ".join(sorted({layer.precision for layer in visible}))
            return told if profile == 0 else f"{told} in profile {profile}"
        verdict = "proven"
    return verdict


def _element_types(model: onnx.ModelProto) -> dict[str, str]:
    """Tensor → fp16, where it is; of the values in between as far as shape inference sees."""
    from onnx import TensorProto, shape_inference

    graph = shape_inference.infer_shapes(model).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    types |= {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info, *graph.output)}
    return {name: "fp16" for name, kind in types.items() if kind == TensorProto.FLOAT16}
