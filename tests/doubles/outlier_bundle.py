"""A bundle damaged on purpose: one value has rare huge outliers, which FP32 does not mind and eight bits cannot hold.

A channel of the second convolution fires on white spots alone and then is some thousand times larger than the others;
the third convolution takes the size back. Scales are powers of two, so FP32 computes what it would without. A range
that holds the outliers leaves the other channels a fraction of one step.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from doubles.residual_bundle import CROP, DIM, OPSET, GraphWriter
from doubles.tiny_bundle import tiny_contract
from onnx import TensorProto

from affectrt.bundle.contract import Contract
from affectrt.bundle.manifest import Provenance
from affectrt.bundle.scopes import BODY, FRONT_END
from affectrt.bundle.store import Bundle
from affectrt.bundle.writer import BundleDraft, GraphDraft, write_bundle

__all__ = ["OUTLIER_TAKER", "frames_with_flashes", "make_outlier_bundle"]

OUTLIER = 4096.0
OUTLIER_TAKER = "conv_8"
"""The layer that takes the value with the outliers."""


def frames_with_flashes(rows: int, seed: int, every: int = 10) -> np.ndarray:
    """Smooth pictures (rows, 16, 16, 3) uint8 of which every so many has a small white spot."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:CROP, 0:CROP] / CROP
    start, speed = rng.uniform(0, 6, (3, 3)), rng.uniform(-0.3, 0.3, (3, 3))
    pictures = []
    for row in range(rows):
        colours = start + row * speed + rng.normal(0, 0.1, (3, 3))
        picture = np.stack([np.sin(a * x + b * y + c) for a, b, c in colours], axis=-1)
        pictures.append(np.round((0.7 * picture + 1) * 127.5))
        if row % every == every // 2:
            pictures[-1][3:5, 3:5] = 255
    return np.array(pictures).astype(np.uint8)


def make_outlier_bundle(path: str | Path, *, outlier: float = OUTLIER) -> Bundle:
    """Video alone, five layers; of `outlier` 1 the same model in good health."""
    record = tiny_contract(audio=False).model_dump()
    record["video"]["feature_dim"] = DIM
    contract = Contract.model_validate(record)
    steps = contract.fusion.window_steps
    fusion = GraphWriter(2)
    weights = 0.02 * fusion.rng.standard_normal((DIM, 2))  # estimates stay inside [-1, 1], where a session leaves them
    fusion.add("MatMul", ["video", fusion.constant(weights)])
    graphs = {
        "video": _encoder(outlier),
        "fusion": fusion.model({"video": (TensorProto.FLOAT, (steps, DIM))}, "estimates", (steps, 2)),
    }
    draft = BundleDraft(
        "outlier",
        contract,
        Provenance(
            checkpoint_sha256="0" * 64, recipe="none", training_corpus="none", licence="MIT", intended_use="tests"
        ),
        [GraphDraft(stage, "fp32", graph.SerializeToString(), OPSET) for stage, graph in graphs.items()],
    )
    return write_bundle(path, draft)


def _encoder(outlier: float) -> onnx.ModelProto:
    writer = GraphWriter(5)
    writer.scope = FRONT_END
    x = writer.add("Cast", ["frames"], to=TensorProto.FLOAT)
    x = writer.add("Transpose", [x], perm=[0, 3, 1, 2])
    x = writer.add("Div", [x, writer.constant(127.5)])
    x = writer.add("Sub", [x, writer.constant(1.0)])
    writer.scope = BODY
    x = writer.add("Relu", [writer.conv(x, 3, 8)])
    bright, bias = _weights(writer)
    bright[7], bias[7] = 0.0, 0.0
    bright[7, :, 1, 1] = 1 / 3  # the brightness of a pixel
    x = writer.add("Relu", [writer.conv(x, 8, 8)])
    spots, bias = _weights(writer)
    spots[0] = 0.0
    spots[0, 7, 1, 1], bias[0] = 8.0 * outlier, -7.0 * outlier  # what is brighter than the smooth pictures are
    x = writer.add("Relu", [writer.conv(x, 8, 8)])
    taking, _ = _weights(writer)
    taking[:, 0] /= outlier
    x = writer.add("Relu", [writer.conv(x, 8, 8, stride=2)])
    side = CROP // 2
    writer.product(writer.flat(x), 8 * side * side, DIM)
    return writer.model({"frames": (TensorProto.UINT8, (CROP, CROP, 3))}, "features", (DIM,))


def _weights(writer: GraphWriter) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases of the last convolution, to be changed in place."""
    convolution = next(node for node in reversed(writer.nodes) if node.op_type == "Conv")
    return writer.constants[convolution.input[1]], writer.constants[convolution.input[2]]
