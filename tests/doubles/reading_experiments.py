"""Tiny experiments that read words: with a BERT from outside, or an encoder of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from doubles.text_models import BERT_WIDTH, VOCABULARY
from doubles.tiny_experiments import TINY, tiny, toy

__all__ = ["ALL", "READS", "Begun", "make_spoken_corpus", "own", "reads", "run"]

READS = {**TINY, "text_dim": BERT_WIDTH, "text_tcn": [8]}
ALL = ["video", "audio", "text"]
OWN = {
    "text_dim": 24,
    "text_layers": 5,
    "text_heads": 4,
    "text_intermediate": 40,
    "text_positions": 40,
    "text_lengths": [8, 16, 32],
    "text_vocabulary": list(VOCABULARY),
    "text_tcn": [8],
    "text_mean": 0.05,
    "text_std": 2.0,
}


def make_spoken_corpus(root: Path) -> Path:
    """Seven videos, of which two say nothing."""
    return toy(
        root,
        tiny(),
        train=(40, 50, 19, 33, 61),
        validation=(45, 47),
        unannotated=(5, 6),
        unseen=(12,),
        spoken=(0, 1, 2, 4, 5),
    )


def reads(bert: Path | None = None, **changes: Any) -> Any:
    fields = {**READS, **changes.pop("fields", {})}
    network = {"variant": "demo", "modalities": ALL, "fields": fields}
    return tiny(network=network, text=bert, epochs=changes.pop("epochs", 1), release={"stages": 0}, **changes)


def own(**changes: Any) -> Any:
    fields = {**TINY, **OWN, **changes.pop("fields", {})}
    return tiny(network={"variant": "text-demo", "fields": fields}, release={"stages": 0}, **changes)


def run(config: Any, corpus: Path, out: Path, **more: Any) -> Any:
    from affectrt.training.experiments.run import train_experiment

    return train_experiment(config, "text", corpus, out, accelerator="cpu", **more)


class Begun:
    """A training as far as its first batch."""

    def __init__(self, config: Any, root: Path, cache: Path) -> None:
        import torch

        from affectrt.bundle.contract import Contract
        from affectrt.training.experiments.beginning import begin_with, cached_features
        from affectrt.training.experiments.config import network_of
        from affectrt.training.experiments.series import WindowSet
        from affectrt.training.experiments.words import words_of
        from affectrt.training.prepared import PreparedCorpus
        from affectrt.training.progress import Progress

        self.corpus = PreparedCorpus.open(root)
        torch.manual_seed(2)
        self.network = network_of(config)
        self.videos = [self.corpus.videos(split) for split in ("train", "validation")]
        words = words_of(config, self.network, self.videos[0])
        begin_with(self.network, config)
        quiet = Progress(quiet=True)
        self.features = cached_features(config, self.network, self.corpus, cache, quiet, words)
        assert words is not None and self.features is not None
        self.scales = words.scales(self.network, config, self.features, self.videos)
        self.whole = words.whole(self.network)
        self.contract = Contract.model_validate(self.network.contract())
        self.sets = [
            WindowSet(v, self.contract, config.rules, hop=config.hop, scored=s, features=self.features, scale=scale)
            for v, s, scale in zip(self.videos, (False, True), self.scales, strict=True)
        ]
