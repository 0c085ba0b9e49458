"""What a deserialised engine says of its own tensors, held against what it was built for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from affectrt.bundle.errors import EngineError

from .base import TensorSpec

if TYPE_CHECKING:
    import tensorrt as trt

__all__ = ["EngineTensors", "ProfileSize", "read_tensors"]


class ProfileSize(NamedTuple):
    """What one profile computes: rows, and their length where the stage takes several."""

    batch: int
    length: int | None = None

    def in_words(self) -> str:
        return f"batch {self.batch}" if self.length is None else f"batch {self.batch} of length {self.length}"


@dataclass(frozen=True)
class EngineTensors:
    """Tensors by name, without the batch axis, and size → number of its optimisation profile, ascending."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    profiles: Mapping[ProfileSize, int]

    def inputs_at(self, length: int | None) -> dict[str, TensorSpec]:
        return {name: spec.sized(length) for name, spec in self.inputs.items()}

    def outputs_at(self, length: int | None) -> dict[str, TensorSpec]:
        return {name: spec.sized(length) for name, spec in self.outputs.items()}


def read_tensors(engine: trt.ICudaEngine, batches: Sequence[int], lengths: Sequence[int] = ()) -> EngineTensors:
    """EngineError when the engine is not one of static batches, one profile each, with tensors in the GPU's memory.

    With `lengths` the first axis of every tensor is open, and each batch has one profile a length.
    """
    import tensorrt as trt

    inputs: dict[str, TensorSpec] = {}
    outputs: dict[str, TensorSpec] = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
            raise _unfit(f"tensor {name!r} must lie in the processor's memory", "tensors in the GPU's memory")
        spec = TensorSpec(_dtype_of(engine, name), tuple(engine.get_tensor_shape(name))[1:])
        fixed = spec.shape[1:] if lengths else spec.shape
        if any(size < 1 for size in fixed) or (lengths and spec.shape[:1] != (-1,)):
            needed = "an open length in front of fixed sizes" if lengths else "fixed sizes, but for the batch"
            raise _unfit(f"tensor {name!r} has shape {list(spec.shape)}", needed)
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        (inputs if is_input else outputs)[name] = spec
    if not inputs or not outputs:
        raise _unfit(f"{len(inputs)} inputs and {len(outputs)} outputs", "at least one of each")
    wanted = [ProfileSize(*size) for size in product(sorted(set(batches)), sorted(set(lengths)) or (None,))]
    return EngineTensors(inputs, outputs, _profiles_of(engine, inputs, wanted))


def _profiles_of(
    engine: trt.ICudaEngine, inputs: Mapping[str, TensorSpec], wanted: Sequence[ProfileSize]
) -> dict[ProfileSize, int]:
    found: dict[ProfileSize, int] = {}
    for profile in range(engine.num_optimization_profiles):
        sizes: set[ProfileSize] = set()
        for name, spec in inputs.items():
            for shape in engine.get_tensor_profile_shape(name, profile):
                batch, *rest = tuple(shape)
                length = rest[0] if spec.shape[:1] == (-1,) else None
                sizes.add(ProfileSize(batch, length))
                if tuple(rest) != spec.sized(length).shape:
                    raise _unfit(f"profile {profile} gives {name!r} shape {rest}", f"{list(spec.shape)}")
        if len(sizes) != 1:
            raise _unfit(f"profile {profile} has {_told(sizes)}", "one batch size for each profile, and one length")
        found[sizes.pop()] = profile
    if set(found) != set(wanted) or engine.num_optimization_profiles != len(wanted):
        raise _unfit(f"profiles for {_told(found)}", f"{_told(wanted)}, one profile each")
    return {size: found[size] for size in wanted}


def _told(sizes: Collection[ProfileSize]) -> str:
    """`batches [1, 8]`, and `lengths [16, 32]` where there are some."""
    batches = f"batches {sorted({size.batch for size in sizes})}"
    lengths = sorted({size.length for size in sizes if size.length is not None})
    return f"{batches} and lengths {lengths}" if lengths else batches


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
