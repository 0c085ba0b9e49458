"""Narrow networks that read words, with random weights, and BERT's published equations in float64 without PyTorch."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from affectrt.models.rcma_config import RcmaConfig
from affectrt.models.sizes import demo_config

__all__ = ["BERT_WIDTH", "PROVENANCE", "VOCABULARY", "bert_features", "make_bert", "random_text_model", "text_config"]

Floats = npt.NDArray[np.float64]

VOCABULARY = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "a", "day", "good", "sun", "##ny", "##shine", "don", "'", "t", "-"),
    *("well", "known", "am", "i", "happy", "sad", "##ly", "very", "not", "is", "rain", "##ing", "s", "it", ".", "!"),
)
LENGTHS = (8, 16, 32)
BERT_WIDTH = 12
PROVENANCE = {
    "recipe": "random weights",
    "training_corpus": "none",
    "licence": "CC0-1.0",
    "intended_use": "tests",
}


def text_config(**changes: Any) -> RcmaConfig:
    """Text alone, in a size that exports in seconds; `changes` to it, such as other modalities."""
    fields: dict[str, Any] = {
        "modalities": ("text",),
        "window_steps": 40,
        "text_dim": 24,
        "text_layers": 5,
        "text_heads": 4,
        "text_intermediate": 40,
        "text_positions": 40,
        "text_lengths": LENGTHS,
        "text_vocabulary": VOCABULARY,
        "text_tcn": (8, 8),
        "text_mean": 0.05,
        "text_std": 2.0,
    }
    return dataclasses.replace(demo_config(), **{**fields, **changes})


def make_bert(folder: Path, *, head: bool = False, width: int = BERT_WIDTH, seed: int = 0) -> Path:
    """A random BERT as transformers writes it: BertModel, with a pooler, or BertForMaskedLM, with a head."""
    import torch
    from transformers import BertConfig, BertForMaskedLM, BertModel

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=width,
        num_hidden_layers=4,
        num_attention_heads=3,
        intermediate_size=20,
        max_position_embeddings=24,
    )
    bert = (BertForMaskedLM if head else BertModel)(config)
    with torch.no_grad():
        for name, value in bert.named_parameters():
            if name.endswith("LayerNorm.bias"):  # as it begins, every vector would have the mean 0
                value.normal_(0.2, 0.3)
    bert.save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in VOCABULARY))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    return folder


def random_text_model(config: RcmaConfig, *, seed: int = 0) -> Any:
    """The network with weights large enough that no part of it can be left out unseen."""
    import torch

    from affectrt.models.rcma import Rcma

    torch.manual_seed(seed)
    model = Rcma(config).eval()
    with torch.no_grad():
        for name, value in model.encoders["text"].named_parameters():
            if "LayerNorm.weight" in name:
                value.uniform_(0.5, 1.5)
            elif "LayerNorm" in name or name.endswith("bias"):
                value.normal_(0.0, 0.3)
            else:
                value.normal_(0.0, 1.0 / math.sqrt(value.shape[-1]))
    return model


def bert_features(
    weights: Mapping[str, npt.NDArray[np.float32]], words: list[list[int]], heads: int, special: tuple[int, int]
) -> Floats:
    """Vectors of a sentence's words (words, width), from BERT as it was published (arXiv 1810.04805 and 1706.03762).

    `words`: pieces of each; `special`: the numbers of [CLS] and [SEP]. No padding, no batch: the sentence alone.
    """
    w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    pieces = [special[0], *(piece for word in words for piece in word), special[1]]
    x = w["embeddings.word_embeddings.weight"][pieces] + w["embeddings.position_embeddings.weight"][: len(pieces)]
    x = _norm(x + w["embeddings.token_type_embeddings.weight"][0], w, "embeddings.LayerNorm")
    layers = 1 + max(int(name.split(".")[2]) for name in w if name.startswith("encoder.layer."))
    states = []
    for layer in range(layers):
        at = f"encoder.layer.{layer}."
        query, key, value = (_linear(x, w, f"{at}attention.self.{part}") for part in ("query", "key", "value"))
        attended = np.concatenate(
            [
                _softmax(q @ k.T / math.sqrt(q.shape[1])) @ v
                for q, k, v in zip(*(np.split(part, heads, axis=1) for part in (query, key, value)), strict=True)
            ],
            axis=1,
        )
        x = _norm(x + _linear(attended, w, f"{at}attention.output.dense"), w, f"{at}attention.output.LayerNorm")
        inner = _linear(x, w, f"{at}intermediate.dense")
        gelu = 0.5 * inner * (1.0 + np.vectorize(math.erf)(inner / math.sqrt(2.0)))
        x = _norm(x + _linear(gelu, w, f"{at}output.dense"), w, f"{at}output.LayerNorm")
        states.append(x)
    summed = np.sum(states[-4:], axis=0)
    ends = 1 + np.cumsum([0, *(len(word) for word in words)])
    return np.stack([summed[start:end].mean(axis=0) for start, end in itertools.pairwise(ends)])


def _linear(x: Floats, w: Mapping[str, Floats], name: str) -> Floats:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _norm(x: Floats, w: Mapping[str, Floats], name: str) -> Floats:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def _softmax(x: Floats) -> Floats:
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)
