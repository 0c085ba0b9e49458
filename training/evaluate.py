"""How well a model does on a corpus: through the runtime's own source, session and scheduler, or in offline windows."""

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
from affectrt.bundle.manifest import Asked
from affectrt.runtime import Scheduler
from affectrt.runtime.engines.base import Engine
from affectrt.runtime.engines.opening import open_engines
from affectrt.runtime.words.pieces import Pieces, pieces_of

from .corpus import Corpus, Split
from .evaluation import Evaluation, Examination, Played, VideoScore, Windows
from .examined import Examined, examined_videos
from .metrics import METRICS, Series, bootstrap_ci_over_videos, ccc_author_cav, ccc_author_rcma
from .offline import StepFeatures, estimates_of, grid_of
from .play import MAX_BATCH, Rows, by_step, output_names
from .prepared import PreparedCorpus

__all__ = [
    "Evaluation",
    "Opened",
    "VideoScore",
    "evaluate",
    "examine",
    "modality_sets",
    "open_model",
]

AUTHOR_METRICS = {"ccc_author_rcma": ccc_author_rcma, "ccc_author_cav": ccc_author_cav}


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
    corpus: Corpus | PreparedCorpus,
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
    (examined,) = examine(
        opened,
        corpus,
        split,
        sets=(wanted,),
        corpus_name=corpus_name,
        hop_steps=hop_steps,
        max_batch=max_batch,
        seed=seed,
        video_done=video_done,
    )
    return examined.evaluation


def examine(
    opened: Opened,
    corpus: Corpus | PreparedCorpus,
    split: Split = "test",
    *,
    sets: Sequence[tuple[str, ...]],
    windows: Sequence[Windows] = ("stream",),
    corpus_name: str | None = None,
    hop_steps: int | None = None,
    max_batch: int = MAX_BATCH,
    seed: int = 0,
    unlabelled: bool = False,
    as_far_as_possible: bool = False,
    video_done: Callable[[VideoScore], None] = lambda score: None,
) -> list[Examination]:
    """Every set of modalities under every rule of windows, the sets of the first rule first.

    A stream is played anew for each set; offline, features are computed once for all, and with a stream beside them
    their windows end where its media does. Raises UsageError where nothing is annotated, unless `unlabelled`.
    With `as_far_as_possible`, sets of which a corpus gives no estimate, such as words alone where none were said, are
    left out, unless all are.
    """
    contract = opened.contract
    infer = Scheduler(contract, opened.engines, max_batch).infer
    hop = contract.fusion.default_hop_steps if hop_steps is None else hop_steps
    names = output_names(contract)
    videos = examined_videos(contract, corpus, split)
    played: dict[tuple[Windows, tuple[str, ...]], list[Played]] = {(w, s): [] for w in windows for s in sets}
    scores: dict[tuple[Windows, tuple[str, ...]], list[VideoScore]] = {key: [] for key in played}
    for video in videos:
        features: dict[int, StepFeatures] = {}
        ends: dict[tuple[str, ...], int] = {}
        for (rule, chosen), of_key in played.items():
            if rule == "stream":
                dense = by_step(contract, video.stream(infer, opened.pieces, chosen, hop_steps))
                ends[chosen] = len(dense)
            else:
                grid = grid_of(contract, rule, hop)
                if grid not in features:
                    features[grid] = video.features(infer, opened.pieces, grid)
                until = ends.get(chosen) if contract.fusion.output == "per_step" else None
                dense = estimates_of(
                    contract, infer, features[grid], rule, modalities=chosen, hop_steps=hop, until=until
                )
            rows, truth = video.beside(dense)
            score = _score(video, names, rows, truth)
            times = video.row_times_s(dense)
            of_key.append(Played(video.name, dense, rows, truth, times, video.picture_steps()))
            scores[rule, chosen].append(score)
            video_done(score)
    if as_far_as_possible:
        silent = {chosen for (_, chosen), of_key in scores.items() if not any(score.estimated for score in of_key)}
        played = {key: of_key for key, of_key in played.items() if key[1] not in silent or len(silent) == len(sets)}
    engine = next(iter(opened.engines.values()))
    found = []
    for (rule, chosen), of_videos in played.items():
        bare = unlabelled and not any(score.rows for score in scores[rule, chosen])
        pairs: dict[str, tuple[list[Series], list[Series]]] = {
            name: ([p.rows[:, d] for p in of_videos], [p.truth[:, d] for p in of_videos])
            for d, name in enumerate(() if bare else names)
        }
        intervals = {
            metric: {name: bootstrap_ci_over_videos(*pair, seed=seed, metric=metric) for name, pair in pairs.items()}
            for metric in METRICS
        }
        evaluation = Evaluation(
            corpus=corpus_name or corpus.name,
            split=split,
            modalities=chosen,
            hop_steps=hop,
            described_steps=contract.described_steps,
            precision=opened.precision,
            backend=engine.provenance["backend"],
            ccc=intervals["ccc"],
            videos=tuple(scores[rule, chosen]),
            windows=rule,
            rmse=intervals["rmse"],
            pearson=intervals["pearson"],
            author={
                label: {name: metric(np.concatenate(x), np.concatenate(y)) for name, (x, y) in pairs.items()}
                for label, metric in AUTHOR_METRICS.items()
            },
        )
        found.append(Examination(evaluation, tuple(of_videos)))
    return found


def modality_sets(contract: Contract) -> tuple[tuple[str, ...], ...]:
    """All modalities together; where there are several, each alone; of three, then the pairs."""
    every = tuple(contract.modalities)
    sizes = {1: (1,), 2: (2, 1), 3: (3, 1, 2)}[len(every)]
    return tuple(chosen for size in sizes for chosen in combinations(every, size))


def _score(video: Examined, names: Sequence[str], estimated: Rows, truth: Rows) -> VideoScore:
    annotated = ~np.isnan(truth).any(axis=1)
    found = {
        label: {name: metric(estimated[:, d], truth[:, d]) for d, name in enumerate(names)}
        for label, metric in METRICS.items()
    }
    return VideoScore(
        name=video.name,
        identity=video.subject,
        rows=int(annotated.sum()),
        estimated=int((annotated & ~np.isnan(estimated).any(axis=1)).sum()),
        ccc=found["ccc"],
        rmse=found["rmse"],
        pearson=found["pearson"],
    )
