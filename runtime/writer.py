"""Hands what a run makes to all of its sinks, and keeps the run going when one of them fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from time import perf_counter
from types import TracebackType

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import AffectError, EngineError, UsageError
from affectrt.bundle.store import Bundle

from .engines import Engine
from .estimate import Estimate
from .faces import Face, Frame
from .sinks import FrameSink, Header, ReaderGone, Sink

__all__ = ["Writer", "header_of", "look_ahead_s"]

_log = logging.getLogger(__name__)


class Writer:
    """Opens sinks with the first media and writes to all of them; use in a `with` block, which closes them.

    A sink whose reader has gone is left out; when it was the last one `nobody_reads` is called. A sink that fails is
    closed, told of once and left out, its sentence in `failures`; when it was the last one its error is raised at once.
    What a person did wrong (UsageError) and a result that no sink may carry (EngineError) are always raised.
    """

    def __init__(
        self, sinks: Sequence[Sink], header: Callable[[], Header], nobody_reads: Callable[[], None] | None = None
    ) -> None:
        self._sinks = list(sinks)
        self._header = header
        self._nobody_reads = nobody_reads
        self._entered: list[Sink] = []
        self._opened = False
        self.failures: list[str] = []
        self.count = 0
        self.seconds = 0.0

    @property
    def wants_frames(self) -> bool:
        """Whether some sink draws on the frames themselves."""
        return any(isinstance(sink, FrameSink) and sink.wants_frames for sink in self._sinks)

    def open(self) -> None:
        """Open all sinks with the header; further calls do nothing."""
        if self._opened:
            return
        self._opened = True
        header = self._header()

        def open_one(sink: Sink) -> None:
            sink.__enter__()
            self._entered.append(sink)
            sink.open(header)

        self._each(open_one)

    def write(self, estimates: Sequence[Estimate]) -> None:
        if estimates:
            self.count += len(estimates)
            self._each(lambda sink: sink.write(estimates))

    def show(self, frame: Frame, pts_s: float, faces: Sequence[Face]) -> None:
        """Hand a frame and the faces in it to the sinks that draw."""

        def show_one(sink: Sink) -> None:
            if isinstance(sink, FrameSink) and sink.wants_frames:
                sink.show(frame, pts_s, faces)

        self._each(show_one)

    def _each(self, act: Callable[[Sink], None]) -> None:
        began = perf_counter()
        for sink in tuple(self._sinks):
            try:
                act(sink)
            except ReaderGone:
                self._sinks.remove(sink)
                if not self._sinks and self._nobody_reads is not None:
                    self._nobody_reads()
            except (UsageError, EngineError):
                raise
            except AffectError as error:
                self._sinks.remove(sink)
                if not self._sinks:
                    raise
                self._leave_out(sink, error)
        self.seconds += perf_counter() - began

    def _leave_out(self, sink: Sink, error: AffectError) -> None:
        self.failures.append(error.found)
        _log.warning("%s; the run goes on for the other sinks", error.found)
        if sink in self._entered:
            self._entered.remove(sink)
            try:
                sink.__exit__(type(error), error, error.__traceback__)
            except AffectError:
                _log.debug("%s could not be closed after it had failed", sink.name)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        several = len(self._entered) > 1
        failed: AffectError | None = None
        while self._entered:
            sink = self._entered.pop()
            try:
                sink.__exit__(kind, error, trace)
            except AffectError as at_close:
                self.failures.append(at_close.found)
                failed = failed or at_close
                if several or error is not None:
                    _log.warning("%s", at_close.found)
        if failed is not None and error is None and not several:
            raise failed


def look_ahead_s(contract: Contract) -> float:
    """How much media after a step an estimate of it needs: sound that a span which starts at the step looks at."""
    audio = contract.audio
    return audio.span_samples / audio.sample_rate_hz if audio is not None and audio.anchor == "start" else 0.0


def header_of(
    bundle: Bundle,
    precision: str,
    engines: Mapping[str, Engine],
    sources: Sequence[str],
    modalities: Collection[str],
    hop_steps: int,
    *,
    live: bool = False,
    transcriber: str | None = None,
) -> Header:
    """The header of a run; `modalities` are those of the source, or of several sources all."""
    contract = bundle.contract
    return Header(
        bundle=bundle.manifest.name,
        bundle_sha256=bundle.fingerprint,
        precision=precision,
        backend="+".join(sorted({engine.provenance["backend"] for engine in engines.values()})),
        source=", ".join(sources),
        step_hz=contract.step_hz,
        hop_steps=hop_steps,
        described_steps=contract.described_steps,
        modalities=tuple(name for name in contract.modalities if name in modalities),
        outputs=tuple(output.model_dump() for output in contract.outputs),
        look_ahead_s=look_ahead_s(contract),
        live=live,
        sources=tuple(sources),
        transcriber=transcriber,
    )
