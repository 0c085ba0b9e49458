"""What engines are built from: bundles made once from the demos' weights, and a corpus to judge them on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .steps import Absent, Collector, Settings

if TYPE_CHECKING:
    from affectrt.training.corpus import Corpus

__all__ = ["find_bundles", "make_bundles", "make_paper_bundles"]

SYSTEMS = ("rcma", "cav")
SEED = 4077  # of nobody in a corpus that the demos' weights were trained on
TRAIN, TEST = 3, 4
SECONDS = 12.0
WINDOWS = 48
PARITY_ROWS = 16
BENCH = Path("build/bench")


def find_bundles(work: Path, *, paper: bool) -> list[Path]:
    """Those that an earlier check made, or a demo; of the papers' size only if asked."""
    found = sorted((work / "bundles").glob("*.affect")) or sorted(Path("demo-out").glob("*.affect"))
    if paper:
        found += sorted(BENCH.glob("*/*-paper.affect"))
    return found


def make_bundles(found: Collector, settings: Settings) -> None:
    """Draw a small corpus, export both demos' weights, add FP16 and INT8 graphs for TensorRT; minutes on two cores.

    Absent where PyTorch, ONNX or GStreamer is missing: then they are brought from another machine.
    """
    for module in ("torch", "onnx", "onnxscript", "gi"):
        try:
            __import__(module)
        except ImportError as error:
            raise Absent(
                f"bundles need {error.name or module}; make them elsewhere: scripts/gpu-check.sh --fetch"
            ) from None
    from affectrt.training.corpus import Corpus
    from affectrt.training.synthetic import make_corpus

    work = Path(settings.work)
    make_corpus(work / "corpus", seed=SEED, train=TRAIN, validation=1, test=TEST, seconds=SECONDS, progress=False)
    corpus = Corpus.open(work / "corpus")
    (work / "bundles").mkdir(parents=True, exist_ok=True)
    for system in SYSTEMS:
        target = work / "bundles" / f"{system}-demo.affect"
        if not target.exists():
            _make(system, corpus, target)
        found.facts[f"bundle {system}-demo"] = "here"


def make_paper_bundles(found: Collector, settings: Settings) -> None:
    """Of the papers' size, with random weights, in FP32 and INT8: those of `make bench`."""
    try:
        from affectrt.cli.bench_bundles import prepare_bundles

        made = prepare_bundles(BENCH)
    except ImportError as error:
        raise Absent(f"bundles of the papers' size need {error.name}") from None
    found.facts["bundles of the papers' size"] = ", ".join(n for n in made.bundles if n.endswith("-paper"))


def _make(system: str, corpus: Corpus, target: Path) -> None:
    """It appears when it is whole."""
    import affectrt.models
    from affectrt.benchmarks.machine import machine_in_words
    from affectrt.calibration import Guard, calibrate_guarded
    from affectrt.cli.evidence import evaluation_set, known_media
    from affectrt.export import export_bundle
    from affectrt.models.checkpoint import load_checkpoint
    from affectrt.training.recordings import record_spans

    loaded = load_checkpoint(Path(affectrt.models.__path__[0]) / "weights" / f"{system}-demo.safetensors")
    media = _media(corpus)
    work = target.with_name(f".{target.name}.{os.getpid()}")
    work.mkdir()
    try:
        recordings = record_spans(loaded.model, media[:1], per_stage=PARITY_ROWS, seed=SEED)
        made = export_bundle(loaded, work / target.name, recordings=recordings, name=target.stem)
        judged = evaluation_set([corpus.root], [], seed=SEED)
        # Forced: a GPU's arithmetic is checked here, not whether a small corpus can prove a precision good enough.
        calibrate_guarded(
            made.path,
            known_media(media),
            judged.files,
            judged.judge_of,
            targets=("tensorrt",),
            guard=Guard(),
            windows=WINDOWS,
            seed=SEED,
            machine=machine_in_words(),
            force=True,
        )
        (work / target.name).rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _media(corpus: Corpus) -> Sequence[Path]:
    return sorted({video.media_path for video in corpus.videos("train")})
