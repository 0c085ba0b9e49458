"""From a recipe to a checkpoint: draw the corpus, train the encoders, then the fusion, then measure.

Two phases as in the papers: backbones that know their modality first, fusion on top of them second. The measured
figures are those of the runtime's own session on identities that nothing was chosen by.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import UsageError
from affectrt.models.cav import Cav
from affectrt.models.checkpoint import save_checkpoint
from affectrt.models.network import Network
from affectrt.models.rcma import Rcma
from affectrt.models.sizes import cav_demo_config, demo_config, text_demo_config

from .annotation import OUTPUTS, annotation_of_steps
from .corpus import Corpus, Split
from .encoder_phase import check_text, train_encoders
from .evaluate import Evaluation, Opened, evaluate, modality_sets
from .features import features_of
from .fit import Epoch, Task, fit
from .media import picture_times
from .places import check_file, check_folder
from .progress import Progress
from .recipe import CorpusRecipe, ModelName, Recipe, Schedule
from .recordings import record_video
from .synthetic.corpus import make_corpus
from .text import pieces_of_network
from .torch_engine import torch_engines
from .train_encoders import Example
from .train_fusion import Features, FusionTask
from .vocabulary import demo_vocabulary

__all__ = ["MODELS", "Trained", "columns_of", "corpus_sha256", "drawn_corpus", "train"]

# What a recipe's `model` means.
MODELS: Mapping[ModelName, Callable[[], Network]] = {
    "demo": lambda: Rcma(demo_config()),
    "cav-demo": lambda: Cav(cav_demo_config()),
    "text-demo": lambda: Rcma(text_demo_config(demo_vocabulary())),
}


@dataclass(frozen=True)
class Trained:
    """A finished training: where the weights are, and their scores with all modalities and with each alone."""

    checkpoint: Path
    evaluations: tuple[Evaluation, ...]


def train(
    recipe: Recipe,
    text: str,
    out: Path,
    *,
    work: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Trained:
    """Train the recipe (`text` is what its file says, for the record) and write the checkpoint to `out`.

    `work` keeps the drawn corpus, its spans and the training state, which `resume` goes on from; without it all of
    them live in a folder that is deleted at the end.
    """
    progress = progress or Progress(quiet=True)
    torch.set_num_threads(recipe.threads)
    with nullcontext(work) if work is not None else tempfile.TemporaryDirectory(prefix="affectrt-train-") as folder:
        check_folder(Path(folder), "--work")
        return _Training(recipe, text, Path(folder), resume, progress).run(out)


class _Training:
    def __init__(self, recipe: Recipe, text: str, work: Path, resume: bool, progress: Progress) -> None:
        self._recipe = recipe
        self._text = text
        self._work = work
        self._resume = resume
        self._progress = progress
        drawn = recipe.corpus
        self._corpus_name = (
            f"drawn corpus of {drawn.train}+{drawn.validation}+{drawn.test} identities, {drawn.seconds:g} s each, "
            f"{drawn.frame_px} px, seed {drawn.seed}{', spoken' if drawn.spoken else ''}"
        )

    def run(self, out: Path) -> Trained:
        check_file(out, "--out")
        corpus = drawn_corpus(self._recipe.corpus, self._work / "corpus", self._progress)  # with a bar of its own
        with self._progress:
            self._corpus_sha256 = corpus_sha256(corpus)
            told = f"{self._recipe.model_dump_json()}\n{self._corpus_sha256}"
            self._identity = hashlib.sha256(told.encode()).hexdigest()
            torch.manual_seed(self._recipe.seed)
            model = MODELS[self._recipe.model]()
            contract = Contract.model_validate(model.contract())
            _check_grid(self._recipe, contract)
            check_text(self._recipe, model)
            train = self._examples(corpus, contract, "train")
            validation = self._examples(corpus, contract, "validation")
            train_encoders(model, train, validation, self._recipe.encoders, self._recipe.seed, self._fit)
            contract = Contract.model_validate(model.contract())  # with the scale of the words' vectors
            self._train_fusion(model, contract, train, validation)
            evaluations = self._evaluate(model, contract, corpus)
            save_checkpoint(model, out, self._provenance(evaluations))
        return Trained(out, evaluations)

    def _examples(self, corpus: Corpus, contract: Contract, split: Split) -> list[Example]:
        """Every recording of a split with the crops' margin and its annotation on the contract's steps."""
        videos = corpus.videos(split)
        examples = []
        with self._progress.bar(f"reading {split}", len(videos)) as done:
            for video in videos:
                spans = record_video(contract, video.media_path, margin=True, cache=self._work / "spans")
                times = picture_times(video.media_path)
                truth = annotation_of_steps(video.truth, times, spans.steps, contract.step_hz)
                examples.append(Example(spans, truth[:, columns_of(contract)]))
                done()
        return examples

    def _train_fusion(
        self, model: Network, contract: Contract, train: Sequence[Example], validation: Sequence[Example]
    ) -> None:
        with self._progress.bar("encoding", len(train) + len(validation)) as done:

            def encoded(example: Example, mirrored: bool) -> Features:
                features = features_of(model, contract, example, self._recipe.fusion.grid_steps, mirrored=mirrored)
                done()
                return features

            learnt = [encoded(example, True) for example in train]
            scored = [encoded(example, False) for example in validation]
        task = FusionTask(model.fusion_modules(), contract, learnt, scored, self._recipe.fusion)
        self._fit(task, self._recipe.fusion, 9)

    def _fit(self, task: Task, schedule: Schedule, phase: int) -> None:
        with self._progress.bar(task.name, schedule.epochs * schedule.batches) as done:
            fit(
                task,
                schedule,
                (self._recipe.seed, phase),
                state=self._work / f"{task.name.replace(' ', '-')}.state.safetensors",
                identity=self._identity,
                resume=self._resume,
                batch_done=done,
                epoch_done=lambda epoch: self._progress.say(_told(task, schedule, epoch)),
            )

    def _evaluate(self, model: Network, contract: Contract, corpus: Corpus) -> tuple[Evaluation, ...]:
        opened = Opened(contract, torch_engines(model), "fp32", pieces_of_network(model))
        sets = modality_sets(contract)
        evaluations = []
        with self._progress.bar("testing", len(sets) * len(corpus.videos("test"))) as done:
            for modalities in sets:
                evaluation = evaluate(
                    opened,
                    corpus,
                    "test",
                    modalities=modalities,
                    corpus_name=self._corpus_name,
                    video_done=lambda score: done(),
                )
                evaluations.append(evaluation)
                figures = "  ".join(f"{name} {i.value:.3f}" for name, i in evaluation.ccc.items())
                self._progress.say(f"test, {'+'.join(modalities)}: {figures}  mean {evaluation.mean:.3f}")
        return tuple(evaluations)

    def _provenance(self, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
        """Nothing here changes from one run of the recipe to the next: no date, no duration, no machine."""
        recipe = self._recipe
        return {
            "recipe": recipe.name,
            "recipe_text": self._text,
            "training_corpus": self._corpus_name,
            "corpus_sha256": self._corpus_sha256,
            "seed": recipe.seed,
            "licence": recipe.licence,
            "intended_use": recipe.intended_use,
            "limits": recipe.limits,
            "versions": {"torch": str(torch.__version__), "numpy": np.__version__},
            "accuracy": [evaluation.as_accuracy().model_dump(mode="json") for evaluation in evaluations],
        }


def drawn_corpus(wanted: CorpusRecipe, root: Path, progress: Progress) -> Corpus:
    """A recipe's corpus, drawn unless `root` has it."""
    make_corpus(
        root,
        seed=wanted.seed,
        train=wanted.train,
        validation=wanted.validation,
        test=wanted.test,
        seconds=wanted.seconds,
        size_px=wanted.frame_px,
        spoken=wanted.spoken,
        progress=progress.visible,
    )
    return Corpus.open(root)


def corpus_sha256(corpus: Corpus) -> str:
    """SHA-256 over the names and hashes of all media and annotations, as the corpus's own record lists them."""
    clips = json.loads((corpus.root / "corpus.json").read_text(encoding="utf-8"))["clips"]
    lines = sorted(f"{digest}  {path}\n" for clip in clips for path, digest in clip["sha256"].items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _told(task: Task, schedule: Schedule, epoch: Epoch) -> str:
    scores = " ".join(f"{score:.3f}" for score in epoch.score)
    kept = "  best" if epoch.best else ""
    return f"{task.name} {epoch.number}/{schedule.epochs}: loss {epoch.loss:.3f}, validation CCC {scores}{kept}"


def _check_grid(recipe: Recipe, contract: Contract) -> None:
    fusion, grid = contract.fusion, recipe.fusion.grid_steps
    common = math.gcd(fusion.stride_steps, fusion.default_hop_steps)
    if common % grid:
        raise UsageError(
            f"fusion.grid_steps {grid} with a stride of {fusion.stride_steps} and a hop of {fusion.default_hop_steps}",
            expected=f"a number that divides {common}",
        )


def columns_of(contract: Contract) -> list[int]:
    """The annotation's columns (valence, arousal) in the order of the model's outputs."""
    return [OUTPUTS.index(output.name) for output in contract.outputs]
