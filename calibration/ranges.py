"""The range of every value that may be quantised, computed once per stage and kept in the bundle."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Set
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from affectrt.bundle.errors import BundleError, ParityError
from affectrt.bundle.modalities import Record
from affectrt.bundle.strict_json import printable, problems_from_validation, value_from_json

if TYPE_CHECKING:
    import onnx

__all__ = ["BATCH", "METHODS", "Method", "Ranges", "compute_ranges"]

Method = Literal["minmax", "percentile", "entropy"]
METHODS: tuple[Method, ...] = ("minmax", "percentile", "entropy")
PERCENTILE = 99.995
# Histograms keep all activations of a batch at once: 2 rows of IR-50 are 60 MB, 2 clips of I3D 520.
BATCH = 2
FLOAT32_MAX = float(np.finfo(np.float32).max)
Bound = Annotated[float, Field(strict=True, ge=-FLOAT32_MAX, le=FLOAT32_MAX)]


@dataclass(frozen=True)
class Ranges:
    """`tensors`: value that may be quantised → (lowest, highest), as `method` sees it on `rows` recorded spans of
    `stage`; none where nothing may be. `largest`: every float value → its largest magnitude, for FP16.
    """

    stage: str
    method: Method
    rows: int
    seed: int
    tensors: Mapping[str, tuple[float, float]]
    largest: Mapping[str, float]

    def as_json(self) -> bytes:
        record = {
            "stage": self.stage,
            "method": self.method,
            "rows": self.rows,
            "seed": self.seed,
            "tensors": {name: list(self.tensors[name]) for name in sorted(self.tensors)},
            "largest": {name: self.largest[name] for name in sorted(self.largest)},
        }
        return json.dumps(record, indent=1, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> Ranges:
        """What `as_json` wrote. Raises BundleError for anything else, whoever wrote it."""
        try:
            record = _Record.model_validate(value_from_json(content))
        except ValidationError as error:
            raise _unreadable("\n".join(f"  - {problem}" for problem in problems_from_validation(error))) from None
        except ValueError as error:
            raise _unreadable(f"  - {error}") from None
        crossed = [name for name, (low, high) in record.tensors.items() if low > high]
        if crossed:
            raise _unreadable(f"  - the lowest of {printable(crossed[0])} is above its highest")
        return cls(record.stage, record.method, record.rows, record.seed, record.tensors, record.largest)


class _Record(Record):
    """The file. Bounds are those of float32, in which all of it is computed."""

    stage: Annotated[str, Field(min_length=1)]
    method: Method
    rows: Annotated[int, Field(strict=True, ge=1)]
    seed: Annotated[int, Field(strict=True)]
    tensors: dict[str, tuple[Bound, Bound]]
    largest: dict[str, Annotated[Bound, Field(ge=0)]]


def _unreadable(problems: str) -> BundleError:
    return BundleError(
        f"stored ranges cannot be read:\n{problems}",
        expected="what `affectrt calibrate` wrote",
        fix="affectrt calibrate BUNDLE CORPUS",
    )


def compute_ranges(
    stage: str,
    model: onnx.ModelProto,
    feeds: Mapping[str, npt.NDArray[np.generic]],
    values: Set[str],
    *,
    method: Method,
    seed: int = 0,
) -> Ranges:
    """Run `model` over `feeds` (input → rows) and observe `values`, and the magnitude of all others.

    Raises ParityError where one of `values` is not finite.
    """
    rows = len(next(iter(feeds.values())))
    everything = {name for node in model.graph.node for name in (*node.input, *node.output) if name}
    extremes = _observe(model, feeds, everything, "minmax")
    largest = {name: _magnitude(*bounds) for name, bounds in extremes.items()}
    tensors = extremes if method == "minmax" else _observe(model, feeds, values, method) if values else {}
    tensors = {name: bounds for name, bounds in tensors.items() if name in values}
    endless = sorted(name for name, bounds in tensors.items() if not np.isfinite(bounds).all())
    if endless:
        raise ParityError(
            f"stage {stage!r} computes {endless[0]} beyond all numbers from the recorded inputs",
            expected="finite values",
            fix="affectrt verify the bundle; if it holds, the model is broken",
        )
    return Ranges(stage, method, rows, seed, tensors, largest)


def _magnitude(low: float, high: float) -> float:
    """Of float32; its greatest number for anything beyond."""
    return max(-low, high) if np.isfinite([low, high]).all() else FLOAT32_MAX


def _observe(
    model: onnx.ModelProto, feeds: Mapping[str, npt.NDArray[np.generic]], values: Set[str], method: Method
) -> dict[str, tuple[float, float]]:
    """Lowest and highest of those `values` that are floats and computed, a few rows at a time."""
    from onnxruntime.quantization import CalibrationMethod, create_calibrator
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, batch: Mapping[str, npt.NDArray[np.generic]]) -> None:
            self._left: list[Mapping[str, npt.NDArray[np.generic]]] = [batch]

        def get_next(self) -> Mapping[str, npt.NDArray[np.generic]] | None:
            return self._left.pop() if self._left else None

    kind, options = _onnxruntime_method(CalibrationMethod, method)
    with tempfile.TemporaryDirectory(prefix="affectrt-ranges-") as folder:
        path = Path(folder) / "stage.onnx"
        path.write_bytes(model.SerializeToString())
        calibrator = create_calibrator(
            path,
            # It observes what goes into and comes out of all nodes of some types.
            sorted({node.op_type for node in model.graph.node if values & {*node.input, *node.output}}),
            augmented_model_path=str(Path(folder) / "observed.onnx"),
            calibrate_method=kind,
            extra_options=options,
        )
        # One batch per reader: a calibrator holds everything of one reader in memory before it counts.
        # Its remarks would stand between the results on standard output.
        with redirect_stdout(io.StringIO()):
            for batch in _batches(feeds, len(next(iter(feeds.values())))):
                calibrator.collect_data(Reader(batch))
            found: Any = calibrator.compute_data()
    return {name: _pair(data.range_value) for name, data in found.items() if name in values}


def _onnxruntime_method(kinds: Any, method: Method) -> tuple[Any, dict[str, Any]]:
    if method == "minmax":
        return kinds.MinMax, {"symmetric": False}
    if method == "percentile":
        return kinds.Percentile, {"symmetric": False, "percentile": PERCENTILE}
    return kinds.Entropy, {"symmetric": False}


def _batches(feeds: Mapping[str, npt.NDArray[np.generic]], rows: int) -> Iterator[dict[str, npt.NDArray[np.generic]]]:
    for start in range(0, rows, BATCH):
        yield {name: array[start : start + BATCH] for name, array in feeds.items()}


def _pair(value: Any) -> tuple[float, float]:
    low, high = (float(np.asarray(bound).reshape(-1)[0]) for bound in value)
    return low, high
