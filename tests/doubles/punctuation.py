"""A token classifier of punctuation in Hugging Face's layout whose weights are set by hand: words decide the labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["LABELS", "make_punctuation"]

LABELS = ("0", ".", ",", "?", "-", ":")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def make_punctuation(folder: Path, marks: Mapping[str, str], *, positions: int = 32, first: str | None = None) -> Path:
    """BERT of two layers, of which the pieces in `marks` give their label and all others `0`.

    `first`: the label of whatever comes first after [CLS], however it is spelt.
    """
    import torch
    from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast

    pieces = [*_SPECIAL, *marks]
    width = 8
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=positions,
        id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)},
    )
    torch.manual_seed(0)
    network = BertForTokenClassification(config)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            # each layer passes on what it gets, and the embedding is the label
            if "LayerNorm.weight" not in name:
                weight.zero_()
        embeddings = network.bert.embeddings
        for number, piece in enumerate(pieces):
            embeddings.word_embeddings.weight[number, LABELS.index(marks.get(piece, "0"))] = 1.0
        if first is not None:
            embeddings.position_embeddings.weight[1, LABELS.index(first)] = 5.0
        network.classifier.weight[:, :] = torch.eye(len(LABELS), width)
    folder.mkdir(parents=True)
    network.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder
