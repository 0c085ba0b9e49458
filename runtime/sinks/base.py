"""What takes estimates: told of the run once, then given estimates in order, then closed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from affectrt.bundle.errors import EngineError

from ..estimate import Estimate
from ..faces import Face, Frame

__all__ = ["SCHEMA", "SCHEMA_VERSION", "FrameSink", "Header", "ReaderGone", "Sink", "rounded_record"]

SCHEMA = "affectrt-estimates"
# Changes when a field goes or means something else. New fields may come without: readers leave out what they do not
# know. A run without text writes no field of text.
SCHEMA_VERSION = 1
# Finer than any model resolves and than any clock of ours ticks; coarser than the noise of float32.
DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Header:
    """The facts of a run that every record of it shares.

    An estimate describes the last `described_steps` steps up to its own: that one alone, or all that its window was
    made of. `outputs` are the contract's, as plain data: name, range and neutral point of each. `look_ahead_s` is how
    much media after its step an estimate needs; `live` sources do not wait for a slow sink.
    `sources` are the names that the estimates' `source` tells apart, `source` has all of them in one text; of several
    sources the `modalities` are the model's. `transcriber`: whose words are taken.
    """

    bundle: str
    bundle_sha256: str
    precision: str
    backend: str
    source: str
    step_hz: float
    hop_steps: int
    described_steps: int
    modalities: tuple[str, ...]
    outputs: tuple[dict[str, Any], ...]
    look_ahead_s: float = 0.0
    live: bool = False
    sources: tuple[str, ...] = ()
    transcriber: str | None = None

    def as_record(self) -> dict[str, Any]:
        """The header as plain data, schema name and version first; `transcriber` where words were asked for."""
        record = asdict(self)
        if self.transcriber is None:
            del record["transcriber"]
        return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **record}


class ReaderGone(Exception):  # noqa: N818 - an end, not an error
    """The reader at the other end has gone. Nobody's fault, and nothing more can be written there."""


class Sink(Protocol):
    """Open, write as often as there is something, close; the `with` block closes.

    `write` raises ReaderGone when nobody reads any more. What was written stays readable whatever happens next.
    """

    @property
    def name(self) -> str: ...

    def open(self, header: Header) -> None: ...

    def write(self, estimates: Sequence[Estimate]) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> Sink: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class FrameSink(Sink, Protocol):
    """A sink that also takes frames, each before the estimates that come of it."""

    @property
    def wants_frames(self) -> bool: ...

    @property
    def left_out(self) -> int:
        """Frames that it was given and did not take: too late, or more than it can keep up with."""
        ...

    def show(self, frame: Frame, pts_s: float, faces: Sequence[Face] | None = None) -> None: ...


def rounded_record(estimate: Estimate, header: Header) -> dict[str, Any]:
    """The estimate's record with numbers rounded to 6 decimals. EngineError for one that is not a number."""
    record = estimate.as_record()
    if "text" not in header.modalities:
        del record["quality"]["words_until_s"]
    return {name: _rounded(value, name, estimate.t_s) for name, value in record.items()}


def _rounded(value: Any, name: str, t_s: float) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner, f"{name}.{key}", t_s) for key, inner in value.items()}
    if isinstance(value, float):
        if not math.isfinite(value):
            raise EngineError(
                f"{name} is {value} at {t_s} s, which no sink may carry",
                expected="finite numbers",
                fix="affectrt verify BUNDLE, or run it with --precision fp32",
            )
        return round(value, DECIMALS)
    return value
