"""The range of every value that may be quantised, computed once per stage and kept in the bundle."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Set
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

__all__ = ["BATCH", "METHODS", "Method", "Ranges", "compute_ranges"]

Method = Literal["minmax", "percentile", "entropy"]
METHODS: tuple[Method, ...] = ("minmax", "percentile", "entropy")
PERCENTILE = 99.995
# Histograms keep all activations of a batch at once: 2 rows of IR-50 are 60 MB, 2 clips of I3D 520.
BATCH = 2


@dataclass(frozen=True)
class Ranges:
    """Value name → (lowest, highest), as `method` saw it on `rows` recorded spans of `stage`."""

    stage: str
    method: Method
    rows: int
    seed: int
    tensors: Mapping[str, tuple[float, float]]

    def as_json(self) -> bytes:
        record = {
            "stage": self.stage,
            "method": self.method,
            "rows": self.rows,
            "seed": self.seed,
            "tensors": {name: list(self.tensors[name]) for name in sorted(self.tensors)},
        }
        return json.dumps(record, indent=1, allow_nan=False).encode() + b"\n"


def compute_ranges(
    stage: str,
    model: onnx.ModelProto,
    feeds: Mapping[str, npt.NDArray[np.generic]],
    values: Set[str],
    *,
    method: Method,
    seed: int = 0,
) -> Ranges:
    """Run `model` over `feeds` (input → rows) and observe `values`, a few rows at a time."""
    from onnxruntime.quantization import CalibrationMethod, create_calibrator
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, batch: Mapping[str, npt.NDArray[np.generic]]) -> None:
            self._left: list[Mapping[str, npt.NDArray[np.generic]]] = [batch]

        def get_next(self) -> Mapping[str, npt.NDArray[np.generic]] | None:
            return self._left.pop() if self._left else None

    kind, options = _onnxruntime_method(CalibrationMethod, method)
    rows = len(next(iter(feeds.values())))
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
            for batch in _batches(feeds, rows):
                calibrator.collect_data(Reader(batch))
            found: Any = calibrator.compute_data()
    tensors = {name: _pair(data.range_value) for name, data in found.items() if name in values}
    return Ranges(stage, method, rows, seed, tensors)


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
