"""An encoder of sentences at every length, in all precisions side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from time import perf_counter

import numpy as np

from affectrt.bundle.manifest import Precision
from affectrt.bundle.store import Bundle
from affectrt.runtime.engines import open_engine

from .peak import Peak
from .stages import StageResult, Work, row_of, stage_feeds
from .timing import Timing

__all__ = ["speed_ups", "time_sentences"]

MAX_ROUNDS = 1000
REFERENCE: Precision = "fp32"


def time_sentences(
    bundle: Bundle,
    stage: str,
    precisions: Sequence[Precision],
    *,
    batch: int = 1,
    threads: int | None = None,
    iterations: int = 15,
    duration_s: float = 3.0,
    peak: Peak | None = None,
    clock: Callable[[], float] = perf_counter,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[StageResult]:
    """`stage` on ONNX Runtime at each of its lengths, shortest first; with the error of its output against FP32's.

    The precisions take turns, each round beginning with another one, so that what disturbs the machine disturbs all of
    them: their quotients stay when their times do not. At least `iterations` rounds a length, and `duration_s`.
    """
    with ExitStack() as stack:
        engines = {
            precision: stack.enter_context(open_engine(bundle, stage, precision, "onnxruntime", threads))
            for precision in dict.fromkeys((REFERENCE, *precisions))
        }
        names = list(engines)
        for length in bundle.contract.lengths(stage):
            progress(f"{row_of(bundle.contract, stage, length)}, batch {batch}")
            feeds = stage_feeds(bundle, stage, batch, length=length)
            # The first call prepares; its answer is compared.
            answers = {
                name: np.asarray(engine.infer(feeds)["features"], np.float64) for name, engine in engines.items()
            }
            wanted = answers[REFERENCE]
            taken: dict[Precision, list[float]] = {name: [] for name in names}
            begin = clock()
            for number in range(MAX_ROUNDS):
                if number >= iterations and clock() - begin >= duration_s:
                    break
                first = number % len(names)
                for name in names[first:] + names[:first]:
                    start = clock()
                    engines[name].infer(feeds)
                    taken[name].append(clock() - start)
            work = None if peak is None else Work.of(bundle, stage, length)
            for name in names:
                yield StageResult(
                    bundle.manifest.name,
                    stage,
                    name,
                    str(engines[name].provenance["precision"]),
                    Timing(tuple(taken[name]), batch),
                    row_of(bundle.contract, stage, length),
                    work,
                    None if peak is None else peak.of(name),
                    length,
                    float(np.linalg.norm(answers[name] - wanted) / np.linalg.norm(wanted)),
                )


def speed_ups(results: Sequence[StageResult]) -> Iterator[str]:
    """A line for each length and batch: how many times as fast as FP32, the median over rounds."""
    for reference in (result for result in results if result.precision == REFERENCE):
        others = [
            result
            for result in results
            if result.precision != REFERENCE
            and (result.length, result.timing.rows) == (reference.length, reference.timing.rows)
        ]
        told = []
        for result in others:
            rounds = zip(reference.timing.seconds, result.timing.seconds, strict=True)
            told.append(f"{result.precision} {np.median([slow / fast for slow, fast in rounds]):.2f} ×")
        yield f"{reference.length} pieces, batch {reference.timing.rows}: {', '.join(told)} as fast as {REFERENCE}"
