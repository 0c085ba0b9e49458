"""What an experiment begins with: weights of its parts, and features of encoders that never learn."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from affectrt.bundle import open_bundle
from affectrt.bundle.errors import UsageError
from affectrt.models.checkpoint import load_checkpoint, load_part
from affectrt.models.configuration import Config
from affectrt.models.errors import CheckpointError
from affectrt.models.network import Network
from affectrt.models.parts import PARTS
from affectrt.training.feature_cache import FeatureCache, cache_features
from affectrt.training.frozen_encoders import FrozenEncoders, of_bundle, of_network
from affectrt.training.prepared import PreparedCorpus
from affectrt.training.progress import Progress

from .config import ExperimentConfig
from .words import Words

__all__ = ["begin_with", "cached_features"]

SCALE = ("text_mean", "text_std")  # of words: a checkpoint's, where its encoder is taken
TEXT_FIELDS = ("text_layers", "text_heads", "text_vocabulary", "text_lower_case", "text_lengths")  # beside its shapes


def begin_with(network: Network, config: ExperimentConfig) -> None:
    """Give the network the weights of `config.init`. UsageError for a part that is missing or of another size."""
    found = set()
    for path in config.init.files:
        try:
            part = load_part(path)
        except CheckpointError as error:
            if "whole network" not in error.found:
                raise
            whole = load_checkpoint(path).model
            if config.init.take == "encoders":
                _take_encoders(network, whole, path, config.name)
                return
            if _without_scale(whole.config) != _without_scale(network.config):
                raise UsageError(
                    f"{path} holds another network than {config.name}",
                    expected="a checkpoint of the same configuration",
                    fix='[init] take = "encoders", leave init.files out, or name the parts that fit',
                ) from None
            network.load_state_dict(whole.state_dict())
            network.config = whole.config
            return
        if part.part.system != network.system or part.part.chosen(network.config) != part.part.chosen(part.config):
            raise UsageError(
                f"{path} holds a {part.part.name} that does not fit the network of {config.name}",
                expected=f"{part.part.chosen(network.config)}"
                if part.part.system == network.system
                else network.system,
            )
        network.get_submodule(part.part.path).load_state_dict(part.module.state_dict())
        found.add(part.part.name)
    if missing := [name for name in config.init.needs if name not in found]:
        raise UsageError(
            f"{config.name} begins with the weights of {' and '.join(missing)}, and none are given",
            expected=f"one file for each of {', '.join(config.init.needs)}",
            fix="affectrt import PUBLISHED --out PART.safetensors, then affectrt train … --init PART.safetensors",
        )


def cached_features(
    config: ExperimentConfig,
    network: Network,
    corpus: PreparedCorpus,
    work: Path,
    progress: Progress,
    words: Words | None = None,
) -> FeatureCache | None:
    """Of the training and validation videos, whatever the fold, in `config.cache` or in the working folder.

    Of every encoder, or of that of words alone where the others are computed; None where nothing is left.
    """
    if config.features == "computed" and words is None:
        return None
    videos = [*corpus.videos("train"), *corpus.videos("validation")]
    with ExitStack() as stack, progress:
        encoders = _encoders(config, network, words, stack)
        found = cache_features(
            encoders, corpus, config.cache or work / "features", videos, mirrored=config.mirrored, progress=progress
        )
    if found.made_now:
        progress.say(f"features of {len(videos)} videos cached, {found.made_now} files computed")
    return found


def _encoders(config: ExperimentConfig, network: Network, words: Words | None, stack: ExitStack) -> FrozenEncoders:
    asked = config.encoders
    whole = words.whole(network) if words is not None else network
    if asked is None:
        return of_network(whole, None if config.features == "cached" else ("text",))
    bundle = open_bundle(asked.bundle)
    made_from = bundle.manifest.provenance.checkpoint_sha256
    if made_from not in [hashlib.sha256(path.read_bytes()).hexdigest() for path in config.init.files]:
        raise UsageError(
            f"{asked.bundle} was exported from another checkpoint than {config.name} begins with",
            expected=f"among init.files the one whose SHA-256 begins with {made_from[:12]}, whose encoders are kept",
            fix="affectrt train … --init CHECKPOINT, the one that the bundle was exported from",
        )
    theirs = of_bundle(bundle, stack, asked.precision, asked.backend, modalities=network.encoders.keys())
    return theirs.with_words_of(of_network(whole, ("text",))) if whole is not network else theirs


def _take_encoders(network: Network, whole: Network, path: Path, name: str) -> None:
    theirs, ours = (
        {p.name: p.chosen(n.config) for p in PARTS.values() if p.system == n.system and p.path.startswith("encoders.")}
        for n in (whole, network)
    )
    state, wanted = whole.encoders.state_dict(), network.encoders.state_dict()
    if "text" not in network.encoders:  # its words, if it reads any, have another encoder
        state = {key: tensor for key, tensor in state.items() if not key.startswith("text.")}
    elif "text" not in whole.encoders:
        raise UsageError(
            f"{path} has no encoder of words, and the network of {name} has one",
            expected="a checkpoint of a network that encodes its words itself",
            fix="leave `text` out of the network's modalities, or name the checkpoint of a network that reads",
        )
    elif differing := [
        field for field in TEXT_FIELDS if getattr(whole.config, field) != getattr(network.config, field)
    ]:
        raise UsageError(
            f"the encoder of words in {path} has another {', '.join(differing)} than the network of {name}",
            expected="the same in [network.fields]",
            fix="take the variant, and the version of affectrt, that the checkpoint was trained with",
        )
    shapes, expected = ({key: tensor.shape for key, tensor in each.items()} for each in (state, wanted))
    if theirs != ours or shapes != expected:
        raise UsageError(
            f"{path} has other encoders than the network of {name}", expected=f"encoders with {ours}, not {theirs}"
        )
    network.encoders.load_state_dict(state)
    if "text" in network.encoders:
        chosen: Any = whole.config
        network.config = replace(network.config, **{field: getattr(chosen, field) for field in SCALE})


def _without_scale(config: Config) -> dict[str, object]:
    return {name: value for name, value in config.to_dict().items() if name not in SCALE}
