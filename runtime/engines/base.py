"""The seam where hardware begins: a graph made executable on one device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Engine", "TensorSpec"]

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of an engine: NumPy dtype name and shape without the leading, dynamic batch axis.

    −1 in front: the tensors of a call have one length there, any of those that the contract gives for their stage.
    """

    dtype: str
    shape: tuple[int, ...]

    def sized(self, length: int | None) -> TensorSpec:
        """The tensor of a call of this length; the same one where `length` is None."""
        return self if length is None else TensorSpec(self.dtype, (length, *self.shape[1:]))


class Engine(Protocol):
    """One executable graph. Use in a `with` block and from one thread only."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]: ...

    @property
    def outputs(self) -> Mapping[str, TensorSpec]: ...

    @property
    def provenance(self) -> Mapping[str, str]:
        """Backend, its version, the device, the precision and the graph's hash."""
        ...

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Compute every output for a batch; each feed has a leading batch axis of one common size, and of a stage with
        several lengths a second one."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
