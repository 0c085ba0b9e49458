"""How well a model does on a corpus, through the runtime's own source, session and scheduler."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from affectrt.bundle import open_bundle
from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import UsageError
from affectrt.bundle.manifest import Accuracy, Asked, Interval
from affectrt.runtime import Scheduler
from affectrt.runtime.engines.base import Engine
from affectrt.runtime.engines.opening import open_engines
from affectrt.runtime.words.pieces import Pieces, pieces_of

from .annotation import OUTPUTS
from .corpus import Corpus, CorpusVideo, Split
from .media import picture_times
from .metrics import bootstrap_ci_over_videos, ccc
from .play import MAX_BATCH, Rows, beside_truth, corpus_in_words, output_names, play

__all__ = [
    "Evaluation",
    "Opened",
    "VideoScore",
    "evaluate",
    "modality_sets",
    "open_model",
]


@dataclass(frozen=True)
class VideoScore:
    """CCC of one video per dimension; `rows` annotated rows, of which `estimated` met an estimate.

    A row is a picture; of a model whose estimates are means over windows it is an estimate, the first ones, of a stream
    younger than the window, included.
    """

    name: str
    identity: str | None
    rows: int
    estimated: int
    ccc: Mapping[str, float]


@dataclass(frozen=True)
class Evaluation:
    """CCC per dimension over the concatenation of all videos, with 95 % intervals from resampling videos.

    `described_steps` > 1: every estimate was compared with the mean of the annotation over so many steps up to its own.
    Such figures cannot be compared with those of single pictures.
    """

    corpus: str
    split: str
    modalities: tuple[str, ...]
    hop_steps: int
    described_steps: int
    precision: str
    backend: str
    ccc: Mapping[str, Interval]
    videos: tuple[VideoScore, ...]

    @property
    def mean(self) -> float:
        """Mean CCC of the dimensions."""
        return float(np.mean([interval.value for interval in self.ccc.values()]))

    def as_accuracy(self) -> Accuracy:
        """In the form that a bundle's manifest keeps."""
        return Accuracy(
            precision=self.precision,
            backend=self.backend,
            corpus=corpus_in_words(self.corpus, self.split, self.modalities, self.described_steps),
            videos=len(self.videos),
            ccc={name: self.ccc[name] for name in OUTPUTS if name in self.ccc},
        )


@dataclass(frozen=True)
class Opened:
    """A model ready to be evaluated: its contract, one engine per stage, and the word pieces of one that reads text."""

    contract: Contract
    engines: Mapping[str, Engine]
    precision: str
    pieces: Pieces | None = None


@contextmanager
def open_model(path: Path, precision: Asked = "fp32", threads: int | None = None) -> Iterator[Opened]:
    """A bundle's engines (a folder) or a checkpoint's (a .safetensors file, FP32 in torch).

    UsageError when a checkpoint is asked for a precision it does not have.
    """
    with ExitStack() as stack:
        if path.suffix != ".safetensors":
            bundle = open_bundle(path)
            engines = open_engines(bundle, precision, stack, threads=threads)
            yield Opened(bundle.contract, engines, precision, pieces_of(bundle))
            return
        if precision != "fp32":
            raise UsageError(
                f"precision {precision} of a checkpoint",
                expected="fp32: a checkpoint has no other",
                fix="affectrt export the checkpoint and evaluate the bundle",
            )
        import torch

        from affectrt.models.checkpoint import load_checkpoint

        from .text import pieces_of_network
        from .torch_engine import torch_engines

        if threads is not None:
            torch.set_num_threads(threads)
        loaded = load_checkpoint(path)
        engines = torch_engines(loaded.model, provenance={"checkpoint_sha256": loaded.sha256})
        contract = Contract.model_validate(loaded.model.contract())
        yield Opened(contract, engines, precision, pieces_of_network(loaded.model))


def evaluate(
    opened: Opened,
    corpus: Corpus,
    split: Split = "test",
    *,
    modalities: Collection[str] | None = None,
    corpus_name: str | None = None,
    hop_steps: int | None = None,
    max_batch: int = MAX_BATCH,
    seed: int = 0,
    video_done: Callable[[VideoScore], None] = lambda score: None,
) -> Evaluation:
    """Play every video of a split and compare its estimates with its annotation, row by row as `beside_truth` has them.

    `modalities` leaves all others out at the source, for the scores of single modalities.
    """
    contract = opened.contract
    wanted = tuple(m for m in contract.modalities if modalities is None or m in modalities)
    if not wanted:
        raise UsageError(
            f"modalities {', '.join(modalities or ())}", expected=f"some of {', '.join(contract.modalities)}"
        )
    scheduler = Scheduler(contract, opened.engines, max_batch)
    names = output_names(contract)
    estimated, true, scores = [], [], []
    for video in corpus.videos(split):
        estimates = play(
            contract,
            video.media_path,
            scheduler.infer,
            pieces=opened.pieces,
            modalities=wanted,
            hop_steps=hop_steps,
            gather=max_batch,
        )
        rows, truth = beside_truth(contract, video, picture_times(video.media_path), estimates)
        score = _score(video, names, rows, truth)
        estimated.append(rows)
        true.append(truth)
        scores.append(score)
        video_done(score)
    engine = next(iter(opened.engines.values()))
    return Evaluation(
        corpus=corpus_name or corpus.root.resolve().name,
        split=split,
        modalities=wanted,
        hop_steps=contract.fusion.default_hop_steps if hop_steps is None else hop_steps,
        described_steps=contract.described_steps,
        precision=opened.precision,
        backend=engine.provenance["backend"],
        ccc={
            name: bootstrap_ci_over_videos([x[:, d] for x in estimated], [y[:, d] for y in true], seed=seed)
            for d, name in enumerate(names)
        },
        videos=tuple(scores),
    )


def modality_sets(contract: Contract) -> tuple[tuple[str, ...], ...]:
    """All modalities together; where there are several, each alone; of three, then the pairs."""
    every = tuple(contract.modalities)
    sizes = {1: (1,), 2: (2, 1), 3: (3, 1, 2)}[len(every)]
    return tuple(chosen for size in sizes for chosen in combinations(every, size))


def _score(video: CorpusVideo, names: Sequence[str], estimated: Rows, truth: Rows) -> VideoScore:
    annotated = ~np.isnan(truth).any(axis=1)
    return VideoScore(
        name=video.name,
        identity=video.identity,
        rows=int(annotated.sum()),
        estimated=int((annotated & ~np.isnan(estimated).any(axis=1)).sum()),
        ccc={name: ccc(estimated[:, d], truth[:, d]) for d, name in enumerate(names)},
    )
