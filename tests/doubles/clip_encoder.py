"""A bundle whose video encoder is a small network for clips: a stem over time, pools that leave frames apart, and two
Inception units."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from doubles.clip_contract import clip_contract
from doubles.residual_bundle import DIM as AUDIO_DIM
from doubles.residual_bundle import GraphWriter, audio_encoder
from onnx import TensorProto

from affectrt.bundle.manifest import Provenance
from affectrt.bundle.scopes import BODY, FRONT_END
from affectrt.bundle.store import Bundle
from affectrt.bundle.writer import BundleDraft, GraphDraft, write_bundle

__all__ = ["DIM", "clip_encoder", "make_clip_bundle"]

DIM = 24
FRAMES, SIZE = 8, 16
OPSET = 20


def clip_encoder(
    *,
    frames: int = FRAMES,
    size: int = SIZE,
    colours: int = 3,
    kernel: int = 7,
    stride: int = 2,
    pool_stride: int = 1,
    seed: int = 0,
) -> onnx.ModelProto:
    """uint8 clips (B, frames, size, size, colours) → features (B, DIM).

    `kernel` and `stride` are the stem's, `pool_stride` that of the first pool over time, of which it sees one frame.
    """
    writer = _ClipWriter(seed)
    writer.scope = FRONT_END
    x = writer.add("Cast", ["frames"], to=TensorProto.FLOAT)
    x = writer.add("Transpose", [x], perm=[0, 4, 1, 2, 3])
    x = writer.add("Div", [x, writer.constant(127.5)])
    x = writer.add("Sub", [x, writer.constant(1.0)])
    writer.scope = BODY
    x = writer.unit3(x, colours, 16, (kernel,) * 3, (stride,) * 3, (frames, size, size))
    left = (-(-frames // stride), -(-size // stride), -(-size // stride))
    x = writer.pool(x, (1, 3, 3), (pool_stride, 2, 2), left)
    left = (-(-left[0] // pool_stride), -(-left[1] // 2), -(-left[2] // 2))
    x = writer.unit3(x, 16, 16, (1, 1, 1), (1, 1, 1), left)
    x = writer.unit3(x, 16, 16, (3, 3, 3), (1, 1, 1), left)
    x = writer.inception(writer.inception(x, 16, left), 32, left)
    x = writer.pool(x, (2, 2, 2), (2, 2, 2), left)
    writer.product(writer.flat(writer.add("GlobalAveragePool", [x])), 32, DIM)
    return writer.model({"frames": (TensorProto.UINT8, (frames, size, size, colours))}, "features", (DIM,))


class _ClipWriter(GraphWriter):
    def unit3(
        self, x: str, wide: int, high: int, kernel: Sequence[int], stride: Sequence[int], shape: Sequence[int]
    ) -> str:
        """Convolution padded "SAME", whose odd place stands at the end, and ReLU."""
        weights = self.rng.standard_normal((high, wide, *kernel)) * np.sqrt(2 / (wide * np.prod(kernel)))
        weights *= self.rng.uniform(0.5, 2.0, (high, 1, 1, 1, 1))
        inputs = [x, self.constant(weights), self.constant(0.3 * self.rng.standard_normal(high))]
        pads = _same(shape, kernel, stride)
        return self.add("Relu", [self.add("Conv", inputs, kernel_shape=kernel, strides=stride, pads=pads)])

    def pool(self, x: str, kernel: Sequence[int], stride: Sequence[int], shape: Sequence[int]) -> str:
        pads = _same(shape, kernel, stride)
        return self.add("MaxPool", [x], kernel_shape=kernel, strides=stride, pads=pads)

    def inception(self, x: str, wide: int, shape: Sequence[int]) -> str:
        """Four branches of 8 channels, of which three see 3 × 3 × 3 places."""
        one, three = (1, 1, 1), (3, 3, 3)
        b0 = self.unit3(x, wide, 8, one, one, shape)
        b1 = self.unit3(self.unit3(x, wide, 8, one, one, shape), 8, 8, three, one, shape)
        b2 = self.unit3(self.unit3(x, wide, 4, one, one, shape), 4, 8, three, one, shape)
        b3 = self.unit3(self.pool(x, three, one, shape), wide, 8, one, one, shape)
        return self.add("Concat", [b0, b1, b2, b3], axis=1)


def _same(shape: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> list[int]:
    total = [max(k - (n % s or s), 0) for n, k, s in zip(shape, kernel, stride, strict=True)]
    return [n // 2 for n in total] + [n - n // 2 for n in total]


def make_clip_bundle(path: str | Path) -> Bundle:
    contract = clip_contract(
        span_frames=FRAMES, video_dim=DIM, audio_dim=AUDIO_DIM, resize_px=SIZE, crop_px=SIZE, stride_steps=FRAMES
    )
    assert contract.audio is not None
    steps = contract.fusion.window_steps
    fusion = GraphWriter(2)
    both = fusion.flat(fusion.add("Concat", ["video", "audio"], axis=2))
    fusion.add("Tanh", [fusion.product(both, steps * (DIM + AUDIO_DIM), 2)])
    sizes = {"video": (TensorProto.FLOAT, (steps, DIM)), "audio": (TensorProto.FLOAT, (steps, AUDIO_DIM))}
    graphs = {
        "video": clip_encoder(),
        "audio": audio_encoder(contract.audio.span_samples),
        "fusion": fusion.model(sizes, "estimates", (2,)),
    }
    provenance = Provenance(
        checkpoint_sha256="0" * 64, recipe="none", training_corpus="none", licence="MIT", intended_use="tests"
    )
    drafts = [GraphDraft(stage, "fp32", graph.SerializeToString(), OPSET) for stage, graph in graphs.items()]
    return write_bundle(path, BundleDraft("clips", contract, provenance, drafts))
