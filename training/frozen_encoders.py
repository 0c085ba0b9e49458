"""Encoders that do not learn, as engines: of a network in training, or a bundle's on any backend and precision."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import UsageError
from affectrt.runtime import Request, Scheduler
from affectrt.runtime.engines.base import Array, Engine
from affectrt.runtime.words.pieces import Pieces, pieces_of

from .prepared import PreparedVideo

if TYPE_CHECKING:
    from torch import nn

    from affectrt.bundle.manifest import Asked
    from affectrt.bundle.store import Bundle
    from affectrt.models.network import Network

__all__ = ["FrozenEncoders", "of_bundle", "of_network"]

# What an engine tells of itself that changes no feature, or only its last bits (threads).
_DECIDE_NOTHING = {"stage", "graph", "bundle_sha256", "chosen", "threads"}


@dataclass(frozen=True, eq=False)
class FrozenEncoders:
    """`engines` by stage; `identity`: for each modality that they encode, what decides its features besides contract
    and corpus. The contract's words have mean 0 and deviation 1, so that their vectors are whoever's who scales them.
    """

    contract: Contract
    engines: Mapping[str, Engine]
    identity: Mapping[str, Mapping[str, str]]
    pieces: Pieces | None = None

    def with_words_of(self, other: FrozenEncoders) -> FrozenEncoders:
        """These, and the encoder of words of others."""
        return FrozenEncoders(
            self.contract.model_copy(update={"text": other.contract.text}),
            {**self.engines, **other.engines},
            {**self.identity, **other.identity},
            other.pieces,
        )

    def text_rows(self, video: PreparedVideo, scheduler: Scheduler) -> npt.NDArray[np.float32]:
        """(steps, feature_dim): the vector of the word under each step as it comes out of the graph, zeros without."""
        from .text import on_steps, parts_of, words_of_steps

        text = self.contract.text
        assert text is not None and text.stage is not None and self.pieces is not None
        words = video.words()
        parts = parts_of(words, self.pieces, text)
        vectors = np.zeros((sum(part.count for part in parts), text.feature_dim), np.float32)
        found = scheduler.infer([Request(text.stage, 0, at, part.feeds) for at, part in enumerate(parts)])
        for part, rows in zip(parts, found, strict=True):
            vectors[part.first : part.first + part.count] = rows[: part.count]
        return on_steps(vectors, words_of_steps(words, video.steps, video.step_hz), text)


def of_network(model: Network, modalities: Collection[str] | None = None) -> FrozenEncoders:
    """The encoders of a network, all or those of `modalities`, in torch on the CPU; it is put into evaluation mode."""
    from .text import pieces_of_network
    from .torch_engine import torch_engines

    contract = _raw(Contract.model_validate(model.contract()))
    stages = _stages(contract, modalities)
    engines = {stage: engine for stage, engine in torch_engines(model).items() if stage in stages.values()}
    modules = model.stage_modules()
    identity = {
        modality: {**_told(engines[stage]), "weights_sha256": _weights_sha256(modules[stage])}
        for modality, stage in stages.items()
    }
    pieces = pieces_of_network(model) if "text" in stages else None
    return FrozenEncoders(contract, engines, _with_vocabulary(identity, model.attachments().get("vocabulary")), pieces)


def of_bundle(
    bundle: Bundle,
    stack: ExitStack,
    precision: Asked = "fp32",
    backend: str = "auto",
    threads: int | None = None,
    modalities: Collection[str] | None = None,
) -> FrozenEncoders:
    """The encoders of a bundle, all or those of `modalities`; `stack` closes them. Raises what `open_engine` raises."""
    from affectrt.runtime.engines.backend_choice import choose_backend
    from affectrt.runtime.engines.opening import open_engine

    contract = _raw(bundle.contract)
    stages = _stages(contract, modalities)
    choice = choose_backend(bundle, precision, backend, stages=tuple(stages.values()))
    engines = {
        stage: stack.enter_context(open_engine(bundle, stage, precision, choice, threads)) for stage in stages.values()
    }
    identity = {modality: _told(engines[stage]) for modality, stage in stages.items()}
    attachment = bundle.manifest.attachments.get("vocabulary")
    vocabulary = bundle.read(attachment) if attachment is not None and "text" in stages else None
    return FrozenEncoders(contract, engines, _with_vocabulary(identity, vocabulary), pieces_of(bundle))


def _raw(contract: Contract) -> Contract:
    if contract.text is None:
        return contract
    return contract.model_copy(update={"text": contract.text.model_copy(update={"mean": 0.0, "std": 1.0})})


def _stages(contract: Contract, modalities: Collection[str] | None) -> dict[str, str]:
    """Modality → its encoder's stage. UsageError for a modality whose features come from outside."""
    wanted = contract.modalities if modalities is None else modalities
    stages = {modality: record.stage for modality, record in contract.modalities.items() if modality in wanted}
    if lacking := [modality for modality, stage in stages.items() if stage is None]:
        raise UsageError(
            f"the network has no encoder of {', '.join(lacking)}, so there is nothing to cache",
            expected="an encoder for each modality",
            fix='in the configuration: features = "computed", or [network] modalities without it',
        )
    return {modality: stage for modality, stage in stages.items() if stage is not None}


def _told(engine: Engine) -> dict[str, str]:
    return {name: value for name, value in engine.provenance.items() if name not in _DECIDE_NOTHING}


def _with_vocabulary(identity: dict[str, dict[str, str]], vocabulary: bytes | None) -> Mapping[str, Mapping[str, str]]:
    if "text" in identity and vocabulary is not None:
        identity["text"]["vocabulary_sha256"] = hashlib.sha256(vocabulary).hexdigest()
    return identity


def _weights_sha256(module: nn.Module) -> str:
    """Of a module's structure and every tensor in it, those that no checkpoint holds included."""
    digest = hashlib.sha256(repr(module).encode())
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        values: Array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {values.dtype} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
