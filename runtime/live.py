"""The loop over several streams, live or files: media as it comes, requests of all in common batches, estimates out."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import UsageError
from affectrt.bundle.manifest import Asked
from affectrt.bundle.store import Bundle, open_bundle

from .engines import Choice, open_engines
from .faces import FaceFinder
from .report import Progress, RunReport
from .run import Stop
from .scheduler import Scheduler, full_batches
from .session import Request
from .sinks import FrameSink, Sink
from .sinks.queued import QueuedSink
from .sources import Source
from .status import HealthFile, Pulse
from .stream import Stream, is_live
from .words.pieces import pieces_of
from .words.spoken import transcriber_of
from .writer import Writer, header_of

__all__ = ["run_streams"]

# How long to wait for media when none of the streams has any: an estimate may be that much older for it.
_WAIT_S = 0.01


def run_streams(
    bundle: Bundle | str | os.PathLike[str],
    sources: Sequence[Source],
    sinks: Sequence[Sink] = (),
    *,
    precision: Asked = "fp32",
    backend: str | Choice = "auto",
    cuda_graph: bool = True,
    hop_steps: int | None = None,
    threads: int | None = None,
    max_batch: int = 8,
    finders: Sequence[FaceFinder | None] | None = None,
    stop: Stop | None = None,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.monotonic,
    duration_s: float | None = None,
    stats: Callable[[dict[str, Any]], None] | None = None,
    health: HealthFile | None = None,
) -> list[RunReport]:
    """Estimate several sources at once until all have ended, `duration_s` is over, or `stop` is requested.

    One report a source, in order. Requests of all streams and tracks are computed together, `finders` are one a source.
    Of equal names of sources the later ones get a number. A source that fails ends its own stream (`failure` of its
    report); when it is the only one its error is raised. `duration_s` is wall clock from the first reading on for live
    sources and media time for files; at its end the streams end as if the media had. A stop ends at once, as in
    `run_bundle`. UsageError when a sink that draws is to draw several sources.

    **Behind.** A file is read in step with its computation. A live source drops its oldest media, here runs of the
    fusion that are late (look-ahead, a hop and 0.5 s) are skipped while a newer one of their track waits, and sinks
    take from bounded queues. So whatever the engines cost, memory does not grow, and at emission no estimate is older
    than look-ahead + 2 hops + the length of a chunk + 0.75 s + E + 2 F. E is what the encoders take for what a
    source queues at most (2 frames, of each face, and 1 s of sound), F what a batch of the fusion takes, of all streams
    together. Of a gap alone the last steps before it are told when it is known.
    """
    began = clock()
    stop = stop or Stop()
    if len(sources) > 1 and any(isinstance(sink, FrameSink) and sink.wants_frames for sink in sinks):
        raise UsageError("an overlay cannot show several sources", fix="give it one source, or run once for each")
    live = any(is_live(source) for source in sources)
    if live:
        sinks = [QueuedSink(sink) for sink in sinks]
    with ExitStack() as stack:
        opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        contract = opened.contract
        engines = open_engines(opened, precision, stack, backend, threads, cuda_graph=cuda_graph)
        pieces = pieces_of(opened)
        names = _distinct([source.name for source in sources])
        streams = [
            Stream(
                source,
                name,
                contract,
                clock,
                hop_steps=hop_steps,
                finder=finder,
                duration_s=duration_s,
                pieces=pieces,
            )
            for source, name, finder in zip(sources, names, finders or [None] * len(sources), strict=True)
        ]
        hop = contract.fusion.default_hop_steps if hop_steps is None else hop_steps

        def header() -> Any:
            seen = sources[0].modalities if len(sources) == 1 else contract.modalities
            words = transcriber_of(sources)
            return header_of(opened, precision, engines, names, seen, hop, live=live, transcriber=words)

        scheduler = Scheduler(contract, engines, max_batch)
        writer = stack.enter_context(Writer(sinks, header, lambda: stop.request("reader gone")))
        pulse = Pulse(streams, sinks, writer, clock, stats=stats, health=health)
        for stream in streams:
            stack.callback(stream.close)
        open_s = clock() - began
        stop.arm(lambda: _stop(streams))
        try:
            _Loop(contract, streams, scheduler, writer, pulse, clock).run(stop, progress)
        except BaseException:
            pulse.end("failed")
            raise
        failed = all(stream.failure is not None for stream in streams)
        pulse.end("stopped" if stop.reason else "failed" if failed else "ended")
    if len(streams) == 1 and streams[0].failure is not None:
        raise streams[0].failure
    return [
        RunReport(
            source=stream.name,
            estimates=stream.estimates,
            media_s=stream.media_s,
            hop_s=hop / contract.step_hz,
            wall_s=clock() - began,
            seconds={"open": open_s, **scheduler.seconds, "sink": writer.seconds},
            rows=dict(scheduler.rows),
            calls=dict(scheduler.calls),
            outcome=stream.outcome(),
            gaps=tuple(stream.session.gaps) if stream.session is not None else (),
            precision=precision,
            backend="+".join(sorted({engine.provenance["backend"] for engine in engines.values()})),
            engines={stage: dict(engine.provenance) for stage, engine in engines.items()},
            stopped_by=stop.reason,
            failed_sinks=tuple(writer.failures),
            failure=stream.failure.found if stream.failure is not None else None,
            gap_count=stream.session.gap_count if stream.session is not None else 0,
            skipped_steps=stream.session.skipped_steps if stream.session is not None else 0,
            counters=dict(stream.counters()),
            ages_ms=stream.ages_ms(),
            text=stream.session.text_counters if stream.session is not None else {},
        )
        for stream in streams
    ]


class _Loop:
    """Turns: read every stream, compute what is due, hand out estimates."""

    def __init__(
        self,
        contract: Contract,
        streams: Sequence[Stream],
        scheduler: Scheduler,
        writer: Writer,
        pulse: Pulse,
        clock: Callable[[], float],
    ) -> None:
        self._contract = contract
        self._streams = streams
        self._scheduler = scheduler
        self._writer = writer
        self._pulse = pulse
        self._clock = clock
        self._turn = 0

    def run(self, stop: Stop, progress: Progress | None) -> None:
        for stream in self._streams:
            stream.open()
        while stop.reason is None and (going := [s for s in self._streams if s.state in ("opening", "running")]):
            came = [stream.read(self._writer) for stream in going]
            if not any(came):
                self._wait()
            self._compute(stop)
            self._pulse.beat()
            if progress is not None:
                first = self._streams[0].source.duration_s if len(self._streams) == 1 else None
                progress(max(stream.media_s for stream in self._streams), first)

    def _wait(self) -> None:
        """Wait at one of the live streams, another one each time."""
        live = [stream for stream in self._streams if stream.live and stream.state == "running"]
        self._turn += 1
        if live:
            live[self._turn % len(live)].read(self._writer, _WAIT_S)
        elif any(stream.state == "opening" for stream in self._streams):
            time.sleep(_WAIT_S)

    def _compute(self, stop: Stop) -> None:
        """Compute what is due, and hand out what comes of it at once: it grows older."""
        while stop.reason is None and (due := self._due()):
            results = self._scheduler.infer([request for _, request in due])
            answers: dict[Stream, tuple[list[Request], list[Any]]] = defaultdict(lambda: ([], []))
            for (stream, request), result in zip(due, results, strict=True):
                answers[stream][0].append(request)
                answers[stream][1].append(result)
            for stream, (requests, rows) in answers.items():
                assert stream.session is not None
                stream.session.resolve(requests, rows)
            self._write()
            self._pulse.beat()
        self._write()

    def _write(self) -> None:
        for stream in self._streams:
            self._writer.write(stream.poll())

    def _due(self) -> list[tuple[Stream, Request]]:
        """Of running files full batches. Of the others all encoders' requests, else a batch of the fusion's.

        A batch alone, because while it is computed others may become late.
        """
        owners: dict[Request, Stream] = {}
        encoding: list[Request] = []
        fusing: list[Request] = []
        files: list[Request] = []
        for stream in self._streams:
            for request in stream.pending():
                owners[request] = stream
                if not stream.live and stream.state == "running":
                    files.append(request)
                else:
                    (encoding if request.stage in self._contract.encoder_stages else fusing).append(request)
        batch = self._scheduler.max_batch * len(self._contract.fusion.stages)
        due = [*full_batches(files, self._contract, self._scheduler.max_batch), *(encoding or fusing[:batch])]
        return [(owners[request], request) for request in due]


def _stop(streams: Sequence[Stream]) -> None:
    for stream in streams:
        stream.source.stop()


def _distinct(names: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return distinct
