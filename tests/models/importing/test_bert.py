"""A local BERT in Hugging Face's layout: read whole and by name into a network that takes words, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from doubles.published_rcma import NARROW, network_state, vggish_state
from doubles.text_models import BERT_WIDTH, VOCABULARY, make_bert

from affectrt.models import CheckpointError, load_checkpoint
from affectrt.models.importing import Imported, import_files, import_text

WIDTH, POSITIONS = BERT_WIDTH, 24
Run = Callable[..., Any]
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders as transformers writes them: BertModel, with a pooler, and BertForMaskedLM, with a head."""
    root = tmp_path_factory.mktemp("hub")
    make_bert(root / "plain")
    make_bert(root / "masked", head=True)
    return root


@pytest.fixture
def bert(kept: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    for source in (kept / "masked").iterdir():
        (tmp_path / "bert").mkdir(exist_ok=True)
        (tmp_path / "bert" / source.name).write_bytes(source.read_bytes())
    return tmp_path / "bert"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rcma") / "model_state_dict0.5.pth"
    torch.save(network_state("rjcma-head", replace(NARROW, text_dim=WIDTH)), path)
    return path


@pytest.fixture(scope="module")
def network(published: Path) -> Imported:
    return import_files([published])


def rewrite(path: Path, change: Change) -> None:
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def refusal(network: Imported, folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        import_text(network, folder)
    return str(caught.value)


@pytest.mark.parametrize("name", ["plain", "masked"])
def test_words_are_the_sum_of_the_last_four_layers_of_transformers_own_network(
    network: Imported, kept: Path, name: str
) -> None:
    from transformers import BertModel

    made = import_text(network, kept / name)
    theirs = BertModel.from_pretrained(kept / name).eval()
    pieces = torch.tensor([[2, 7, 8, 9, 5, 3]])
    owners = torch.tensor([[0, 1, 2, 2, 3, 0]])
    with torch.no_grad():
        states = theirs(pieces, output_hidden_states=True).hidden_states
        found = made.module.get_submodule("encoders.text")(pieces, torch.ones_like(pieces), owners)[0]
    summed = torch.stack(states[-4:]).sum(0)[0]
    wanted = torch.stack([summed[1], summed[2:4].mean(0), summed[4]])
    assert torch.allclose(found[:3], wanted, atol=1e-5)
    assert (found[3:] == 0).all()


def test_the_result_is_a_checkpoint_that_says_where_its_words_come_from(
    network: Imported, kept: Path, tmp_path: Path
) -> None:
    made = import_text(network, kept / "masked", mean=0.25, std=1.5)
    made.save(tmp_path / "x.safetensors")
    loaded = load_checkpoint(tmp_path / "x.safetensors")
    config: Any = loaded.model.config
    assert (config.text_layers, config.text_lengths, config.text_mean, config.text_std) == (4, (16,), 0.25, 1.5)
    assert config.text_vocabulary == VOCABULARY
    contract: Any = loaded.model.contract()
    assert contract["text"]["stage"] == "text" and contract["text"]["lower_case"] is True
    bert = loaded.provenance["sources"][-1]
    assert bert["file"] == "masked/model.safetensors" and len(bert["sha256"]) == 64
    assert set(bert["beside"]) == {"config.json", "tokenizer_config.json", "vocab.txt"}
    assert [group["label"] for group in bert["dropped"]] == ["cls"]
    assert "of the BERT: not stated" in loaded.provenance["licence"]
    assert str(tmp_path) not in str(loaded.provenance) and str(kept) not in str(loaded.provenance)


def test_the_first_files_names_of_norms_are_known(network: Imported, bert: Path) -> None:
    weights = safetensors.torch.load_file(bert / "model.safetensors")
    older = {"weight": "gamma", "bias": "beta"}
    renamed = {
        name.replace(f"LayerNorm.{ends}", f"LayerNorm.{older[ends]}") if f"LayerNorm.{ends}" in name else name: tensor
        for name, tensor in weights.items()
        for ends in [name.rsplit(".", 1)[-1]]
    }
    assert set(renamed) != set(weights)
    before = import_text(network, bert).module.state_dict()
    safetensors.torch.save_file(renamed, bert / "model.safetensors")
    after = import_text(network, bert).module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_every_tensor_is_accounted_for(network: Imported, bert: Path) -> None:
    weights = safetensors.torch.load_file(bert / "model.safetensors")
    gone = "bert.encoder.layer.1.attention.self.key.weight"
    wrong = "bert.embeddings.position_embeddings.weight"
    del weights[gone]
    weights[wrong] = weights[wrong][:-1].contiguous()
    weights["adapter.down.weight"] = torch.zeros(3)
    safetensors.torch.save_file(weights, bert / "model.safetensors")
    told = refusal(network, bert)
    assert f"missing: {gone.removeprefix('bert.')}" in told
    assert "unexpected: adapter.down.weight" in told
    assert f"embeddings.position_embeddings.weight is F32 [{POSITIONS - 1}, {WIDTH}], not F32" in told


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model_type", "roberta", "model_type is 'roberta'"),
        ("hidden_act", "relu", "hidden_act is 'relu'; 'gelu' is read"),
        ("hidden_act", ["gelu"], "hidden_act is a list"),
        ("position_embedding_type", "relative_key", "position_embedding_type is 'relative_key'"),
        ("layer_norm_eps", 1e-5, "layer_norm_eps is 1e-05"),
        ("is_decoder", True, "is_decoder is True"),
        ("is_decoder", 0, "is_decoder is 0"),
        ("type_vocab_size", 1, "type_vocab_size is 1"),
        ("vocab_size", 30_522, f"vocab_size is 30522, but vocab.txt has {len(VOCABULARY)} pieces"),
        ("num_attention_heads", 5, "cannot be divided among 5"),
        ("num_attention_heads", 0, "text_heads must be an integer"),
        ("num_hidden_layers", 3, "a sum over the last 4 layers"),
        ("num_hidden_layers", 10**9, "text_layers must be an integer"),
        ("hidden_size", 10**12, "text_dim must be an integer"),
        ("intermediate_size", -1, "text_intermediate must be an integer"),
        ("intermediate_size", [40], "text_intermediate must be an integer"),
        ("max_position_embeddings", 10**30, "text_positions must be an integer"),
        ("max_position_embeddings", {"a": 1}, "text_positions must be an integer"),
        ("hidden_dropout_prob", "much", "text_dropout must be a number"),
    ],
)
def test_another_network_than_bert_is_refused_before_memory_is_taken(
    network: Imported, bert: Path, field: str, value: object, message: str
) -> None:
    (bert / "model.safetensors").write_bytes(b"never read")
    rewrite(bert / "config.json", lambda told: told.update({field: value}))
    assert message in refusal(network, bert)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda told: told.pop("do_lower_case"), "do_lower_case of tokenizer_config.json must be true or false"),
        (lambda told: told.update(strip_accents=False), "strip_accents is False"),
        (lambda told: told.update(tokenize_chinese_chars=False), "tokenize_chinese_chars is not true"),
        (lambda told: told.update(cls_token="<s>"), "cls_token is '<s>', not [CLS]"),
    ],
)
def test_words_that_would_be_cut_otherwise_are_refused(
    network: Imported, bert: Path, change: Change, message: str
) -> None:
    rewrite(bert / "tokenizer_config.json", change)
    assert message in refusal(network, bert)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"[1]", "holds no JSON object"),
        ("config.json", b"{", "is no JSON"),
        ("config.json", b"[" * 100_000, "is no JSON"),
        ("config.json", b" " * (1 << 21), "bytes"),
        ("vocab.txt", b"\xff\xfe", "is not UTF-8"),
        ("vocab.txt", "\n".join((*VOCABULARY[:-1], "the")).encode(), "has 'the' 2 times"),
        ("vocab.txt", "\n".join((*VOCABULARY[:-1], "two words")).encode(), "is no piece"),
        ("vocab.txt", "\n".join(("[NONE]", *VOCABULARY[1:])).encode(), "lacks [PAD]"),
        ("model.safetensors", b"\x80\x02 pickled", "is no safetensors file"),
        ("model.safetensors", b"PK\x03\x04", "is no safetensors file"),
    ],
)
def test_a_damaged_folder_is_refused(network: Imported, bert: Path, name: str, content: bytes, message: str) -> None:
    (bert / name).write_bytes(content)
    assert message in refusal(network, bert)


@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"])
def test_what_is_missing_is_named(network: Imported, bert: Path, name: str) -> None:
    (bert / name).unlink()
    assert name in refusal(network, bert)


def test_a_pickle_is_refused_with_the_command_that_converts_it(network: Imported, bert: Path) -> None:
    (bert / "model.safetensors").rename(bert / "pytorch_model.bin")
    told = refusal(network, bert)
    assert "only pytorch_model.bin" in told and "save_pretrained('safe')" in told


def test_numbers_that_are_none_are_refused(network: Imported, bert: Path) -> None:
    weights = safetensors.torch.load_file(bert / "model.safetensors")
    weights["bert.embeddings.LayerNorm.bias"][0] = float("nan")
    safetensors.torch.save_file(weights, bert / "model.safetensors")
    assert "NaN or infinity in embeddings.LayerNorm.bias" in refusal(network, bert)


def test_a_network_that_takes_other_vectors_or_no_words_is_refused(kept: Path, tmp_path: Path) -> None:
    torch.save(network_state("rjcma-head", NARROW), tmp_path / "other.pth")
    told = refusal(import_files([tmp_path / "other.pth"]), kept / "plain")
    assert f"gives vectors of {WIDTH} numbers" in told and f"expected: {NARROW.text_dim}" in told
    torch.save(vggish_state(NARROW), tmp_path / "part.pth")
    assert "a BERT for the part vggish" in refusal(import_files([tmp_path / "part.pth"]), kept / "plain")


def test_a_deviation_of_none_is_refused(network: Imported, kept: Path) -> None:
    with pytest.raises(CheckpointError, match="text_std must be a number"):
        import_text(network, kept / "plain", std=0.0)
