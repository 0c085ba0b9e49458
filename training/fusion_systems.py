"""What all runs of a table share: a demo's frozen encoders, its corpus drawn and encoded, and the schedule."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

import affectrt.models
from affectrt.bundle.contract import Contract
from affectrt.models.checkpoint import LoadedCheckpoint, load_checkpoint

from .corpus import Corpus, Split
from .fusion_features import SPLITS, encode_corpus
from .fusion_options import Option, SystemName
from .fusion_results import Result, SystemTable
from .fusion_runs import Run
from .progress import Progress
from .recipe import CorpusRecipe, FusionRecipe, read_recipe
from .train import corpus_sha256, drawn_corpus

__all__ = ["Settings", "System", "encoded_systems"]

FORMAT = 1  # raise it with every change of the code that makes other figures from the same settings

# Recipe and weights of each demo, and where its fusion is trained less than in the recipe: half an hour for everything.
DEMOS: Mapping[SystemName, tuple[str, str, Mapping[str, float]]] = {
    "rcma": ("rcma-demo.toml", "rcma-demo.safetensors", {"epochs": 6, "batches": 30, "learning_rate": 1e-3}),
    "cav": ("cav-demo.toml", "cav-demo.safetensors", {}),
    "rcma-text": (
        "rcma-text-demo.toml",
        "rcma-text-demo.safetensors",
        {"epochs": 8, "batches": 40, "learning_rate": 1e-3},
    ),
}
TINY_CORPUS = CorpusRecipe(seed=5, train=2, validation=1, test=2, seconds=4.0, frame_px=64)
TINY_FUSION = {"epochs": 1, "batches": 2, "batch": 2}

TableT = TypeVar("TableT", bound=SystemTable)


@dataclass(frozen=True)
class Settings:
    """What is compared, and in how many processes. `quick`: tiny, for tests; its figures mean nothing."""

    systems: tuple[SystemName, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    processes: int = 2
    quick: bool = False


@dataclass(frozen=True)
class _Demo:
    """One system's demo: its trained encoders, and what is drawn and trained here."""

    name: SystemName
    path: Path
    checkpoint: LoadedCheckpoint
    drawn: CorpusRecipe
    fusion: FusionRecipe


@dataclass(frozen=True)
class System:
    """A demo with its corpus encoded."""

    demo: _Demo
    corpus: Corpus
    corpus_sha256: str
    features: Mapping[Split, tuple[Path, ...]]

    @property
    def name(self) -> SystemName:
        return self.demo.name

    @property
    def fusion(self) -> FusionRecipe:
        """The schedule of all runs."""
        return self.demo.fusion

    def run(
        self,
        option: Option,
        seed: int,
        *,
        fusion: FusionRecipe | None = None,
        sets: tuple[tuple[str, ...], ...] | None = None,
        checked: bool = False,
    ) -> Run:
        """One training; `fusion` where it differs from the schedule of all, `sets` and `checked` as `Run` has them."""
        fusion = self.fusion if fusion is None else fusion
        decides = {
            "format": FORMAT,
            "checkpoint": self.demo.checkpoint.sha256,
            "corpus": self.corpus_sha256,
            "network": option.network(self.demo.checkpoint.model.config).config.to_dict(),
            "fusion": fusion.model_dump(mode="json"),
            "seed": seed,
            "torch": str(torch.__version__),
        }
        if sets is not None:
            decides["sets"] = sets
        identity = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
        return Run(
            option, seed, identity, self.demo.path, self.corpus.root, self.features, fusion, checked=checked, sets=sets
        )

    def table(self, kind: type[TableT], results: Sequence[Result]) -> TableT:
        """The results with what they share."""
        contract = Contract.model_validate(self.demo.checkpoint.model.contract())
        return kind(
            system=self.name,
            checkpoint=self.demo.path.name,
            checkpoint_sha256=self.demo.checkpoint.sha256,
            corpus=self.demo.drawn,
            corpus_sha256=self.corpus_sha256,
            hop_steps=contract.fusion.default_hop_steps,
            described_steps=contract.described_steps,
            fusion=self.fusion,
            results=tuple(results),
        )


def encoded_systems(settings: Settings, work: Path, progress: Progress) -> list[System]:
    """Draw and encode what is not yet in `work`. Systems whose recipes ask for the same people share them."""
    demos = [_demo(name, settings) for name in settings.systems]
    corpora = [_corpus(demo.drawn, work, progress) for demo in demos]  # with a bar of its own
    with progress:
        return [_encoded(demo, corpus, work, progress) for demo, corpus in zip(demos, corpora, strict=True)]


def _demo(name: SystemName, settings: Settings) -> _Demo:
    recipe_name, weights, less = DEMOS[name]
    recipe, _ = read_recipe(Path(__file__).parent / "recipes" / recipe_name)
    path = Path(affectrt.models.__path__[0]) / "weights" / weights
    fusion = recipe.fusion.model_copy(update={**less, **(TINY_FUSION if settings.quick else {})})
    tiny = TINY_CORPUS.model_copy(update={"spoken": recipe.corpus.spoken})
    return _Demo(name, path, load_checkpoint(path), tiny if settings.quick else recipe.corpus, fusion)


def _corpus(wanted: CorpusRecipe, work: Path, progress: Progress) -> Corpus:
    root = work / f"corpus-{hashlib.sha256(wanted.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:8]}"
    progress.say(f"drawing {wanted.train + wanted.validation + wanted.test} people, or reading those that are there")
    return drawn_corpus(wanted, root, progress)


def _encoded(demo: _Demo, corpus: Corpus, work: Path, progress: Progress) -> System:
    recordings = sum(len(corpus.videos(split)) for split in SPLITS)
    progress.say(f"{demo.name}: {recordings} recordings through the encoders of {demo.path.name}")
    with progress.bar(f"encoding for {demo.name}", recordings) as done:
        features = encode_corpus(
            demo.checkpoint, corpus, demo.fusion.grid_steps, work / "features" / demo.name, recording_done=done
        )
    return System(demo, corpus, corpus_sha256(corpus), features)
