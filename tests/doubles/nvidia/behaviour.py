"""What stands behind the facades of the simulated TensorRT: plain classes, named by the class they stand behind.

A member without code here raises NotSimulatedError when it is used: nothing is answered with a made-up value.
"""

from __future__ import annotations

import sys
import weakref
from types import ModuleType
from typing import Any, ClassVar

__all__ = ["BEHAVIOURS", "Behaviour", "NotSimulatedError", "complete_module"]

BEHAVIOURS: dict[str, type[Behaviour]] = {}


class NotSimulatedError(NotImplementedError):
    """The real API has it, the simulation does not: add it, with what it means."""


class Behaviour:
    """Strong references go from child to parent, as the bindings keep them alive; a facade dies with its last user."""

    stands_behind: ClassVar[str]

    def __init_subclass__(cls) -> None:
        BEHAVIOURS[cls.stands_behind] = cls

    def __init__(self, trt: ModuleType, logger: Any = None) -> None:
        self.trt: Any = trt
        self.logger = logger
        self._facade: weakref.ReferenceType[Any] | None = None

    def facade(self) -> Any:
        alive = self._facade() if self._facade else None
        if alive is None:
            alive = object.__new__(getattr(self.trt, self.stands_behind))
            alive._behind = self
            self._facade = weakref.ref(alive)
        return alive

    def log(self, severity: str, message: str) -> None:
        if self.logger is not None:
            self.logger.log(getattr(self.trt.ILogger.Severity, severity), message)

    def log_error(self, message: str) -> None:
        self.log("ERROR", message)


class Logger(Behaviour):
    """Writes to stderr what is at least as severe as asked for, as the real one."""

    stands_behind = "Logger"

    def __init__(self, trt: ModuleType, min_severity: Any = None) -> None:
        super().__init__(trt)
        self.min_severity = min_severity or trt.ILogger.Severity.WARNING  # type: ignore[attr-defined]

    def log(self, severity: Any, msg: str) -> None:  # type: ignore[override]
        if severity.value <= self.min_severity.value:
            print(f"[TRT] [{severity.name[0]}] {msg}", file=sys.stderr)


class Dims(Behaviour):
    stands_behind = "Dims"
    MAX_DIMS = 8

    def __init__(self, trt: ModuleType, shape: list[int] | None = None) -> None:
        super().__init__(trt)
        self.sizes = tuple(shape or ())

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, at: Any) -> Any:
        return self.sizes[at]

    def __eq__(self, other: object) -> bool:
        return self.sizes == tuple(other)  # type: ignore[arg-type]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.sizes)

    __str__ = __repr__


class HostMemory(Behaviour):
    """Bytes that the library owns; the facade lends them through the buffer protocol, and in no other way."""

    stands_behind = "IHostMemory"

    def __init__(self, trt: ModuleType, data: bytes) -> None:
        super().__init__(trt)
        self.data = data
        self.nbytes = len(data)
        self.dtype = trt.DataType.INT8  # type: ignore[attr-defined]

    def facade(self) -> Any:
        lent = bytes.__new__(self.trt.IHostMemory, self.data)
        lent._behind = self
        return lent


def complete_module(module: ModuleType, functions: list[str]) -> None:
    """The functions that the bindings write in Python, in our words."""
    import numpy as np
    from doubles.nvidia import building, network, running  # noqa: F401 - each puts its classes into BEHAVIOURS

    trt: Any = module
    same = {"FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64}
    same |= {"BOOL": np.bool_, "UINT8": np.uint8}
    bits = {"FLOAT": 32, "HALF": 16, "BF16": 16, "INT8": 8, "INT32": 32, "INT64": 64, "BOOL": 8, "UINT8": 8, "FP8": 8}

    def nptype(trt_type: Any) -> type:
        if trt_type.name not in same:
            raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
        return same[trt_type.name]

    def volume(iterable: Any) -> int:
        product = 1
        for size in iterable:
            product *= size
        return product

    trt.DataType.itemsize = property(lambda self: bits[self.name] // 8 if self.name in bits else None)
    trt.nptype, trt.volume = nptype, volume
    if "init_libnvinfer_plugins" in functions:
        trt.init_libnvinfer_plugins = lambda logger, namespace: True
