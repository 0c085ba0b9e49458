"""Everything that is known of one stage before a graph is emitted, and its graphs in every precision."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import BundleError, UsageError
from affectrt.bundle.manifest import Precision
from affectrt.bundle.store import Bundle

from .graph import GraphEditor
from .half import to_half
from .lint import check_qdq
from .placement import Int8Target, layer_nodes, values_to_observe, weighted_nodes
from .quantise import quantise
from .ranges import Method, Ranges, compute_ranges
from .rewrite import drop_identity_pools, fold_constants, fold_input_norms, rewrite_prelus
from .spared import heads
from .unroll import unroll_clips

if TYPE_CHECKING:
    import onnx

__all__ = ["TARGETS", "StageSource", "emit", "layers", "prepare_stage", "stage_from_ranges"]

TARGETS: tuple[Int8Target, ...] = ("cpu", "tensorrt")


@dataclass(frozen=True)
class StageSource:
    """One stage: its FP32 graph as the bundle has it, rewritten per target, and the ranges of its values.

    `int8_targets`: who may get INT8 of it. Of a fusion, with its small products and attention, CPUs alone: their
    convolutions over time are twice as fast in INT8. What it does to the estimates is for a guard to judge.
    """

    stage: str
    opset: int
    fp32: bytes
    variants: Mapping[Int8Target, onnx.ModelProto]
    ranges: Ranges
    int8_targets: tuple[Int8Target, ...] = TARGETS


def prepare_stage(
    bundle: Bundle, stage: str, feeds: Mapping[str, npt.NDArray[np.generic]], *, method: Method, seed: int
) -> StageSource:
    """Observe `stage` on `feeds` (input → rows). `seed` is recorded, nothing here is random.

    Raises BundleError, ParityError.
    """
    opset, fp32, variants = _read(bundle, stage)
    targets = _int8_targets(bundle, stage)
    needed = _needed(variants, targets)
    ranges = compute_ranges(stage, variants["tensorrt"], feeds, needed, method=method, seed=seed)
    return StageSource(stage, opset, fp32, variants, ranges, targets)


def stage_from_ranges(bundle: Bundle, stage: str, ranges: Ranges) -> StageSource:
    """The same from ranges that were stored, without any data. Raises BundleError where they are of another stage."""
    opset, fp32, variants = _read(bundle, stage)
    targets = _int8_targets(bundle, stage)
    missing = _needed(variants, targets) - ranges.tensors.keys() if ranges.tensors else set()
    unseen = _float_values(variants["tensorrt"]) - ranges.largest.keys()
    if ranges.stage != stage or missing or unseen:
        found = f"of stage {ranges.stage!r}"
        found += f" without {sorted(missing | unseen)[0]!r}" if missing | unseen else ""
        raise BundleError(
            f"ranges {found} do not fit stage {stage!r} of {bundle.path}",
            expected="the ranges that were computed for this graph",
            fix=f"affectrt calibrate {bundle.path} CORPUS",
        )
    return StageSource(stage, opset, fp32, variants, ranges, targets)


def layers(source: StageSource, target: Int8Target) -> tuple[str, ...]:
    """Layers that may be INT8 on `target`, in the order of computation: names of convolutions' and products' outputs in
    the FP32 graph."""
    if not source.ranges.tensors or target not in source.int8_targets:
        return ()
    found = (node.output[0] for node in layer_nodes(GraphEditor(source.variants[target]), target))
    return tuple(name for name in found if name not in _estimating(source))


def emit(
    source: StageSource,
    precision: Precision,
    target: Int8Target,
    *,
    keep: Set[str] = frozenset(),
    only: Set[str] | None = None,
) -> bytes:
    """A graph of the stage; the same arguments give the same bytes.

    `keep`: layers in higher precision: float instead of INT8 (no value that one takes or gives is quantised, for
    whomever), FP32 instead of FP16 in an `fp16` graph. `only`: these layers alone in the lower precision.
    Raises UsageError for a layer or a graph that the stage does not have, ParityError for a graph that breaks
    TensorRT's rules.
    """
    known = {node.output[0] for node in weighted_nodes(GraphEditor(source.variants[target]))}
    unknown = sorted((keep | (only or frozenset())) - known)
    if unknown:
        raise UsageError(f"stage {source.stage!r} has no layer {unknown[0]!r}", expected=f"one of {sorted(known)}")
    if precision == "fp32":
        return source.fp32
    if precision != "int8" and target != "tensorrt":
        raise UsageError(
            f"an {precision} graph for {target}", expected="float16 for tensorrt alone: CPUs do not compute in it"
        )
    model = source.variants[target]
    if precision != "fp16":
        if not layers(source, target):
            raise UsageError(
                f"stage {source.stage!r} in {precision} for {target}", expected="fp32 or fp16: it has no INT8 layers"
            )
        spared = keep | _estimating(source)
        model = quantise(
            model, source.ranges.tensors, target, keep=spared, only=only, half_scales=precision == "int8-fp16"
        )
        keep, only = frozenset(), None
    if precision != "int8":
        model = to_half(model, source.ranges.largest, keep=keep, only=only)
    if target == "tensorrt":
        check_qdq(source.stage, model)
    return bytes(model.SerializeToString(deterministic=True))


def _read(bundle: Bundle, stage: str) -> tuple[int, bytes, dict[Int8Target, onnx.ModelProto]]:
    import onnx

    graph = bundle.graph_for(stage, "fp32")
    fp32 = bundle.read(graph)
    # Both targets profit from norms that are gone; the rest of the rewrites is for ONNX Runtime alone.
    prepared = fold_input_norms(drop_identity_pools(fold_constants(onnx.load_from_string(fp32))))
    return graph.opset, fp32, {"cpu": unroll_clips(rewrite_prelus(prepared)), "tensorrt": prepared}


def _int8_targets(bundle: Bundle, stage: str) -> tuple[Int8Target, ...]:
    return TARGETS if stage in bundle.contract.encoder_stages else ("cpu",)


def _estimating(source: StageSource) -> frozenset[str]:
    """The last layers of a fusion: what they round off nothing rounds back."""
    if source.int8_targets == TARGETS:
        return frozenset()
    return frozenset(node.output[0] for node in heads(GraphEditor(source.variants["cpu"])))


def _needed(variants: Mapping[Int8Target, onnx.ModelProto], targets: tuple[Int8Target, ...]) -> set[str]:
    return set().union(*(values_to_observe(variants[target], target) for target in targets))


def _float_values(model: onnx.ModelProto) -> set[str]:
    """Every value whose magnitude is observed."""
    import onnx

    values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    return {value.name for value in values if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
