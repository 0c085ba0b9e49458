"""What a deserialised engine says of its own tensors, held against what it was built for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from affectrt.bundle.errors import EngineError

from .base import TensorSpec

if TYPE_CHECKING:
    import tensorrt as trt

__all__ = ["EngineTensors", "read_tensors"]


@dataclass(frozen=True)
class EngineTensors:
    """Tensors by name, without the batch axis, and batch size → number of its optimisation profile, ascending."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    profiles: Mapping[int, int]


def read_tensors(engine: trt.ICudaEngine, batches: Sequence[int]) -> EngineTensors:
    """EngineError when the engine is not one of static batches, one profile each, with tensors in the GPU's memory."""
    import tensorrt as trt

    inputs: dict[str, TensorSpec] = {}
    outputs: dict[str, TensorSpec] = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
            raise _unfit(f"tensor {name!r} must lie in the processor's memory", "tensors in the GPU's memory")
        spec = TensorSpec(_dtype_of(engine, name), tuple(engine.get_tensor_shape(name))[1:])
        if any(size < 1 for size in spec.shape):
            raise _unfit(f"tensor {name!r} has shape {list(spec.shape)}", "fixed sizes, but for the batch")
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        (inputs if is_input else outputs)[name] = spec
    if not inputs or not outputs:
        raise _unfit(f"{len(inputs)} inputs and {len(outputs)} outputs", "at least one of each")
    return EngineTensors(inputs, outputs, _profiles_of(engine, inputs, sorted(set(batches))))


def _profiles_of(engine: trt.ICudaEngine, inputs: Mapping[str, TensorSpec], batches: Sequence[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for profile in range(engine.num_optimization_profiles):
        sizes = set()
        for name, spec in inputs.items():
            for shape in engine.get_tensor_profile_shape(name, profile):
                batch, *rest = tuple(shape)
                sizes.add(batch)
                if tuple(rest) != spec.shape:
                    raise _unfit(f"profile {profile} gives {name!r} shape {rest}", f"{list(spec.shape)}")
        if len(sizes) != 1:
            raise _unfit(f"profile {profile} has batches {sorted(sizes)}", "one batch size for each profile")
        found[sizes.pop()] = profile
    if sorted(found) != list(batches) or engine.num_optimization_profiles != len(batches):
        raise _unfit(f"profiles for batches {sorted(found)}", f"{list(batches)}, one profile each")
    return dict(sorted(found.items()))


def _dtype_of(engine: trt.ICudaEngine, name: str) -> str:
    import tensorrt as trt

    names = {"FLOAT": "float32", "HALF": "float16", "UINT8": "uint8", "INT64": "int64"}
    dtype = engine.get_tensor_dtype(name)
    for member, told in names.items():
        if dtype == getattr(trt.DataType, member, None):
            return told
    raise _unfit(f"tensor {name!r} is of type {dtype}", ", ".join(sorted(names.values())))


def _unfit(found: str, expected: str) -> EngineError:
    return EngineError(f"this TensorRT engine does not fit: {found}", expected=expected)
