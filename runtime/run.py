"""The driver: source → session → scheduler → sinks, until the source ends or somebody stops it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from time import perf_counter

from affectrt.bundle.contract import Contract
from affectrt.bundle.manifest import Asked
from affectrt.bundle.store import Bundle, open_bundle

from .engines import Choice, open_engines
from .faces import FaceFinder
from .replay import feed, finds_faces
from .report import Progress, RunReport
from .scheduler import Scheduler, full_batches
from .session import Request, Session
from .sinks import Sink
from .sources import AudioChunk, Event, Source, StreamEnd, VideoChunk, WordsChunk
from .stream import is_live
from .words.pieces import pieces_of
from .words.spoken import transcriber_of
from .writer import Writer, header_of

__all__ = ["Progress", "RunReport", "Stop", "run_bundle"]


class Stop:
    """Asks a run to end. `request` may be called from a signal handler or from another thread."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._listener: Callable[[], None] | None = None

    @property
    def armed(self) -> bool:
        """Whether a run is reading and will answer to a request; before that, only an exception ends it."""
        return self._listener is not None

    def arm(self, listener: Callable[[], None]) -> None:
        self._listener = listener
        if self.reason is not None:
            listener()

    def request(self, reason: str) -> None:
        """The first reason counts."""
        self.reason = self.reason or reason
        if self._listener is not None:
            self._listener()


def run_bundle(
    bundle: Bundle | str | os.PathLike[str],
    source: Source,
    sinks: Sequence[Sink] = (),
    *,
    precision: Asked = "fp32",
    backend: str | Choice = "auto",
    cuda_graph: bool = True,
    hop_steps: int | None = None,
    threads: int | None = None,
    max_batch: int = 8,
    finder: FaceFinder | None = None,
    stop: Stop | None = None,
    progress: Progress | None = None,
) -> RunReport:
    """Estimate a whole source and hand every estimate to all sinks.

    Encoder requests wait until `max_batch` of a stage have gathered; at the end the rest is computed. The sinks are
    opened by the first media, so that a source without any leaves no file behind, and are closed in any case. When
    `stop` is requested the run ends at once: what was estimated is written, what was not is left out. Raises what
    the bundle, the source, the engines and the sinks raise.
    """
    began = perf_counter()
    stop = stop or Stop()
    with ExitStack() as stack:
        opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        stack.enter_context(source)
        session = Session(
            opened.contract,
            modalities=source.modalities,
            hop_steps=hop_steps,
            source=source.name,
            found_faces=finds_faces(finder),
            pieces=pieces_of(opened) if "text" in source.modalities else None,
            await_words=not is_live(source),
        )
        engines = open_engines(opened, precision, stack, backend, threads, cuda_graph=cuda_graph)
        header = header_of(
            opened,
            precision,
            engines,
            (source.name,),
            source.modalities,
            session.hop_steps,
            transcriber=transcriber_of([source]),
        )
        scheduler = Scheduler(opened.contract, engines, max_batch)
        writer = stack.enter_context(Writer(sinks, lambda: header, lambda: stop.request("reader gone")))
        drive = _Drive(opened.contract, session, scheduler, writer, finder)
        drive.seconds["open"] = perf_counter() - began
        stop.arm(source.stop)
        drive.read(source, stop, progress)
    return RunReport(
        source=source.name,
        estimates=writer.count,
        media_s=drive.media_s,
        hop_s=session.hop_steps / opened.contract.step_hz,
        wall_s=perf_counter() - began,
        seconds={**drive.seconds, **scheduler.seconds, "sink": writer.seconds},
        rows=dict(scheduler.rows),
        calls=dict(scheduler.calls),
        outcome=source.outcome,
        gaps=tuple(session.gaps),
        text=session.text_counters,
        precision=precision,
        backend=header.backend,
        engines={stage: dict(engine.provenance) for stage, engine in engines.items()},
        stopped_by=stop.reason or ("stop" if "stopped" in source.outcome.kinds else None),
        failed_sinks=tuple(writer.failures),
    )


class _Drive:
    """The loop over a source's events and its clocks."""

    def __init__(
        self,
        contract: Contract,
        session: Session,
        scheduler: Scheduler,
        writer: Writer,
        finder: FaceFinder | None,
    ) -> None:
        self._contract = contract
        self._session = session
        self._scheduler = scheduler
        self._writer = writer
        self._finder = finder
        self.media_s = 0.0
        self.seconds = {"open": 0.0, "decode": 0.0, "align": 0.0}

    def read(self, source: Source, stop: Stop, progress: Progress | None) -> None:
        """Everything from the first event to the last estimate."""
        events = iter(source)
        while stop.reason is None:
            began = perf_counter()
            event = next(events, None)
            self.seconds["decode"] += perf_counter() - began
            if event is None:
                break
            if not isinstance(event, (StreamEnd, WordsChunk)):
                self._writer.open()
            self._push(event)
            self._compute(final=False)
            if progress is not None:
                progress(self.media_s, source.duration_s)
        if stop.reason is None and "stopped" not in source.outcome.kinds:
            self._session.flush()
            self._compute(final=True)

    def _push(self, event: Event) -> None:
        began = perf_counter()
        feed(self._session, event, self._finder, self._writer.show if self._writer.wants_frames else None)
        if isinstance(event, VideoChunk):
            self.media_s = max(self.media_s, float(event.pts_s[-1]))
        elif isinstance(event, AudioChunk):
            self.media_s = max(self.media_s, event.pts_s)
        self.seconds["align"] += perf_counter() - began

    def _compute(self, *, final: bool) -> None:
        """Compute what is due and write what comes of it."""
        while requests := self._due(final=final):
            results = self._scheduler.infer(requests)
            began = perf_counter()
            self._session.resolve(requests, results)
            self.seconds["align"] += perf_counter() - began
        self._writer.write(self._session.poll())

    def _due(self, *, final: bool) -> list[Request]:
        """Of the encoders' requests full batches, oldest first, and of the fusion's all; at the end everything."""
        began = perf_counter()
        pending = self._session.pending()
        if not final:
            pending = full_batches(pending, self._contract, self._scheduler.max_batch)
        self.seconds["align"] += perf_counter() - began
        return pending
