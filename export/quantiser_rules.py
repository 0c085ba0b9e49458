"""What TensorRT's parser asks of QuantizeLinear and DequantizeLinear: signed, symmetric, scales known beforehand.

Where pairs should stand is another question, which `calibration.lint` answers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .operator_rules import QUANTISERS, Place, Rule

__all__ = ["QUANTISER_RULES"]

# From here on a scale may be of any float type; TensorRT gives a DequantizeLinear's output the type of its scale.
TYPED_SCALES = 19


def zero_points(place: Place) -> Iterator[str]:
    name = place.given(2)
    if name is None:
        return
    value = place.graph.constant(name)
    if value is None:
        yield "its zero point must be a constant"
    elif np.any(value != 0):
        yield "its zero point is not 0"
    if place.graph.element_type(name) == "UINT8":
        yield "quantises to UINT8, not INT8"


def unnamed_zero_points(place: Place) -> Iterator[str]:
    """Left out, it is a UINT8 one in ONNX, unless the node says otherwise."""
    from onnx import TensorProto

    wanted = place.attributes.get("output_dtype", TensorProto.UNDEFINED)
    if place.node.op_type == "QuantizeLinear" and place.given(2) is None and wanted != TensorProto.INT8:
        yield "has no zero point, which makes it UINT8"


def scales(place: Place) -> Iterator[str]:
    name = place.given(1)
    value = None if name is None else place.graph.constant(name)
    if value is None:
        yield "its scale must be a constant"
    elif not np.all(np.isfinite(value.astype(np.float64)) & (value.astype(np.float64) > 0)):
        yield "its scales must be finite and above 0"


def scale_lengths(place: Place) -> Iterator[str]:
    name, data = place.given(1), place.given(0)
    shape = None if data is None else place.graph.shape(data)
    lengths = None if name is None else place.graph.shape(name)
    if place.attributes.get("block_size", 0):
        yield "quantises by block"
    if lengths is None or lengths in ((), (1,)):
        return
    if shape is None:
        yield "has a scale per channel of an input whose shape cannot be told"
        return
    axis = int(place.attributes.get("axis", 1))
    if not -len(shape) <= axis < len(shape):
        yield f"quantises along axis {axis} of an input with {len(shape)} axes"
    elif lengths != (shape[axis],):
        yield f"has scales of shape {list(lengths)} for an axis of {shape[axis]}"


def scale_types(place: Place) -> Iterator[str]:
    name = place.given(1)
    found = None if name is None else place.graph.element_type(name)
    if place.graph.opset < TYPED_SCALES:
        allowed: tuple[str | None, ...] = ("FP32",)
    elif place.node.op_type == "QuantizeLinear" and place.given(0) is not None:
        allowed = (place.graph.element_type(place.node.input[0]),)
    else:
        allowed = ("FP32", "FP16", "BF16")
    if found not in allowed:
        yield f"its scale is {found}, where {' or '.join(map(str, allowed))} must be"


def _of_quantisers(rule: Rule) -> Rule:
    def checked(place: Place) -> Iterator[str]:
        return rule(place) if place.node.op_type in QUANTISERS else iter(())

    return checked


QUANTISER_RULES: tuple[tuple[Rule, str | None], ...] = (
    (_of_quantisers(zero_points), "quantise symmetrically: INT8, every zero point 0"),
    (_of_quantisers(unnamed_zero_points), "give an INT8 zero point of 0"),
    (_of_quantisers(scales), "quantise with ranges that calibration found"),
    (_of_quantisers(scale_lengths), "give one scale, or one for each index of the axis"),
    (_of_quantisers(scale_types), "store the scales in the type of the values beside them"),
)
