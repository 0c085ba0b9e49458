"""Phase 1, all encoders of a network one after the other, each on its own modality."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import nn

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import UsageError
from affectrt.models.network import Network
from affectrt.models.rcma_config import RcmaConfig

from .features import ENCODED, crop_px_of
from .fit import Task
from .recipe import AudioRecipe, EncoderRecipes, Recipe, Schedule, VideoRecipe
from .text import pieces_of_network
from .train_encoders import (
    EncodedModality,
    EncoderTask,
    Example,
    described_by_span,
    set_norm_momentum,
    start_from_pictures,
)
from .train_text import TextTask, vector_scale

__all__ = ["Fit", "check_text", "train_encoders"]

Fit = Callable[[Task, Schedule, int], None]
"""Trains a task by a schedule; the number tells the phases' seeds apart."""

TEXT_PHASE, STILLS_PHASE = 3, 5


def check_text(recipe: Recipe, model: Network) -> None:
    """UsageError where a model that encodes text has no recipe for it or nobody speaks, or the other way round."""
    reads = "text" in model.encoders
    if reads != (recipe.encoders.text is not None) or (reads and not recipe.corpus.spoken):
        raise UsageError(
            f"model {recipe.model!r} {'encodes' if reads else 'does not encode'} text; the recipe has "
            f"{'an' if recipe.encoders.text is not None else 'no'} encoders.text and corpus.spoken is "
            f"{str(recipe.corpus.spoken).lower()}",
            expected="[encoders.text] and spoken = true for a model that encodes text, no [encoders.text] for another",
        )


def train_encoders(
    model: Network,
    train: Sequence[Example],
    validation: Sequence[Example],
    recipes: EncoderRecipes,
    seed: int,
    fit: Fit,
) -> None:
    """All encoders of `model`. Of one with text, also the scale of its words' vectors is put into its configuration."""
    contract = Contract.model_validate(model.contract())
    for index, modality in enumerate(ENCODED):
        if modality not in contract.modalities:
            continue
        recipe = recipes.video if modality == "video" else recipes.audio
        torch.manual_seed(seed + 1 + index)  # whatever was restored before, the head starts the same
        _train_spans(model.encoders[modality], modality, contract, train, validation, recipe, 1 + index, fit)
    if recipes.text is not None:
        torch.manual_seed(seed + TEXT_PHASE)
        _train_text(model, contract, train, validation, recipes, fit)


def _train_spans(
    encoder: nn.Module,
    modality: EncodedModality,
    contract: Contract,
    train: Sequence[Example],
    validation: Sequence[Example],
    recipe: VideoRecipe | AudioRecipe,
    phase: int,
    fit: Fit,
) -> None:
    def task_of(
        recipe: VideoRecipe | AudioRecipe, *, stills: bool = False, head: nn.Module | None = None
    ) -> EncoderTask:
        return EncoderTask(
            encoder,
            contract.modalities[modality].feature_dim,
            train,
            validation,
            recipe,
            crop_px_of(contract),
            described_steps=described_by_span(contract, modality),
            stills=stills,
            head=head,
        )

    head = None
    if isinstance(recipe, VideoRecipe):
        if recipe.norm_momentum is not None:
            set_norm_momentum(encoder, recipe.norm_momentum)
        if recipe.stills is not None:
            start_from_pictures(encoder)
            still = task_of(recipe.model_copy(update=recipe.stills.model_dump()), stills=True)
            fit(still, recipe.stills, STILLS_PHASE)
            head = still.head
    fit(task_of(recipe, head=head), recipe, phase)


def _train_text(
    model: Network,
    contract: Contract,
    train: Sequence[Example],
    validation: Sequence[Example],
    recipes: EncoderRecipes,
    fit: Fit,
) -> None:
    config, pieces = model.config, pieces_of_network(model)
    assert isinstance(config, RcmaConfig) and pieces is not None and recipes.text is not None
    encoder, unknown = model.encoders["text"], config.text_vocabulary.index("[UNK]")
    fit(TextTask(encoder, contract, pieces, train, validation, recipes.text, unknown), recipes.text, TEXT_PHASE)
    mean, std = vector_scale(encoder, contract, pieces, train)
    model.config = dataclasses.replace(config, text_mean=mean, text_std=std)
