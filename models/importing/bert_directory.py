"""A folder in Hugging Face's layout → what its BERT is, its word pieces and its tensors; nothing in it is executed."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, ConfigError
from ..rcma_config import RcmaConfig
from .reading import SourceFile, read_source

__all__ = ["BertDirectory", "read_bert"]

MAX_JSON_BYTES = 1 << 20
MAX_VOCABULARY_BYTES = 16 << 20
WANT = "a folder of BERT in Hugging Face's layout: config.json, model.safetensors, vocab.txt, tokenizer_config.json"
LENGTHS = RcmaConfig().text_lengths

# What a configuration may say of what is computed, and what is meant where it says nothing.
AS_PUBLISHED: Mapping[str, tuple[Any, Any]] = {
    "model_type": ("bert", "bert"),
    "hidden_act": ("gelu", "gelu"),
    "position_embedding_type": ("absolute", "absolute"),
    "layer_norm_eps": (1e-12, 1e-12),
    "type_vocab_size": (2, 2),
    "is_decoder": (False, False),
    "add_cross_attention": (False, False),
    "chunk_size_feed_forward": (0, 0),
}
SIZES = {
    "hidden_size": "text_dim",
    "num_hidden_layers": "text_layers",
    "num_attention_heads": "text_heads",
    "intermediate_size": "text_intermediate",
    "max_position_embeddings": "text_positions",
}
# Names of the first files, from before PyTorch's own layer norm.
OLDER = {r"LayerNorm\.gamma$": "LayerNorm.weight", r"LayerNorm\.beta$": "LayerNorm.bias"}


@dataclass(frozen=True)
class BertDirectory:
    """`fields` are those of `RcmaConfig`; the names of the file's tensors are BertModel's, without `bert.`."""

    fields: dict[str, Any]
    file: SourceFile


def read_bert(path: str | os.PathLike[str]) -> BertDirectory:
    """Raises CheckpointError with the reason; sizes are judged before any tensor is read."""
    folder = Path(path)
    if not folder.is_dir():
        raise CheckpointError(f"no folder {folder}", expected=WANT)
    told, config_digest = _json(folder / "config.json")
    spelling, tokenizer_digest = _json(folder / "tokenizer_config.json")
    vocabulary, vocabulary_digest = _vocabulary(folder / "vocab.txt")
    fields = _fields(folder, told, spelling, vocabulary)
    _check_weights(folder)
    file = read_source(folder / "model.safetensors")
    digests = {"config.json": config_digest, "tokenizer_config.json": tokenizer_digest, "vocab.txt": vocabulary_digest}
    beside = {name: f"sha256 {digest}" for name, digest in digests.items()}
    name = f"{folder.resolve().name}/{file.name}"
    return BertDirectory(
        fields, replace(file, name=name if name.isprintable() else ascii(name), tensors=_named(file), beside=beside)
    )


def _fields(
    folder: Path, told: Mapping[str, Any], spelling: Mapping[str, Any], vocabulary: tuple[str, ...]
) -> dict[str, Any]:
    problems = []
    for name, (wanted, usual) in AS_PUBLISHED.items():
        found = told.get(name, usual)
        if found != wanted or isinstance(found, bool) != isinstance(wanted, bool):
            problems.append(f"{name} is {_shown(found)}; {wanted!r} is read")
    problems += [f"{name} is missing" for name in (*SIZES, "vocab_size") if name not in told]
    if "vocab_size" in told and told["vocab_size"] != len(vocabulary):
        problems.append(f"vocab_size is {_shown(told['vocab_size'])}, but vocab.txt has {len(vocabulary)} pieces")
    lower_case = spelling.get("do_lower_case")
    if not isinstance(lower_case, bool):
        problems.append("do_lower_case of tokenizer_config.json must be true or false")
    if spelling.get("strip_accents") not in (None, lower_case):
        problems.append(f"strip_accents is {_shown(spelling['strip_accents'])}; read is what do_lower_case says")
    if spelling.get("tokenize_chinese_chars", True) is not True:
        problems.append("tokenize_chinese_chars is not true")
    # Words must not be cut as other pieces are: these are the names by which a sentence begins, ends and is filled.
    for key, piece in {"cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "unk": "[UNK]"}.items():
        found = spelling.get(f"{key}_token", piece)
        found = found.get("content") if isinstance(found, dict) else found
        if found != piece:
            problems.append(f"{key}_token is {_shown(found)}, not {piece}")
    if problems:
        raise _refused(folder, problems)
    fields = {ours: told[theirs] for theirs, ours in SIZES.items()}
    fields |= {"text_vocabulary": vocabulary, "text_lower_case": lower_case}
    positions = told["max_position_embeddings"]
    if isinstance(positions, int) and positions > 0:
        fields["text_lengths"] = tuple(length for length in LENGTHS if length <= positions) or (positions,)
    dropout = told.get("hidden_dropout_prob", 0.1)
    fields["text_dropout"] = dropout
    try:
        RcmaConfig(modalities=("text",), attention="all-raw", **fields)
    except ConfigError as error:
        raise _refused(folder, [line.strip() for line in error.found.splitlines()[1:]]) from None
    return fields


def _check_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    if not weights.is_file():
        older = [
            name for name in ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack") if (folder / name).exists()
        ]
        parts = (folder / "model.safetensors.index.json").exists()
        what = f"only {', '.join(older)}" if older else "its weights in several files" if parts else "no weights"
        code = f"from transformers import BertModel; BertModel.from_pretrained({folder.name!r}).save_pretrained('safe')"
        raise CheckpointError(
            f"{folder} has {what}",
            expected="model.safetensors, one file: pickles are never loaded",
            fix=f'python -c "{code}" && cp {folder.name}/vocab.txt {folder.name}/tokenizer_config.json safe/',
        )
    with weights.open("rb") as file:
        if file.read(9)[8:] != b"{":
            raise CheckpointError(f"{weights} is no safetensors file", expected=WANT, fix="fetch the file again")


def _named(file: SourceFile) -> dict[str, Any]:
    """Without `bert.`, which stands before the names where a head was saved with the network."""
    named: dict[str, Any] = {}
    for name, tensor in file.tensors.items():
        ours = name.removeprefix("bert.")
        for pattern, newer in OLDER.items():
            ours = re.sub(pattern, newer, ours)
        if ours in named:
            raise CheckpointError(f"{file.name} has {_shown(ours)} under two names", expected=WANT)
        named[ours] = tensor
    return named


def _vocabulary(path: Path) -> tuple[tuple[str, ...], str]:
    content = _content(path, MAX_VOCABULARY_BYTES)
    try:
        lines = content.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise CheckpointError(f"{path} is not UTF-8", expected="one piece a line") from None
    pieces = lines if lines[-1] else lines[:-1]
    return tuple(piece.removesuffix("\r") for piece in pieces), hashlib.sha256(content).hexdigest()


def _json(path: Path) -> tuple[dict[str, Any], str]:
    content = _content(path, MAX_JSON_BYTES)
    try:
        told = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON: {error}", expected=WANT) from None
    if not isinstance(told, dict):
        raise CheckpointError(f"{path} holds no JSON object", expected=WANT)
    return told, hashlib.sha256(content).hexdigest()


def _content(path: Path, most: int) -> bytes:
    if not path.is_file():
        raise CheckpointError(f"no {path.name} in {path.parent}", expected=WANT)
    if path.stat().st_size > most:
        raise CheckpointError(f"{path} has {path.stat().st_size} bytes", expected=f"at most {most}")
    return path.read_bytes()


def _refused(folder: Path, problems: list[str]) -> CheckpointError:
    listed = "\n    ".join(problems)
    return CheckpointError(f"the BERT in {folder} cannot be read:\n    {listed}", expected="BERT as it was published")


def _shown(value: object) -> str:
    return ascii(value)[:60] if isinstance(value, (str, int, float, bool, type(None))) else f"a {type(value).__name__}"
