"""The most matrix arithmetic that this GPU gives, measured in this run: what every network is held to.

PyTorch's products where it is there (cuBLAS), else TensorRT engines of one product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .figures import MatrixPeak
from .steps import Absent, Collector, Settings

if TYPE_CHECKING:
    from affectrt.runtime.engines.gpu import Gpu

__all__ = ["measure_peaks", "torch_with_cuda"]

Precision = Literal["fp32", "tf32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "fp16", "int8")
ROUND_S, ROUNDS = 0.2, 3
TRIALS = 30


def measure_peaks(found: Collector, settings: Settings) -> None:
    """Square products of each size; of each precision and size the fastest round."""
    try:
        torch = torch_with_cuda()
    except Absent as first:
        try:
            _with_tensorrt(found, settings)
        except Exception as second:
            raise Absent(f"{first}; TensorRT: {' '.join(str(second).split())}") from second
        return
    _with_torch(found, settings, torch)


def torch_with_cuda() -> Any:
    """The module; Absent where it is missing, has no CUDA, or was not built for this GPU."""
    try:
        import torch
    except ImportError as error:
        raise Absent(f"PyTorch: {error}") from None
    if not torch.cuda.is_available():
        raise Absent(f"PyTorch {torch.__version__} sees no GPU")
    return torch


def _with_torch(found: Collector, settings: Settings, torch: Any) -> None:
    for precision in PRECISIONS:
        for side in settings.matrix_sides:
            try:
                seconds = _torch_product(torch, precision, side)
            except Exception as error:  # INT8 products are not on every device; the others still count
                found.problems += [] if precision == "int8" else [f"{precision} product of {side}: {error}"]
                continue
            _add(found, precision, f"PyTorch {torch.__version__}", side, seconds)


def _add(found: Collector, precision: Precision, library: str, side: int, seconds: float) -> None:
    speed = side**3 / seconds / 1e9
    found.add(MatrixPeak(precision=precision, library=library, shape=f"{side}×{side}×{side}", gmac_per_s=speed))


def _torch_product(torch: Any, precision: Precision, side: int) -> float:
    """Seconds of one product of random numbers: of zeros a GPU is faster, because it draws less power."""
    generator = torch.Generator("cuda").manual_seed(0)
    if precision == "int8":
        a, b = (
            torch.randint(-127, 128, (side, side), dtype=torch.int8, device="cuda", generator=generator)
            for _ in range(2)
        )
        product: Callable[[], Any] = lambda: torch._int_mm(a, b.t())  # noqa: E731
    else:
        kind = torch.float16 if precision == "fp16" else torch.float32
        x, y = (torch.randn((side, side), dtype=kind, device="cuda", generator=generator) for _ in range(2))
        product = lambda: torch.mm(x, y)  # noqa: E731
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        for _ in range(3):
            product()
        once = _events(torch, product, 1)
        repeats = max(1, int(ROUND_S / max(once, 1e-6)))
        return min(_events(torch, product, repeats) for _ in range(ROUNDS))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _events(torch: Any, call: Callable[[], Any], repeats: int) -> float:
    """Seconds of one call, by events around `repeats` of them."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(repeats):
        call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1000 / repeats


def _with_tensorrt(found: Collector, settings: Settings) -> None:
    """One product with constant weights an engine; the time is the device's, without transfers."""
    from affectrt.runtime.engines.gpu import find_gpu
    from affectrt.runtime.engines.nvidia import import_tensorrt

    tensorrt, gpu = import_tensorrt(), find_gpu()
    side = min(settings.matrix_sides)
    for precision in PRECISIONS:
        try:
            seconds = _tensorrt_product(precision, side, gpu)
        except Exception as error:  # one precision that this device lacks must not hide the others
            found.facts[f"{precision} product of TensorRT"] = " ".join(str(error).split())[:300]
            continue
        _add(found, precision, f"TensorRT {tensorrt.__version__}", side, seconds)
    if not found.findings().peaks:
        raise Absent("TensorRT built no product in any precision")


def _tensorrt_product(precision: Precision, side: int, gpu: Gpu) -> float:
    from affectrt.export.engines import Silence, build_engine
    from affectrt.runtime.engines.engine_record import BuildOptions
    from affectrt.runtime.engines.tensorrt_engine import TensorrtEngine

    built = build_engine(
        product_graph(precision, side),
        name=f"{precision} product",
        batches=(side,),
        options=BuildOptions(tf32=precision == "tf32"),
        expected="fp32" if precision == "tf32" else precision,
        timing_cache=None,
        progress=Silence(),
        gpu=gpu,
    )
    with TensorrtEngine(built.plan, batches=(side,), provenance={}, gpu=gpu) as engine:
        x = np.random.default_rng(0).standard_normal((side, side)).astype(np.float32)
        engine.infer({"x": x})
        return min(engine.time_runs(side, TRIALS, transfers=False))


def product_graph(precision: Precision, side: int) -> bytes:
    """ONNX of y = x · w, x and y FP32 on the outside, w constant; INT8 as Q/DQ pairs around both factors."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(1).standard_normal((side, side)).astype(np.float32)
    constants: dict[str, Any] = {}
    nodes: list[Any] = []
    if precision == "int8":
        constants |= {"w8": np.clip(np.round(weights * 32), -127, 127).astype(np.int8), "scale": np.float32(1 / 32)}
        constants["zero"] = np.int8(0)
        nodes.append(helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["x8"]))
        nodes.append(helper.make_node("DequantizeLinear", ["x8", "scale", "zero"], ["a"]))
        nodes.append(helper.make_node("DequantizeLinear", ["w8", "scale", "zero"], ["b"]))
        nodes.append(helper.make_node("MatMul", ["a", "b"], ["y"]))
    elif precision == "fp16":
        constants["b"] = weights.astype(np.float16)
        nodes.append(helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT16))
        nodes.append(helper.make_node("MatMul", ["a", "b"], ["y16"]))
        nodes.append(helper.make_node("Cast", ["y16"], ["y"], to=TensorProto.FLOAT))
    else:
        constants["b"] = weights
        nodes.append(helper.make_node("MatMul", ["x", "b"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", side])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 20)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())
