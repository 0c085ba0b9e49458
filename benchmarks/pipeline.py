"""The whole pipeline on a file against the bare engines: what everything that is not a network costs.

Three ways to the same estimates, timed in turn within one run, so that a machine that speeds up or slows down does so
for all of them: the engines alone on batches made beforehand, the session on media in memory, the pipeline on the file.
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from affectrt.bundle.contract import Contract
from affectrt.bundle.manifest import Asked
from affectrt.bundle.store import Bundle
from affectrt.runtime.engines import Array, Choice, Engine, open_engines
from affectrt.runtime.replay import feed
from affectrt.runtime.run import RunReport, run_bundle
from affectrt.runtime.scheduler import batch_rows, full_batches, stacked
from affectrt.runtime.session import Request, Session
from affectrt.runtime.sinks import open_sink
from affectrt.runtime.sources import AudioChunk, Event, Source, VideoChunk, open_source
from affectrt.runtime.sources.memory import MemorySource
from affectrt.runtime.words.choosing import takes_words, transcript_beside
from affectrt.runtime.words.pieces import Pieces, pieces_of
from affectrt.runtime.words.spoken import with_words
from affectrt.runtime.words.transcript import TranscriptFile

__all__ = ["Call", "PipelineResult", "compare_pipeline", "recorded_calls", "seconds_of_session"]


@dataclass(frozen=True, eq=False)
class Call:
    """One call of an engine: its stage and the batch that it is given."""

    stage: str
    feeds: Mapping[str, Array]


@dataclass(frozen=True)
class PipelineResult:
    """Wall clock of each repeat, in seconds. Opening (bundle, source, engines) is left out of all of them.

    `steps` are those of the media, of which every `hop_steps` the fusion ran.
    """

    model: str
    precision: str
    batch: int
    hop_steps: int
    media_s: float
    steps: int
    estimates: int
    bare: tuple[float, ...]
    session: tuple[float, ...]
    pipeline: tuple[float, ...]
    parts: Mapping[str, float]

    @property
    def ratio(self) -> float:
        """Pipeline over bare engines, the median over the repeats: each compares neighbours in time."""
        return statistics.median(p / b for p, b in zip(self.pipeline, self.bare, strict=True))

    @property
    def session_ratio(self) -> float:
        return statistics.median(s / b for s, b in zip(self.session, self.bare, strict=True))

    def times_real_time(self, seconds: Sequence[float]) -> float:
        return self.media_s / statistics.median(seconds)

    def as_record(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return {
            "model": self.model,
            "precision": self.precision,
            "batch": self.batch,
            "hop_steps": self.hop_steps,
            "media_s": self.media_s,
            "steps": self.steps,
            "estimates": self.estimates,
            "bare_s": list(self.bare),
            "session_s": list(self.session),
            "pipeline_s": list(self.pipeline),
            "pipeline_parts_s": dict(self.parts),
            "pipeline_over_bare": self.ratio,
            "session_over_bare": self.session_ratio,
            "times_real_time": self.times_real_time(self.pipeline),
        }


def compare_pipeline(
    bundle: Bundle,
    media: str | os.PathLike[str],
    precision: Asked = "fp32",
    *,
    batch: int = 8,
    repeats: int = 3,
    backend: str | Choice = "auto",
    cuda_graph: bool = True,
    threads: int | None = None,
) -> PipelineResult:
    """Time bare engines, session and pipeline in turn, `repeats` times after one call of each engine to warm up.

    Words are those of a transcript beside the media, if there is one; recognition is no part of what is compared.
    """
    contract = bundle.contract
    events = _events(open_source(media, contract))
    spoken = partial(_with_words, contract, media)
    calls = list(recorded_calls(contract, spoken(_in_memory(events)), batch, pieces_of(bundle)))
    run = partial(
        run_bundle,
        bundle,
        precision=precision,
        backend=backend,
        cuda_graph=cuda_graph,
        threads=threads,
        max_batch=batch,
    )
    bare: list[float] = []
    session: list[float] = []
    reports: list[RunReport] = []
    with ExitStack() as stack:
        engines = open_engines(bundle, precision, stack, backend, threads, cuda_graph=cuda_graph)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="affectrt-bench-")))
        _run_calls(engines, list({call.stage: call for call in calls}.values()))
        for repeat in range(repeats):
            bare.append(_timed(lambda: _run_calls(engines, calls)))
            report = run(spoken(_in_memory(events)))
            session.append(report.wall_s - report.seconds["open"])
            sink = open_sink(folder / f"{repeat}.jsonl")
            source = spoken(open_source(media, contract))
            reports.append(run(source, [sink]))
    walls = [r.wall_s - r.seconds["open"] for r in reports]
    typical = reports[int(np.argsort(walls)[len(walls) // 2])]
    # Whole steps: sound may end a few samples after the last picture.
    steps = math.floor(max(typical.outcome.decoded_s.values()) * contract.step_hz + 1e-3)
    return PipelineResult(
        model=bundle.manifest.name,
        precision=precision,
        batch=batch,
        hop_steps=contract.fusion.default_hop_steps,
        media_s=steps / contract.step_hz,
        steps=steps,
        estimates=typical.estimates,
        bare=tuple(bare),
        session=tuple(session),
        pipeline=tuple(walls),
        parts={part: s for part, s in typical.seconds.items() if part != "open"},
    )


def seconds_of_session(contract: Contract, source: Source) -> float:
    """Wall clock of session and alignment alone: every request is answered at once with zeros."""
    return _timed(lambda: list(_drive(contract, source, batch=8)))


def recorded_calls(contract: Contract, source: Source, batch: int, pieces: Pieces | None = None) -> Iterator[Call]:
    """The calls that a run makes, in its order: full batches of the encoders, the fusion when it is due."""
    for requests in _drive(contract, source, batch, pieces):
        yield Call(requests[0].stage, stacked(requests))


def _drive(contract: Contract, source: Source, batch: int, pieces: Pieces | None = None) -> Iterator[list[Request]]:
    """Play a source through a session and answer with zeros; yields each batch of requests of one stage."""
    zeros = {s: np.zeros(contract.stage_output(s).shape, np.float32) for s in contract.stages}
    with source:
        session = Session(contract, modalities=source.modalities, pieces=pieces, await_words=True)
        for event in (*source, None):
            if event is None:
                session.flush()
            else:
                feed(session, event)
            while requests := _due(session, batch, final=event is None):
                # Sentences of one length make a batch; of other stages all rows are as long.
                for stage, nbytes in dict.fromkeys(
                    (s, r.nbytes) for s in contract.stages for r in requests if r.stage == s
                ):
                    asked = [r for r in requests if (r.stage, r.nbytes) == (stage, nbytes)]
                    size = batch_rows(nbytes, batch)
                    for start in range(0, len(asked), size):
                        yield asked[start : start + size]
                session.resolve(requests, [zeros[r.stage] for r in requests])
            session.poll()


def _due(session: Session, batch: int, *, final: bool) -> list[Request]:
    pending = session.pending()
    return pending if final else full_batches(pending, session.contract, batch)


def _with_words(contract: Contract, media: str | os.PathLike[str], source: Source) -> Source:
    beside = transcript_beside(os.fspath(media)) if takes_words(contract) else None
    return source if beside is None else with_words(source, TranscriptFile(beside))


def _events(source: Source) -> list[Event]:
    with source:
        return list(source)


def _in_memory(events: Sequence[Event]) -> MemorySource:
    return MemorySource([e for e in events if isinstance(e, (VideoChunk, AudioChunk))])


def _run_calls(engines: Mapping[str, Engine], calls: Sequence[Call]) -> None:
    for call in calls:
        engines[call.stage].infer(call.feeds)


def _timed(action: Callable[[], object]) -> float:
    began = perf_counter()
    action()
    return perf_counter() - began
