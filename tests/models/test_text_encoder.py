"""A network that reads words: what its configuration may say, how it is kept, and that nothing else changed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from doubles.text_models import PROVENANCE, VOCABULARY, random_text_model, text_config
from safetensors import safe_open

from affectrt.models import CheckpointError, ConfigError, demo_config, load_checkpoint, save_checkpoint
from affectrt.models.rcma import Rcma
from affectrt.models.rcma_config import RcmaConfig

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text_heads": 5}, "text_dim 24 cannot be divided among 5 text_heads"),
        ({"text_layers": 3}, "text_layers 3: a word's vector is a sum over the last 4 layers"),
        ({"text_layers": 49}, "text_layers must be an integer"),
        ({"text_layers": True}, "text_layers must be an integer"),
        ({"text_lengths": (8, 64)}, "text_lengths up to 64, but only 40 text_positions"),
        ({"text_lengths": (16, 8)}, "text_lengths must increase from 4 or more"),
        ({"text_lengths": (8, 8)}, "text_lengths must increase"),
        ({"text_lengths": (2, 8)}, "text_lengths must increase from 4 or more"),
        ({"text_lengths": ()}, "text_lengths must be a tuple"),
        ({"text_lengths": (8, 513), "text_positions": 1024}, r"text_lengths\[1\] must be an integer"),
        ({"text_positions": 10**9}, "text_positions must be an integer"),
        ({"text_intermediate": 0}, "text_intermediate must be an integer"),
        ({"text_dropout": 1.0}, "text_dropout must be a number"),
        ({"text_lower_case": 1}, "text_lower_case must be true or false"),
        ({"text_std": 0.0}, "text_std must be a number"),
        ({"text_mean": float("nan")}, "text_mean must be a number"),
        ({"text_vocabulary": ()}, r"text_vocabulary lacks \[PAD\], \[UNK\], \[CLS\], \[SEP\]"),
        ({"text_vocabulary": VOCABULARY[1:]}, r"text_vocabulary lacks \[PAD\]"),
        ({"text_vocabulary": (*VOCABULARY, "the")}, "has 'the' 2 times"),
        ({"text_vocabulary": (*VOCABULARY, "")}, r"text_vocabulary\[31\] is no piece"),
        ({"text_vocabulary": (*VOCABULARY, "a b")}, "is no piece"),
        ({"text_vocabulary": (*VOCABULARY, "line\n")}, "is no piece"),
        ({"text_vocabulary": (*VOCABULARY, "\u2028")}, "is no piece"),
        ({"text_vocabulary": (*VOCABULARY, "\ud800")}, "is no piece"),
        ({"text_vocabulary": (*VOCABULARY, "x" * 101)}, "is no piece"),
        ({"text_vocabulary": (*VOCABULARY, 7)}, "is no piece"),
        ({"text_vocabulary": (*VOCABULARY, ("a",))}, "is no piece"),
        ({"text_vocabulary": "words"}, "text_vocabulary must be a tuple"),
        ({"text_layers": 0}, "a text_vocabulary is for a text encoder: text_layers is 0"),
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(text_config(), **changes)


def test_it_comes_back_as_it_went(tmp_path: Path) -> None:
    model = random_text_model(text_config())
    save_checkpoint(model, tmp_path / "x.safetensors", PROVENANCE)
    loaded = load_checkpoint(tmp_path / "x.safetensors").model
    assert loaded.config == model.config
    assert not [name for name, value in (*loaded.named_parameters(), *loaded.named_buffers()) if value.is_meta]
    pieces = torch.randint(0, len(VOCABULARY), (2, 16), generator=torch.Generator().manual_seed(0))
    feeds = (pieces, torch.ones_like(pieces), torch.arange(16).expand(2, 16))
    with torch.no_grad():
        assert torch.equal(loaded.encoders["text"](*feeds), model.encoders["text"](*feeds))
    again = tmp_path / "again.safetensors"
    save_checkpoint(loaded, again, PROVENANCE)
    assert again.read_bytes() == (tmp_path / "x.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("count", "letter"), [(30_522, "x"), pytest.param(119_547, "字", marks=pytest.mark.slow, id="a hundred languages")]
)
def test_a_vocabulary_as_large_as_berts_is_kept(tmp_path: Path, count: int, letter: str) -> None:
    pieces = (*VOCABULARY, *(f"{letter * 3}{number}" for number in range(count - len(VOCABULARY))))
    config = text_config(text_vocabulary=pieces, text_dim=4, text_heads=2)
    save_checkpoint(Rcma(config), tmp_path / "x.safetensors", PROVENANCE)
    found: Any = load_checkpoint(tmp_path / "x.safetensors").model.config
    assert found.text_vocabulary == pieces


def test_a_file_whose_vocabulary_is_longer_than_its_table_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = tmp_path / "x.safetensors"
    save_checkpoint(random_text_model(text_config()), path, PROVENANCE)
    with safe_open(path, "pt") as file:
        told = json.loads(file.metadata()["affectrt"])
    told["config"]["text_vocabulary"].append("more")
    save_file(load_file(path), path, {"affectrt": json.dumps(told)})
    with pytest.raises(CheckpointError, match=r"word_embeddings.weight is F32 \[31, 24\], not F32 \[32, 24\]"):
        load_checkpoint(path)


def test_files_from_before_text_had_an_encoder_are_read_and_written_as_they_were() -> None:
    kept = ROOT / "models" / "weights" / "rcma-demo.safetensors"
    with safe_open(kept, "pt") as file:
        told = json.loads(file.metadata()["affectrt"])["config"]
    assert not RcmaConfig.later & told.keys()
    assert load_checkpoint(kept).model.config.to_dict() == told
    assert not RcmaConfig.later & demo_config().to_dict().keys()


def test_the_whole_network_takes_words_at_steps(tmp_path: Path) -> None:
    model = random_text_model(text_config())
    with torch.no_grad():
        found = model(text=torch.randn(2, model.config.window_steps, model.config.text_dim))
    assert found.shape == (2, model.config.window_steps, 2)


def test_words_that_no_piece_belongs_to_have_no_vector() -> None:
    encoder = random_text_model(text_config()).encoders["text"]
    pieces = torch.randint(0, len(VOCABULARY), (1, 8), generator=torch.Generator().manual_seed(1))
    owners = torch.tensor([[0, 1, 3, 3, 0, 0, 0, 0]])
    with torch.no_grad():
        vectors = encoder(pieces, (torch.arange(8) < 5).long()[None], owners)[0]
    assert [bool(vector.any()) for vector in vectors] == [True, False, True, *[False] * 5]


def test_training_reaches_every_weight() -> None:
    encoder = random_text_model(text_config()).encoders["text"].train()
    pieces = torch.arange(len(VOCABULARY))[None]
    encoder(pieces, torch.ones_like(pieces), torch.arange(len(VOCABULARY))[None]).square().sum().backward()
    idle = [name for name, value in encoder.named_parameters() if value.grad is None or not value.grad.any()]
    # A shift of all keys changes no softmax; the second segment is never used, but it shares a tensor with the first.
    assert [name for name in idle if not name.endswith("key.bias")] == []
