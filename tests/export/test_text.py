"""An exported text encoder computes what BERT's published equations say, for whatever people may have said."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from doubles.text_bundle import text_bundle
from doubles.text_models import PROVENANCE, VOCABULARY, bert_features, random_text_model, text_config

from affectrt.bundle import Bundle, ParityError
from affectrt.export import export_bundle, operator_problems
from affectrt.export.exporter import export_stage
from affectrt.export.sentences import random_sentences
from affectrt.models import load_checkpoint, save_checkpoint
from affectrt.runtime.words.pieces import Pieces, padded, pieces_of

ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-4
SPECIAL = (VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]"))
SAID = (
    "well-known sunny day",
    "i don't know it's raining",
    "zyzzyva the blorp naïve 日本",
    "sunshine",
    "I am VERY happy today. The sun is sunnyly!",
    "a",
    " ".join(["the"] * 30),
    " ".join(["sunshine"] * 15),
)


@pytest.fixture(scope="module")
def model() -> Any:
    return random_text_model(text_config())


@pytest.fixture(scope="module")
def bundle() -> Iterator[Bundle]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield text_bundle(ROOT / "build" / "doubles")
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def session(bundle: Bundle) -> ort.InferenceSession:
    content = bundle.read(bundle.graph_for("text", "fp32"))
    return ort.InferenceSession(content, providers=["CPUExecutionProvider"])


def run(session: ort.InferenceSession, feeds: Any) -> np.ndarray:
    return session.run(None, {name: feed[None] for name, feed in feeds.items()})[0][0]


@pytest.fixture(scope="module")
def pieces(bundle: Bundle) -> Pieces:
    found = pieces_of(bundle)
    assert found is not None
    return found


def reference(model: Any, pieces: Pieces, words: list[str]) -> np.ndarray:
    weights = {name: value.numpy() for name, value in model.encoders["text"].bert.state_dict().items()}
    return bert_features(weights, [pieces.of(word) for word in words], model.config.text_heads, SPECIAL)


@pytest.mark.parametrize("said", SAID)
def test_the_graph_equals_the_published_equations_in_float64(
    model: Any, session: ort.InferenceSession, pieces: Pieces, said: str
) -> None:
    words = said.split()
    (feeds,) = pieces.parts(words)
    wanted = reference(model, pieces, words)
    found = run(session, feeds)
    assert np.abs(found[: len(words)] - wanted).max() <= TOLERANCE * np.abs(wanted).max()
    assert (found[len(words) :] == 0).all()


def test_random_sentences_equal_the_published_equations(
    model: Any, session: ort.InferenceSession, pieces: Pieces
) -> None:
    rng = np.random.default_rng(3)
    vocabulary = [piece for piece in VOCABULARY if piece.isalpha()] + ["qqq", "sun-day", "it's", "don't", "rain-ing"]
    worst = 0.0
    for _ in range(25):
        words = [str(word) for word in rng.choice(vocabulary, int(rng.integers(1, 28)))]
        rows = [run(session, feeds) for feeds in pieces.parts(words)]
        counts = [int(feeds["word_index"].max()) for feeds in pieces.parts(words)]
        assert sum(counts) == len(words)
        start = 0
        for row, count in zip(rows, counts, strict=True):
            wanted = reference(model, pieces, words[start : start + count])
            worst = max(worst, float(np.abs(row[:count] - wanted).max() / np.abs(wanted).max()))
            start += count
    assert worst <= TOLERANCE


def test_the_longest_sentence_fills_the_longest_length(pieces: Pieces, model: Any) -> None:
    (feeds,) = pieces.parts(["the"] * 30)
    assert feeds["mask"].sum() == model.config.text_lengths[-1]


def test_nothing_said_asks_for_no_run(pieces: Pieces) -> None:
    assert pieces.parts([]) == []


def test_ten_thousand_words_are_ten_thousand_vectors(session: ort.InferenceSession, pieces: Pieces) -> None:
    words = ["sunshine", "don't", "a"] * 3334
    parts = pieces.parts(words)
    longest = max(len(feeds["mask"]) for feeds in parts)
    batch = [padded(feeds, longest) for feeds in parts]
    found = session.run(None, {name: np.stack([feeds[name] for feeds in batch]) for name in batch[0]})[0]
    assert np.isfinite(found).all()
    assert (np.abs(found).max(axis=2) > 0).sum() == len(words)


def test_padding_and_company_change_no_word(session: ort.InferenceSession, pieces: Pieces) -> None:
    (alone,) = pieces.parts(["well-known", "sun"])
    (other,) = pieces.parts(["raining"] * 14)
    wanted = run(session, alone)[:2]
    batch = {name: np.stack([padded(alone, 32)[name], padded(other, 32)[name]]) for name in alone}
    found = session.run(None, batch)[0][0]
    assert np.abs(found[:2] - wanted).max() < 1e-5
    assert (found[2:] == 0).all()


def test_the_bundle_carries_the_vocabulary(bundle: Bundle) -> None:
    attachment = bundle.manifest.attachments["vocabulary"]
    assert attachment.file == "text/vocabulary.txt"
    assert bundle.read(attachment).decode().splitlines() == list(VOCABULARY)


def test_tensorrt_takes_the_graph_and_norms_are_whole(bundle: Bundle, model: Any) -> None:
    graph = onnx.load_from_string(bundle.read(bundle.graph_for("text", "fp32")))
    assert operator_problems(graph) == []
    kinds = [node.op_type for node in graph.graph.node]
    assert kinds.count("LayerNormalization") == 1 + 2 * model.config.text_layers
    assert not {"GatherND", "If", "Where", "Loop", "ReduceMean", "Erf", "Pow", "Sqrt"} & set(kinds)
    axes = [[axis.dim_param for axis in value.type.tensor_type.shape.dim] for value in graph.graph.input]
    assert axes == [["batch", "tokens"]] * 3


def test_a_length_that_computes_something_else_is_found(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from affectrt.bundle import Contract
    from affectrt.export import exporter

    class Longer(torch.nn.Module):
        """What is exported has one more word than what it is compared with, but in the longest length alone."""

        def forward(self, token_ids: torch.Tensor, mask: torch.Tensor, word_index: torch.Tensor) -> torch.Tensor:
            places = (word_index > 0).sum(dim=1, keepdim=True).to(torch.float32)
            extra = 0.0 if torch.compiler.is_compiling() or token_ids.shape[1] < 32 else 1.0
            return places[:, :, None].expand(-1, token_ids.shape[1], 24) + extra

    contract = Contract.model_validate(model.contract())
    assert contract.text is not None
    monkeypatch.setattr(exporter, "check_operators", lambda *_: None)
    with pytest.raises(ParityError, match="stage 'text'"):
        export_stage("text", Longer(), contract, random_sentences(contract.text, len(VOCABULARY)))


def test_random_sentences_show_every_length() -> None:
    from affectrt.bundle.contract import TextModality

    text = TextModality(stage="text", feature_dim=4, token_lengths=(4, 16, 128))
    rows = random_sentences(text, 50)
    used = rows["mask"].sum(axis=1)
    assert {4, 16, 128} <= set(used) and used.min() <= 4
    for row, count in enumerate(used):
        assert rows["mask"][row, :count].all() and not rows["token_ids"][row, count:].any()
        owners = rows["word_index"][row]
        assert owners[0] == owners[count - 1] == 0 and (np.diff(owners[1 : count - 1]) >= 0).all()
        assert owners.max() >= 1


@pytest.mark.slow
def test_a_checkpoint_of_three_modalities_becomes_a_bundle(tmp_path: Path) -> None:
    model = random_text_model(dataclasses.replace(text_config(), modalities=("video", "audio", "text")))
    save_checkpoint(model, tmp_path / "x.safetensors", PROVENANCE)
    rng = np.random.default_rng(0)
    config = model.config
    recordings = {
        "video": {"frames": rng.integers(0, 256, (2, config.crop_px, config.crop_px, 3), dtype=np.uint8)},
        "audio": {"waveform": rng.uniform(-1, 1, (2, 15_600)).astype(np.float32)},
        "fusion": {
            name: rng.standard_normal((2, config.window_steps, dim)).astype(np.float32)
            for name, dim in config.feature_dims.items()
        },
    }
    made = export_bundle(load_checkpoint(tmp_path / "x.safetensors"), tmp_path / "x.affect", recordings=recordings)
    assert made.contract.stages == ("video", "audio", "text", "fusion")
