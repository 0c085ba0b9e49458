"""Which fusion is best on drawn people: every option trained from several seeds on the same frozen encoders.

    python -m affectrt.training.fusion_table        # or: make fusion-table

The encoders are those of the committed demo weights; both papers, too, train their fusion on backbones that stay as
they are. The corpus is encoded once, then each (option, seed) is trained and scored on the test identities. A run that
was stopped goes on where it was: whatever decides a figure is hashed into its result's identity, and a result that is
there is not computed again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import affectrt.models
from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import AffectError, UsageError
from affectrt.models.checkpoint import LoadedCheckpoint, load_checkpoint
from affectrt.models.errors import CheckpointError

from .corpus import Corpus, Split
from .fusion_features import SPLITS, encode_corpus
from .fusion_figure import require_matplotlib
from .fusion_options import OPTIONS, TEXT_OPTIONS, SystemName
from .fusion_report import tables_text, write_report
from .fusion_results import FusionTable, Result, SystemTable, append_result, read_results
from .fusion_runs import Run, results_of
from .progress import Progress
from .recipe import CorpusRecipe, FusionRecipe, read_recipe
from .synthetic.corpus import make_corpus
from .train import corpus_sha256

__all__ = ["Settings", "main", "make_table"]

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


@dataclass(frozen=True)
class Settings:
    """What is compared, and in how many processes. `quick`: tiny, for tests; its figures mean nothing."""

    systems: tuple[SystemName, ...] = tuple(OPTIONS)
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
class _System:
    """A demo with its corpus encoded: what all runs of the system share."""

    demo: _Demo
    corpus: Corpus
    corpus_sha256: str
    features: Mapping[Split, tuple[Path, ...]]

    @property
    def name(self) -> SystemName:
        return self.demo.name

    def runs(self, seed: int, *, check: bool) -> Iterator[Run]:
        demo = self.demo
        for option in TEXT_OPTIONS if demo.name == "rcma-text" else OPTIONS[demo.name]:
            decides = {
                "format": FORMAT,
                "checkpoint": demo.checkpoint.sha256,
                "corpus": self.corpus_sha256,
                "network": option.network(demo.checkpoint.model.config).config.to_dict(),
                "fusion": demo.fusion.model_dump(mode="json"),
                "seed": seed,
                "torch": str(torch.__version__),
            }
            identity = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
            shared = (demo.path, self.corpus.root, self.features, demo.fusion)
            yield Run(option, seed, identity, *shared, checked=check and option.shipped)

    def table(self, results: Sequence[Result]) -> SystemTable:
        contract = Contract.model_validate(self.demo.checkpoint.model.contract())
        return SystemTable(
            system=self.name,
            checkpoint=self.demo.path.name,
            checkpoint_sha256=self.demo.checkpoint.sha256,
            corpus=self.demo.drawn,
            corpus_sha256=self.corpus_sha256,
            hop_steps=contract.fusion.default_hop_steps,
            described_steps=contract.described_steps,
            fusion=self.demo.fusion,
            results=tuple(results),
        )


def make_table(settings: Settings, work: Path, progress: Progress) -> FusionTable:
    """Train what is not yet in `work`; all results of these settings."""
    torch.set_num_threads(settings.processes)
    demos = [_demo(name, settings) for name in settings.systems]
    corpora = [_corpus(demo.drawn, work, progress) for demo in demos]  # with a bar of its own
    with progress:
        systems = [_encoded(demo, corpus, work, progress) for demo, corpus in zip(demos, corpora, strict=True)]
        # seed by seed: what is there early is a whole table
        first = settings.seeds[0]
        runs = [run for seed in settings.seeds for s in systems for run in s.runs(seed, check=seed == first)]
        store = work / "results.jsonl"
        found = dict(read_results(store))
        missing = [run for run in runs if run.identity not in found]
        progress.say(f"{len(runs)} trainings, {len(runs) - len(missing)} of them are there already")
        remaining = _Remaining(missing)
        with progress.bar("training fusions", len(missing)) as done:
            for result in results_of(missing, settings.processes):
                append_result(store, result)
                found[result.identity] = result
                done()
                progress.say(remaining.after(result))
    return FusionTable(
        seeds=settings.seeds,
        versions={"torch": str(torch.__version__), "numpy": np.__version__},
        systems=tuple(s.table([found[run.identity] for run in runs if run.option.system == s.name]) for s in systems),
    )


def _demo(name: SystemName, settings: Settings) -> _Demo:
    recipe_name, weights, less = DEMOS[name]
    recipe, _ = read_recipe(Path(__file__).parent / "recipes" / recipe_name)
    path = Path(affectrt.models.__path__[0]) / "weights" / weights
    fusion = recipe.fusion.model_copy(update={**less, **(TINY_FUSION if settings.quick else {})})
    tiny = TINY_CORPUS.model_copy(update={"spoken": recipe.corpus.spoken})
    return _Demo(name, path, load_checkpoint(path), tiny if settings.quick else recipe.corpus, fusion)


def _corpus(wanted: CorpusRecipe, work: Path, progress: Progress) -> Corpus:
    """Drawn, unless it is there; systems whose recipes ask for the same people share it."""
    root = work / f"corpus-{hashlib.sha256(wanted.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:8]}"
    progress.say(f"drawing {wanted.train + wanted.validation + wanted.test} people, or reading those that are there")
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


def _encoded(demo: _Demo, corpus: Corpus, work: Path, progress: Progress) -> _System:
    recordings = sum(len(corpus.videos(split)) for split in SPLITS)
    progress.say(f"{demo.name}: {recordings} recordings through the encoders of {demo.path.name}")
    with progress.bar(f"encoding for {demo.name}", recordings) as done:
        features = encode_corpus(
            demo.checkpoint, corpus, demo.fusion.grid_steps, work / "features" / demo.name, recording_done=done
        )
    return _System(demo, corpus, corpus_sha256(corpus), features)


class _Remaining:
    """How long the rest will take. An option that has not run yet is taken for an average one."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._began = time.monotonic()
        self._open = {run.identity: (run.option.system, run.option.name) for run in runs}
        self._all = len(runs)
        self._cost: dict[tuple[str, str], float] = {}
        self._spent = 0.0

    def after(self, result: Result) -> str:
        """One line about the result just got, the time since the beginning, and the time left."""
        self._open.pop(result.identity, None)
        self._cost[result.system, result.option] = result.cpu_s
        self._spent += result.cpu_s
        elapsed = time.monotonic() - self._began
        average = sum(self._cost.values()) / len(self._cost)
        rest = sum(self._cost.get(option, average) for option in self._open.values())
        left = rest * elapsed / self._spent if self._spent > 0 else 0.0
        figures = "  ".join(f"{name} {value:.3f}" for name, value in result.ccc.items())
        return (
            f"{self._all - len(self._open)}/{self._all}  {result.system} {result.option}, seed {result.seed}: {figures}"
            f"  ({_clock(elapsed)}, about {_clock(left)} left)"
        )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code as of `affectrt`: 0 fine, 1 failed, 2 wrong use, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="fusion-table", description="Train and compare every fusion of both systems.")
    parser.add_argument("--work", type=Path, default=Path("build/fusion-table"), help="corpus, features and results")
    parser.add_argument("--out", type=Path, help="where the table goes (default: docs, with --quick WORK)")
    parser.add_argument("--system", action="append", choices=list(OPTIONS), help="only this one; may be repeated")
    parser.add_argument("--processes", type=int, default=2, help="trainings at a time, one thread each (default: 2)")
    parser.add_argument("--quick", action="store_true", help="everything tiny: shows that it runs, nothing else")
    given = parser.parse_args(argv)
    settings = Settings(
        systems=tuple(given.system or OPTIONS),
        seeds=(0, 1) if given.quick else Settings.seeds,
        processes=given.processes,
        quick=given.quick,
    )
    out = given.out or (given.work if given.quick else Path("docs"))
    progress = Progress()
    try:
        require_matplotlib()
        if given.processes < 1:
            raise UsageError(f"--processes {given.processes}", expected="1 or more")
        table = make_table(settings, given.work, progress)
        paths = write_report(table, out)
    except (AffectError, CheckpointError) as error:
        print(f"fusion-table: error: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, AffectError) else 1
    except KeyboardInterrupt:
        return 130
    print(tables_text(table))
    for path in paths:
        progress.say(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
