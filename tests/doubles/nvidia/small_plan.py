"""A logger that keeps errors, and a plan of the small graph, through the `tensorrt` of this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorrt as trt
from doubles.nvidia.small_graph import small_graph

__all__ = ["Listener", "build"]

STRONG = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


class Listener(trt.ILogger):
    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity: object, msg: str) -> None:
        if severity == trt.ILogger.Severity.ERROR:
            self.errors.append(msg)


def build(
    graph: bytes | None = None,
    *,
    batches: tuple[int, ...] = (1, 4),
    flags: int = STRONG,
    verbosity: str = "DETAILED",
    change: Callable[[Any, Any], None] | None = None,
) -> tuple[bytes | None, Listener]:
    """The plan, None where the build failed, and who heard why; `change` gets the builder and its configuration."""
    logger = Listener()
    builder = trt.Builder(logger)
    network = builder.create_network(flags)
    assert trt.OnnxParser(network, logger).parse(graph or small_graph())
    config = builder.create_builder_config()
    config.profiling_verbosity = getattr(trt.ProfilingVerbosity, verbosity)
    for batch in batches:
        profile = builder.create_optimization_profile()
        profile.set_shape("frames", *[(batch, 8, 8, 3)] * 3)
        config.add_optimization_profile(profile)
    if change:
        change(builder, config)
    plan = builder.build_serialized_network(network, config)
    return (None if plan is None else bytes(plan)), logger
