"""The most matrix arithmetic that ONNX Runtime gets out of this machine, measured, so that a stage can be held to it.

A data sheet's peak says what the silicon could do; this one says what the same kernels did, minutes ago, with the
same number of threads, on shapes that suit them best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from affectrt.runtime.engines.onnxruntime_engine import OnnxRuntimeEngine

from .timing import measure

__all__ = ["Peak", "measure_peak"]

Number = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Peak:
    """Best of all shapes tried, in MAC/s (an operation count, TOP/s, is twice that)."""

    fp32: float
    int8: float
    by_shape: Mapping[str, float]

    def of(self, precision: str) -> float:
        """The peak that a stage in this precision is held to."""
        return self.int8 if precision == "int8" else self.fp32

    def as_record(self) -> dict[str, object]:
        return {
            "fp32_gmac_per_s": self.fp32 / 1e9,
            "int8_gmac_per_s": self.int8 / 1e9,
            "gmac_per_s_by_shape": {name: value / 1e9 for name, value in self.by_shape.items()},
        }


@dataclass(frozen=True)
class _Shape:
    name: str
    macs: int
    build: Callable[[bool], bytes]
    input_shape: tuple[int, ...]


def measure_peak(
    *, threads: int | None = None, iterations: int = 12, clock: Callable[[], float] = perf_counter
) -> Peak:
    """Time each shape in both precisions; takes a few seconds. Needs the onnx package to write the graphs."""
    found: dict[str, float] = {}
    rng = np.random.default_rng(0)
    for shape in _shapes():
        for precision in ("fp32", "int8"):
            values = rng.integers(0, 255, shape.input_shape).astype(np.uint8)
            x: Number = values if precision == "int8" else values.astype(np.float32) / 255
            graph = shape.build(precision == "int8")
            with OnnxRuntimeEngine(graph, threads=threads, provenance={}) as engine:
                timing = measure(partial(engine.infer, {"x": x}), iterations=iterations, warmup_s=0.1, clock=clock)
            found[f"{shape.name} {precision}"] = shape.macs / timing.best
    best = {p: max(v for name, v in found.items() if name.endswith(p)) for p in ("fp32", "int8")}
    return Peak(best["fp32"], best["int8"], found)


def _shapes() -> Iterator[_Shape]:
    """Sizes whose operands fit in the second-level cache by blocks and whose depth keeps the dot products long."""
    for m, k, n in ((1024, 1024, 1024), (512, 2048, 2048)):
        yield _Shape(f"product {m}×{k}×{n}", m * k * n, partial(_product, k, n), (m, k))
    for channels, side, kernel, batch in ((512, 20, 1, 8), (256, 28, 3, 4), (512, 14, 3, 4)):
        macs = batch * channels * channels * kernel * kernel * side * side
        yield _Shape(
            f"convolution {kernel}×{kernel}, {channels} channels",
            macs,
            partial(_convolution, channels, kernel),
            (batch, channels, side, side),
        )


def _product(depth: int, width: int, quantised: bool) -> bytes:
    weights = np.random.default_rng(1).integers(-127, 128, (depth, width)).astype(np.int8)
    return _model("MatMul", "QLinearMatMul", weights, quantised, {}, (None, depth))


def _convolution(channels: int, kernel: int, quantised: bool) -> bytes:
    shape = (channels, channels, kernel, kernel)
    weights = np.random.default_rng(1).integers(-127, 128, shape).astype(np.int8)
    return _model("Conv", "QLinearConv", weights, quantised, {"pads": [kernel // 2] * 4}, (None, channels, None, None))


def _model(
    plain: str,
    quantised_name: str,
    weights: npt.NDArray[np.int8],
    quantised: bool,
    attributes: Mapping[str, Any],
    input_shape: tuple[int | None, ...],
) -> bytes:
    """One operator between input `x` and output `y`; quantised: unsigned activations, signed weights."""
    from onnx import TensorProto, helper, numpy_helper

    kind = TensorProto.UINT8 if quantised else TensorProto.FLOAT
    if quantised:
        constants = {
            "x_scale": np.float32(1 / 255),
            "x_zero": np.uint8(0),
            "w": weights,
            "w_scale": np.float32(1 / 127),
            "w_zero": np.int8(0),
            "y_scale": np.float32(1.0),
            "y_zero": np.uint8(128),
        }
        inputs = ["x", *constants]
        node = helper.make_node(quantised_name, inputs, ["y"], **attributes)
    else:
        constants = {"w": weights.astype(np.float32) / 127}
        node = helper.make_node(plain, ["x", "w"], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "peak",
        [helper.make_tensor_value_info("x", kind, list(input_shape))],
        [helper.make_tensor_value_info("y", kind, [None] * len(input_shape))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
