"""What the GPU's numbers are worth in the end: CCC of whole recordings, beside FP32 on the CPU, paired by video."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from affectrt.bundle import open_bundle
from affectrt.runtime.engines import open_engines
from affectrt.runtime.engines.engine_cache import EngineCache
from affectrt.runtime.words.pieces import pieces_of

from .figures import Accuracy
from .steps import Absent, Collector, Settings

__all__ = ["check_accuracy"]

# What a plan may lose against FP32; the guard of `affectrt calibrate` chose it by the same rule.
LARGEST_LOSS = {"fp32": 0.002, "fp16": 0.01, "int8": 0.03, "int8-fp16": 0.03}


def check_accuracy(found: Collector, settings: Settings, *, bundle: str, backend: str) -> None:
    """Every precision of a bundle on the corpus of the check. Absent without a corpus, or without GStreamer."""
    from affectrt.training.corpus import Corpus
    from affectrt.training.judge import CorpusJudge

    corpus = Path(settings.work, "corpus") if settings.corpus is None else Path(settings.corpus)
    if settings.corpus is None and not corpus.is_dir():
        raise Absent("a corpus to judge on: --corpus FOLDER, or scripts/gpu-check.sh --fetch")
    try:
        import gi  # noqa: F401
    except ImportError as error:
        raise Absent(f"GStreamer's Python binding, which reads the recordings: {error}") from None
    opened, cache = open_bundle(bundle), EngineCache(Path(settings.work) / "engines")
    judge = CorpusJudge(Corpus.open(corpus), "test", opened.contract, pieces=pieces_of(opened))
    with ExitStack() as stack:
        wanted = judge.play(open_engines(opened, "fp32", stack, "onnxruntime"))
    for precision in opened.precisions():
        with ExitStack() as stack:
            played = judge.play(open_engines(opened, precision, stack, backend, cache=cache))
        compared = judge.compare(wanted, played)
        found.add(
            Accuracy(
                bundle=opened.manifest.name,
                asked=precision,
                backend=backend,
                corpus=judge.corpus,
                videos=judge.videos,
                reference={name: row.reference for name, row in compared.items()},
                ccc={name: row.candidate for name, row in compared.items()},
                loss={name: row.loss for name, row in compared.items()},
            )
        )
        found.problems += [
            f"{opened.manifest.name} {precision} loses {row.loss.value:.3f} of {name}"
            for name, row in compared.items()
            if row.loss.value > LARGEST_LOSS[precision]
        ]
