"""Serialised engines of the simulated TensorRT, one static profile per batch size, without the project's builder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import product
from typing import Any

from affectrt.runtime.engines.engine_record import EngineKey, EngineRecord
from affectrt.runtime.engines.gpu import Gpu

__all__ = ["plan_from_graph", "record_of"]


def plan_from_graph(
    graph: bytes, batches: Sequence[int | tuple[int, int, int]] = (1, 8), lengths: Sequence[int] = ()
) -> bytes:
    """`graph` is an ONNX file whose only dynamic axis is the batch, or with `lengths` the first two are.

    Three sizes are a range: minimum, best, maximum.
    """
    import tensorrt as trt

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    strongly_typed = trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    network = builder.create_network(1 << int(strongly_typed))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(graph), [str(parser.get_error(index)) for index in range(parser.num_errors)]
    config = builder.create_builder_config()
    for batch, length in product(batches, lengths or [None]):
        profile = builder.create_optimization_profile()
        for index in range(network.num_inputs):
            tensor: Any = network.get_input(index)
            sizes = batch if isinstance(batch, tuple) else (batch,) * 3
            rest = tuple(tensor.shape)[1:] if length is None else (length, *tuple(tensor.shape)[2:])
            profile.set_shape(tensor.name, *((size, *rest) for size in sizes))
        assert config.add_optimization_profile(profile) >= 0
    plan = builder.build_serialized_network(network, config)
    assert plan is not None
    return bytes(plan)


def record_of(
    plan: bytes, *, graph_sha256: str, stage: str, precision: Any, gpu: Gpu, batches: Sequence[int], **given: Any
) -> EngineRecord:
    """What the builder would write beside `plan`."""
    import tensorrt as trt

    key = EngineKey(
        graph_sha256=graph_sha256,
        tensorrt=str(trt.__version__),
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=gpu.driver,
        l4t=gpu.l4t,
        batches=tuple(batches),
    )
    facts = {
        "key": key,
        "engine_sha256": hashlib.sha256(plan).hexdigest(),
        "size_bytes": len(plan),
        "stage": stage,
        "asked": precision,
        "precision": precision,
        "built_graph_sha256": graph_sha256,
        "build_s": 1.0,
        "built_at": "2026-01-01T00:00:00Z",
    }
    return EngineRecord(**{**facts, **given})
