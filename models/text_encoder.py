"""The text encoder: a sentence of word pieces → a vector for each of its words (arXiv 2403.13659, text branch).

The network is `transformers`' own BERT. A piece's vector is the sum of its last four hidden layers; a word's is the
mean of its pieces', so that of a word of several pieces, or of one with a hyphen or an apostrophe, one vector remains.
[CLS] and [SEP] belong to no word.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .rcma_config import RcmaConfig

__all__ = ["LAYERS_SUMMED", "TextEncoder", "bert_config"]

LAYERS_SUMMED = 4
# Added to the scores of padding: in float16 as in float32 nothing is left of it after the softmax.
_HIDDEN = -3e4


def bert_config(config: RcmaConfig) -> Any:
    """The `BertConfig` of a configuration's text encoder."""
    from transformers import BertConfig

    fields: dict[str, Any] = {
        "vocab_size": len(config.text_vocabulary),
        "hidden_size": config.text_dim,
        "num_hidden_layers": config.text_layers,
        "num_attention_heads": config.text_heads,
        "intermediate_size": config.text_intermediate,
        "max_position_embeddings": config.text_positions,
        "hidden_dropout_prob": config.text_dropout,
        "attention_probs_dropout_prob": config.text_dropout,
        "attn_implementation": "eager",  # plain tensor code, which the exporter reads without guesses
    }
    return BertConfig(**fields)


class TextEncoder(nn.Module):
    """token_ids, mask, word_index (B, L) int64 → (B, L, text_dim): row n − 1 is word n's vector, the others zero."""

    def __init__(self, config: RcmaConfig) -> None:
        super().__init__()
        from transformers import BertModel

        self.bert: Any = BertModel(bert_config(config), add_pooling_layer=False)

    def forward(self, token_ids: Tensor, mask: Tensor, word_index: Tensor) -> Tensor:
        scores = (1.0 - mask.to(torch.float32))[:, None, None, :] * _HIDDEN
        hidden = self.bert(input_ids=token_ids, attention_mask=scores, output_hidden_states=True).hidden_states
        pieces = torch.stack(hidden[-LAYERS_SUMMED:]).sum(0)
        slots = torch.arange(1, token_ids.shape[1] + 1)
        belongs = (word_index[:, None, :] == slots[None, :, None]).to(pieces.dtype)  # (B, words, pieces)
        share = belongs / belongs.sum(dim=2, keepdim=True).clamp(min=1.0)
        vectors: Tensor = share @ pieces
        return vectors
