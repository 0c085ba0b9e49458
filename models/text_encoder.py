"""The text encoder: a sentence of word pieces → a vector for each of its words (arXiv 2403.13659, text branch).

The network is `transformers`' own BERT. A piece's vector is the sum of its last four hidden layers; a word's is the
mean of its pieces', so that of a word of several pieces, or of one with a hyphen or an apostrophe, one vector remains.
[CLS] and [SEP] belong to no word.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .rcma_config import LAYERS_SUMMED, RcmaConfig

__all__ = ["LAYERS_SUMMED", "TextEncoder", "bert_config"]

# Added to the scores of padding. After the softmax nothing is left of it, in float32 as in float16, and it is small
# enough that a float16 graph may compute the softmax in float16 (`calibration.half`).
_HIDDEN = -2e3


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
        "pad_token_id": config.text_vocabulary.index("[PAD]"),
        "attn_implementation": "eager",  # plain tensor code, which the exporter reads without guesses
    }
    return BertConfig(**fields)


class TextEncoder(nn.Module):
    """token_ids, mask, word_index (B, L) int64 → (B, L, text_dim): row n − 1 is word n's vector, the others zero."""

    def __init__(self, config: RcmaConfig) -> None:
        super().__init__()
        from transformers import BertModel

        self.bert: Any = BertModel(bert_config(config), add_pooling_layer=False)
        # Numbers that no file holds: a network made on the meta device would keep them without a value.
        del self.bert.embeddings.position_ids, self.bert.embeddings.token_type_ids

    def forward(self, token_ids: Tensor, mask: Tensor, word_index: Tensor) -> Tensor:
        places = torch.arange(token_ids.shape[1], device=token_ids.device)[None, :]
        only_segment = torch.zeros((1, 1), dtype=torch.int64, device=token_ids.device)
        scores = (1.0 - mask.to(self.bert.dtype))[:, None, None, :] * _HIDDEN
        hidden = self.bert(
            input_ids=token_ids,
            attention_mask=scores,
            token_type_ids=only_segment,
            position_ids=places,
            output_hidden_states=True,
        ).hidden_states
        first, *others = hidden[-LAYERS_SUMMED:]
        pieces: Tensor = sum(others, first)
        belongs = (word_index[:, None, :] == places[:, :, None] + 1).to(pieces.dtype)  # (B, words, pieces)
        share = belongs / belongs.sum(dim=2, keepdim=True).clamp(min=1.0)
        return share @ pieces
