"""A recording through the encoders: the features that a fusion learns on, each computed once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import Contract
from affectrt.models.network import Network

from .text import on_steps, parts_of, pieces_of_network, word_vectors, words_of_steps
from .train_encoders import EncodedModality, Example, encode
from .train_fusion import Features

__all__ = ["ENCODED", "crop_px_of", "features_of"]

# Modalities with an encoder of spans, in the order of a contract; text is encoded by sentences.
ENCODED: tuple[EncodedModality, ...] = ("video", "audio")


def crop_px_of(contract: Contract) -> int:
    """Side of the crop that a video encoder takes; 0 without video."""
    return contract.video.crop_px if contract.video is not None else 0


def features_of(model: Network, contract: Contract, example: Example, grid: int, *, mirrored: bool) -> Features:
    """Features of every modality at every `grid` step, counted as hops are; zeros at the others.

    Of the face also those of its mirror image, where asked for.
    """
    spans = example.spans
    steps = np.arange(grid - 1, spans.steps, grid)
    variants: dict[str, list[npt.NDArray[np.float32]]] = {}
    for modality in ENCODED:
        if modality not in contract.modalities:
            continue
        encoder = model.encoders[modality]
        ways = (False, True) if mirrored and modality == "video" else (False,)
        variants[modality] = []
        for way in ways:
            rows = np.zeros((spans.steps, contract.modalities[modality].feature_dim), np.float32)
            rows[steps] = encode(modality, encoder, spans, crop_px_of(contract), steps=steps, mirrored=way)[0]
            variants[modality].append(rows)
    pieces = pieces_of_network(model)
    if contract.text is not None and pieces is not None:
        words = spans.words
        parts = parts_of(words, pieces, contract.text)
        vectors = word_vectors(model.encoders["text"], parts, contract.text.feature_dim)
        rows = np.zeros((spans.steps, contract.text.feature_dim), np.float32)
        rows[steps] = on_steps(vectors, words_of_steps(words, spans.steps, contract.step_hz)[steps], contract.text)
        variants["text"] = [rows]
    return Features(variants, example.truth)
