"""Pairs of QuantizeLinear and DequantizeLinear put where somebody wants them, rightly or not."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from affectrt.calibration.graph import GraphEditor

__all__ = ["pair_on"]


def pair_on(graph: GraphEditor, node: onnx.NodeProto, index: int) -> None:
    """Quantise what `node` takes at `index`."""
    name = node.input[index]
    stem = f"{node.name}:{index}"
    constants = [
        graph.set_constant(f"{stem}:scale", np.array(0.1, np.float32)),
        graph.set_constant(f"{stem}:zero", np.array(0, np.int8)),
    ]
    at = graph.nodes.index(node)
    graph.nodes[at:at] = [
        helper.make_node("QuantizeLinear", [name, *constants], [f"{stem}:q"], f"{stem}:q"),
        helper.make_node("DequantizeLinear", [f"{stem}:q", *constants], [f"{stem}:dq"], f"{stem}:dq"),
    ]
    node.input[index] = f"{stem}:dq"
