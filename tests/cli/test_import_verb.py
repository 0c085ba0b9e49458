"""`affectrt import`: what is told of a published file, and what is refused before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from doubles.published_rcma import NARROW, ir50_state, network_state, vggish_state

from affectrt.models import load_checkpoint, load_part

Run = Callable[..., Any]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    torch.save(network_state("rjcma-head", NARROW, counters=False), tmp_path / "model_state_dict0.5.pth")
    return tmp_path / "model_state_dict0.5.pth"


def test_a_whole_network_is_accounted_for_and_written(published: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "rjcma.safetensors"
    ran = run("import", published, "--out", out)
    assert ran.code == 0, ran.err
    told = " ".join(ran.out.split())
    assert "model_state_dict0.5.pth: rjcma-head, the whole network, later code" in told
    assert "dropped: spatial.visual.logits (2 tensors): classifier of expressions that the fusion never uses" in told
    assert "dropped: temporal.*.net.0 (18 tensors): the same convolution under a second name" in told
    assert "dropped: dense_coattn.query_linear (6 tensors): computed and thrown away" in told
    assert "tensors that count batches and that the file lacks" in told
    assert "window_steps 20" in told and "video_tcn (12, 10)" in told and "attention all-raw" in told
    assert "licence: not stated in the files" in told
    assert "Its output is called valence by default: the files do not say" in told
    assert ran.out.endswith(f"{out}\n")
    loaded = load_checkpoint(out)
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    assert f"a whole network of rcma, {parameters:,} parameters" in told
    (source,) = loaded.provenance["sources"]
    assert source["file"] == published.name
    assert source["form"] == "rjcma-head"
    assert str(tmp_path) not in str(loaded.provenance)
    assert source["dropped"][0]["label"] == "spatial.visual.logits"


def test_what_the_file_does_not_tell_is_told_by_options(published: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "a.safetensors"
    options = ("--output", "arousal", "--licence", "CC-BY-NC-4.0", "--from", "rjcma-head")
    assert run("import", published, "--out", out, *options).code == 0
    loaded = load_checkpoint(out)
    assert loaded.model.config.to_dict()["outputs"] == ["arousal"]
    assert loaded.provenance["licence"] == "CC-BY-NC-4.0"
    assert "called arousal as told when imported" in loaded.provenance["limits"]


def test_the_same_file_gives_the_same_bytes(published: Path, tmp_path: Path, run: Run) -> None:
    for name in ("a", "b"):
        assert run("import", published, "--out", tmp_path / f"{name}.safetensors").code == 0
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize(("state", "part"), [(ir50_state(NARROW), "ir50"), (vggish_state(NARROW), "vggish")])
def test_a_backbone_becomes_a_part_that_export_refuses(
    state: dict[str, torch.Tensor], part: str, tmp_path: Path, run: Run
) -> None:
    torch.save(state, tmp_path / "backbone.pth")
    out = tmp_path / "part.safetensors"
    ran = run("import", tmp_path / "backbone.pth", "--out", out)
    assert ran.code == 0, ran.err
    assert f"the part {part} of rcma" in ran.out
    assert load_part(out).part.name == part
    ran = run("export", out, "--out", tmp_path / "x.affect")
    assert ran.code == 1
    assert f"part.safetensors holds a part alone, {part}" in ran.err
    assert "a fusion that was trained on both" in ran.err
    assert not (tmp_path / "x.affect").exists()


def test_nothing_is_written_over_without_being_asked(published: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "old.safetensors"
    out.write_bytes(b"old")
    ran = run("import", published, "--out", out)
    assert ran.code == 2
    assert "exists already" in ran.err and "--overwrite" in ran.err
    assert out.read_bytes() == b"old"
    assert run("import", published, "--out", out, "--overwrite").code == 0
    load_checkpoint(out)


def test_wrong_use_is_refused_before_a_file_is_read(tmp_path: Path, run: Run) -> None:
    missing, out = tmp_path / "missing.pth", tmp_path / "x.safetensors"
    for words, told in (
        ((missing, "--out", tmp_path / "x.pth"), "a name that ends in .safetensors"),
        ((missing, "--out", tmp_path / "no" / "x.safetensors"), "mkdir -p"),
        ((missing, "--out", out, "--from", "resnet"), "one of rcma-v1, rjcma-head, res50"),
        ((missing, missing, "--out", out, "--from", "res50"), "--from res50 with 2 files"),
        ((missing, "--out", out, "--output", "joy"), "'joy'"),
        (("--out", out), "Missing argument"),
    ):
        ran = run("import", *words)
        assert ran.code == 2, words
        assert told in ran.err
        assert ran.out == ""


@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_a_damaged_file_leaves_nothing_behind(kept: float, published: Path, tmp_path: Path, run: Run) -> None:
    content = published.read_bytes()
    published.write_bytes(content[: int(len(content) * kept)])
    ran = run("import", published, "--out", tmp_path / "x.safetensors")
    assert ran.code == 1
    assert ran.out == ""
    assert "model_state_dict0.5.pth is cut off or damaged" in ran.err
    assert "Traceback" not in ran.err
    assert list(tmp_path.iterdir()) == [published]


def test_a_local_bert_encodes_the_words_of_a_network(tmp_path: Path, run: Run) -> None:
    from transformers import BertConfig, BertModel

    pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "word")
    config = BertConfig(vocab_size=len(pieces), hidden_size=NARROW.text_dim, num_hidden_layers=4, num_attention_heads=3)
    torch.manual_seed(0)
    BertModel(config).save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(pieces))
    (tmp_path / "bert" / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    torch.save(network_state("rjcma-head", NARROW), tmp_path / "rjcma.pth")
    out = tmp_path / "whole.safetensors"
    ran = run("import", tmp_path / "rjcma.pth", "--text", tmp_path / "bert", "--text-std", 2, "--out", out)
    assert ran.code == 0, ran.err
    told = " ".join(ran.out.split())
    assert "bert/model.safetensors: bert, BERT, the encoder of words" in told
    assert "dropped: pooler (2 tensors): a vector for a whole sentence" in told
    assert "text_vocabulary 5 pieces" in told and "mean and deviation of the words' vectors" in told
    assert load_checkpoint(out).model.contract()["text"]["std"] == 2.0  # type: ignore[index]
    refused = run("import", tmp_path / "rjcma.pth", "--text-std", 2, "--out", tmp_path / "b.safetensors")
    assert refused.code == 2 and "without --text" in refused.err
