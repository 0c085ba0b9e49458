"""A bundle whose encoders are small convolutional networks with everything that quantisation must get right.

The video encoder has a front end, a stem, three residual units (norm → conv → PReLU → conv, identity and
strided shortcuts), a norm before the last product; the audio encoder convolutions, ReLUs and a pooling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from doubles.tiny_bundle import tiny_contract
from onnx import TensorProto, helper, numpy_helper

from affectrt.bundle.contract import Contract
from affectrt.bundle.manifest import Provenance
from affectrt.bundle.scopes import BODY, FRONT_END, SCOPE_KEY
from affectrt.bundle.store import Bundle
from affectrt.bundle.writer import BundleDraft, GraphDraft, write_bundle

__all__ = ["DIM", "GraphWriter", "audio_encoder", "make_residual_bundle", "residual_contract", "video_encoder"]

OPSET = 20
DIM = 8
CROP = 16


class GraphWriter:
    """Strings operators together with random weights of sensible size."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.scope = BODY

    def add(self, op: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        node = helper.make_node(op, inputs, [name], name, **attributes)
        note = node.metadata_props.add()
        note.key, note.value = SCOPE_KEY, self.scope
        self.nodes.append(node)
        return name

    def constant(self, value: Any) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.asarray(value, np.float32)
        return name

    def conv(self, x: str, wide: int, high: int, size: int = 3, stride: int = 1, bias: bool = True) -> str:
        weights = self.rng.standard_normal((high, wide, size, size)) / np.sqrt(wide * size * size)
        weights *= self.rng.uniform(0.3, 3.0, (high, 1, 1, 1))  # channels of unequal size need their own scales
        inputs = [x, self.constant(weights)]
        if bias:
            inputs.append(self.constant(self.rng.standard_normal(high)))
        return self.add(
            "Conv", inputs, kernel_shape=[size, size], strides=[stride, stride], pads=[size // 2] * 4, group=1
        )

    def norm(self, x: str, wide: int) -> str:
        scale = self.rng.uniform(0.5, 1.5, wide) * self.rng.choice([-1.0, 1.0], wide)
        facts = (scale, self.rng.standard_normal(wide), self.rng.standard_normal(wide), self.rng.uniform(0.5, 2, wide))
        return self.add("BatchNormalization", [x, *(self.constant(fact) for fact in facts)], epsilon=1e-5)

    def prelu(self, x: str, wide: int, low: float = -0.2, high: float = 0.5) -> str:
        return self.add("PRelu", [x, self.constant(self.rng.uniform(low, high, (wide, 1, 1)))])

    def unit(self, x: str, wide: int, high: int, stride: int) -> str:
        y = self.conv(self.norm(x, wide), wide, high, bias=False)
        y = self.conv(self.prelu(y, high), high, high, stride=stride)
        short = (
            self.add("MaxPool", [x], kernel_shape=[1, 1], strides=[stride, stride])
            if wide == high
            else self.conv(x, wide, high, size=1, stride=stride)
        )
        return self.add("Add", [short, y])

    def product(self, x: str, wide: int, high: int) -> str:
        weights = self.rng.standard_normal((high, wide)) / np.sqrt(wide)
        return self.add("Gemm", [x, self.constant(weights), self.constant(self.rng.standard_normal(high))], transB=1)

    def flat(self, x: str) -> str:
        return self.add("Flatten", [x], axis=1)

    def model(self, inputs: dict[str, tuple[int, tuple[int, ...]]], output: str, shape: tuple[int, ...]) -> Any:
        last = self.nodes[-1]
        last.output[0] = output
        graph = helper.make_graph(
            self.nodes,
            "main",
            [helper.make_tensor_value_info(n, kind, ["batch", *s]) for n, (kind, s) in inputs.items()],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", *shape])],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def video_encoder(seed: int = 0, slopes: tuple[float, float] = (-0.2, 0.5)) -> onnx.ModelProto:
    """`slopes`: lowest and highest slope of the PReLU after the stem."""
    writer = GraphWriter(seed)
    writer.scope = FRONT_END
    x = writer.add("Cast", ["frames"], to=TensorProto.FLOAT)
    x = writer.add("Transpose", [x], perm=[0, 3, 1, 2])
    x = writer.add("Div", [x, writer.constant(127.5)])
    x = writer.add("Sub", [x, writer.constant(1.0)])
    writer.scope = BODY
    x = writer.prelu(writer.conv(x, 3, 8), 8, *slopes)
    x = writer.unit(x, 8, 8, 1)
    x = writer.unit(x, 8, 8, 2)
    x = writer.unit(x, 8, 12, 2)
    x = writer.unit(x, 12, 12, 1)
    side = CROP // 4
    writer.product(writer.flat(writer.norm(x, 12)), 12 * side * side, DIM)
    return writer.model({"frames": (TensorProto.UINT8, (CROP, CROP, 3))}, "features", (DIM,))


def audio_encoder(span: int, seed: int = 1) -> onnx.ModelProto:
    writer = GraphWriter(seed)
    writer.scope = FRONT_END
    shape = numpy_helper.from_array(np.array([0, 1, 40, span // 40], np.int64), "patch_shape")
    x = writer.add("Reshape", ["waveform", "patch_shape"])
    x = writer.add("Mul", [x, writer.constant(3.0)])
    writer.scope = BODY
    x = writer.add("Relu", [writer.conv(x, 1, 6)])
    x = writer.add("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
    x = writer.add("Relu", [writer.conv(x, 6, 8)])
    x = writer.add("Relu", [writer.product(writer.flat(x), 8 * 20 * (span // 80), 16)])
    writer.product(x, 16, DIM)
    writer.constants["patch_shape"] = numpy_helper.to_array(shape)
    return writer.model({"waveform": (TensorProto.FLOAT, (span,))}, "features", (DIM,))


def residual_contract() -> Contract:
    record = tiny_contract().model_dump()
    record["video"]["feature_dim"] = record["audio"]["feature_dim"] = DIM
    return Contract.model_validate(record)


def make_residual_bundle(path: str | Path) -> Bundle:
    contract = residual_contract()
    assert contract.audio is not None
    steps = contract.fusion.window_steps
    fusion = GraphWriter(2)
    both = fusion.add("Concat", ["video", "audio"], axis=2)
    fusion.add("Tanh", [fusion.add("MatMul", [both, fusion.constant(fusion.rng.standard_normal((2 * DIM, 2)))])])
    sizes = dict.fromkeys(("video", "audio"), (TensorProto.FLOAT, (steps, DIM)))
    graphs = {
        "video": video_encoder(),
        "audio": audio_encoder(contract.audio.span_samples),
        "fusion": fusion.model(sizes, "estimates", (steps, 2)),
    }
    draft = BundleDraft(
        "residual",
        contract,
        Provenance(
            checkpoint_sha256="0" * 64, recipe="none", training_corpus="none", licence="MIT", intended_use="tests"
        ),
        [GraphDraft(stage, "fp32", graph.SerializeToString(), OPSET) for stage, graph in graphs.items()],
    )
    return write_bundle(path, draft)
