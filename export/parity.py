"""Does the graph compute what the module computes, on recorded inputs rather than on noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import TensorInfo
from affectrt.bundle.errors import ParityError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TOLERANCE", "Parity", "check_parity", "measure_parity"]

Array = npt.NDArray[np.generic]
# Two float32 programs that add in another order differ by about 1e-6 of the output's scale after 50 layers; a wrong
# padding, a missing fold or a swapped colour channel differs by 1e-2 and more.
TOLERANCE = 1e-4
BATCH = 16
BATCH_BYTES = 4 << 20  # of inputs: a clip of a few MB takes 100 MB and more while a network runs


@dataclass(frozen=True)
class Parity:
    """The largest difference over all rows; `scale` is the largest absolute value of the reference."""

    stage: str
    rows: int
    max_abs: float
    scale: float
    row: int
    element: tuple[int, ...]

    @property
    def relative(self) -> float:
        return self.max_abs / max(self.scale, 1e-6)


def measure_parity(
    stage: str,
    module: nn.Module,
    graph: bytes,
    inputs: Sequence[TensorInfo],
    output: TensorInfo,
    recordings: Mapping[str, Array],
    lengths: Sequence[int] = (),
) -> Parity:
    """Run PyTorch and ONNX Runtime on `recordings` (input name → array with a leading axis of rows).

    With `lengths` (the contract's for the stage) each row is computed in every length that holds it.
    """
    import onnxruntime as ort
    import torch

    rows = _check_recordings(stage, inputs, recordings)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    module.eval()
    max_abs, scale = -1.0, 0.0
    where: tuple[int, ...] = (0,)
    size = max(1, min(BATCH, BATCH_BYTES // sum(info.nbytes for info in inputs)))
    names = [info.name for info in inputs]
    for feeds, at in _batches(names, recordings, rows, size, lengths):
        found = session.run([output.name], feeds)[0]
        with torch.no_grad():
            wanted = module(*(torch.from_numpy(feeds[info.name]) for info in inputs)).numpy()
        if found.shape != wanted.shape:
            raise ParityError(f"stage {stage!r}: the graph gives {found.shape}, PyTorch gives {wanted.shape}")
        difference = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
        difference[~np.isfinite(difference)] = np.inf
        if difference.max() > max_abs:
            max_abs = float(difference.max())
            worst = np.unravel_index(int(difference.argmax()), difference.shape)
            where = (int(at[worst[0]]), *(int(i) for i in worst[1:]))
        scale = max(scale, float(np.abs(wanted).max()))
    return Parity(stage, rows, max_abs, scale, where[0], where[1:])


def _batches(
    names: Sequence[str], recordings: Mapping[str, Array], rows: int, size: int, lengths: Sequence[int]
) -> Iterator[tuple[dict[str, Array], npt.NDArray[np.intp]]]:
    """Feeds of at most `size` rows, and which rows they are; of sentences, those that each length holds, cut to it."""
    for length in lengths or (None,):
        fit = np.arange(rows)
        if length is not None:
            fit = np.flatnonzero(~np.any([recordings[name][:, length:].any(axis=1) for name in names], axis=0))
        for start in range(0, len(fit), size):
            at = fit[start : start + size]
            feeds = {name: recordings[name][at] for name in names}
            yield {name: np.ascontiguousarray(rows[:, :length] if length else rows) for name, rows in feeds.items()}, at


def check_parity(parity: Parity, tolerance: float = TOLERANCE) -> None:
    """Raises ParityError, which says where the two differ most, when they differ by more than `tolerance` of scale."""
    if parity.relative <= tolerance:
        return
    raise ParityError(
        f"stage {parity.stage!r}: the exported graph differs from PyTorch by {parity.max_abs:.3g} "
        f"({parity.relative:.3g} of the largest output) at row {parity.row} of {parity.rows}, "
        f"element {list(parity.element)}",
        expected=f"at most {tolerance:g} of the largest output, {parity.scale:.3g}",
        fix="the module does something that the exporter changes (in-place writes, branches on values): "
        "make its forward plain tensor code, then affectrt export it again",
    )


def _check_recordings(stage: str, inputs: Sequence[TensorInfo], recordings: Mapping[str, Array]) -> int:
    counts = set()
    for info in inputs:
        if info.name not in recordings:
            raise ParityError(f"there are no recordings of input {info.name!r} of stage {stage!r}")
        array = recordings[info.name]
        if array.dtype.name != info.dtype or array.shape[1:] != info.shape:
            raise ParityError(
                f"recordings of {info.name!r} of stage {stage!r} are {array.dtype.name} {array.shape[1:]}",
                expected=f"{info.dtype} {info.shape}",
            )
        counts.add(len(array))
    if len(counts) != 1 or 0 in counts:
        raise ParityError(f"recordings of stage {stage!r} have {sorted(counts)} rows", expected="one number, above 0")
    return counts.pop()
