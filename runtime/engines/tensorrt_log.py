"""What TensorRT writes into its log: the only place where it says why a call failed."""

from __future__ import annotations

from collections import deque
from functools import cache
from threading import get_ident
from typing import Any, NamedTuple

__all__ = ["LogLines", "tensorrt_log"]

_KEPT_LINES = 200


class LogLines:
    """The newest warnings and errors of TensorRT, told apart by thread. `logger` is what TensorRT takes."""

    def __init__(self) -> None:
        self.logger: Any = None
        self._lines: deque[_Line] = deque(maxlen=_KEPT_LINES)
        self._count = 0

    def add(self, text: str, error: bool = False) -> None:
        self._count += 1
        self._lines.append(_Line(self._count, get_ident(), text.strip(), error))

    def mark(self) -> int:
        """The present end, for `since`."""
        return self._count

    def since(self, mark: int) -> str:
        """What this thread's calls logged after `mark`, newest last, as one line; empty when there was nothing."""
        return "; ".join(line.text for line in self._lines if line.number > mark and line.thread == get_ident())

    def errors_since(self, mark: int) -> list[str]:
        """The errors that any thread logged after `mark`, each once: a builder has threads of its own."""
        return list(dict.fromkeys(line.text for line in self._lines if line.number > mark and line.error))


class _Line(NamedTuple):
    number: int
    thread: int
    text: str
    error: bool


@cache
def tensorrt_log() -> LogLines:
    """The log of this process. TensorRT keeps to the first logger it is given and ignores every other."""
    import tensorrt as trt

    lines = LogLines()
    severity_of = trt.ILogger.Severity
    kept = (severity_of.INTERNAL_ERROR, severity_of.ERROR, severity_of.WARNING)

    def start(self: Any) -> None:
        trt.ILogger.__init__(self)

    def log(_self: Any, severity: Any, text: str) -> None:
        if severity in kept:
            lines.add(text, error=severity != severity_of.WARNING)

    # Made by hand, because the base class is known only after the import.
    lines.logger = type("CollectingLogger", (trt.ILogger,), {"__init__": start, "log": log})()
    return lines
