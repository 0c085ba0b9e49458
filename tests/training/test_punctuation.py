"""Punctuation is put onto recognised words by a classifier of the user's, which is judged before it is opened."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doubles.punctuation import make_punctuation
from doubles.tiny_bundle import tiny_contract
from hypothesis import given, settings
from hypothesis import strategies as st

from affectrt.bundle import UsageError
from affectrt.runtime.words import Word
from affectrt.runtime.words.sentences import split_sentences
from affectrt.training.punctuation import Punctuation, windows

pytest.importorskip("transformers", reason="the classifier is one of transformers: pip install 'affectrt[export]'")

MARKS = {"good": "0", "day": ".", "well": ",", "what": "?", "is": "0", "it": "-", "##s": ".", "so": ":", "3": "0"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_punctuation(tmp_path_factory.mktemp("models") / "full stop", MARKS)


@pytest.fixture(scope="module")
def punctuation(folder: Path) -> Punctuation:
    return Punctuation(folder)


def said(text: str) -> list[Word]:
    return [Word(one, 0.3 * n, 0.3 * n + 0.25) for n, one in enumerate(text.split())]


def texts(words: tuple[Word, ...]) -> str:
    return " ".join(word.text for word in words)


def test_marks_are_put_onto_words_and_take_no_time(punctuation: Punctuation) -> None:
    words = said("good day well what is it so")
    marked = punctuation.onto(words)
    assert texts(marked) == "good day. well, what? is it so:", "a dash is no mark"
    assert [(w.start_s, w.end_s) for w in marked] == [(w.start_s, w.end_s) for w in words]
    assert punctuation.name == "full stop"


def test_sentences_end_where_marks_end_them(punctuation: Punctuation) -> None:
    text = tiny_contract(text_lengths=(16, 32)).text
    assert text is not None
    words = said("good day well what is it")
    assert len(split_sentences(words, text)) == 1
    sentences = split_sentences(punctuation.onto(words), text)
    assert [texts(sentence) for sentence in sentences] == ["good day.", "well, what?", "is it"]


def test_the_last_piece_of_a_word_decides_and_old_marks_go_but_those_of_numbers(punctuation: Punctuation) -> None:
    assert texts(punctuation.onto(said("its it, day! well? 3.3 3,3 …"))) == "its. it day. well, 3.3 3,3 …"
    assert texts(punctuation.onto(said("? day ."))) == "? day. .", "a word of nothing else stays"
    assert punctuation.onto([]) == ()


def test_a_word_longer_than_the_network_and_one_of_no_piece_do_no_harm(punctuation: Punctuation) -> None:
    long = "3." * 60 + "3"
    assert texts(punctuation.onto(said(f"good {long} day \u200b day"))) == f"good {long} day. \u200b day."


def test_long_transcripts_are_told_in_windows_and_always_alike(punctuation: Punctuation) -> None:
    words = said("good its well what is so day " * 60)
    told: list[tuple[float, float | None]] = []
    marked = punctuation.onto(words, lambda done, of: told.append((done, of)))
    assert texts(marked) == " ".join(["good its. well, what? is so: day."] * 60)
    assert len(told) > 10 and told[-1] == (420, 420) and told == sorted(told)
    assert punctuation.onto(words) == marked


def test_what_a_window_begins_with_is_labelled_in_the_one_before(tmp_path: Path) -> None:
    punctuation = Punctuation(make_punctuation(tmp_path / "m", MARKS, first="?"))
    assert texts(punctuation.onto(said("good is " * 100))) == "good? is " + "good is " * 98 + "good is"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=80), st.integers(1, 30), st.integers(1, 20), st.integers(0, 10))
def test_every_word_counts_in_one_window(pieces: list[int], most: int, words: int, overlap: int) -> None:
    made = list(windows(pieces, most, words, overlap))
    assert [at for w in made for at in range(w.since, w.until)] == list(range(len(pieces)))
    for window in made:
        assert window.begin <= window.since < window.until <= window.end <= len(pieces)
        assert window.end - window.begin <= words
        assert sum(pieces[window.begin : window.end]) <= most or window.end - window.begin == 1


def test_a_seam_has_half_of_the_overlap_on_both_sides() -> None:
    made = list(windows([1] * 1000, 500, 230, 20))
    assert [w.begin for w in made] == [0, 210, 420, 630, 840]
    assert all(w.end - w.until >= 10 for w in made[:-1]) and all(w.since - w.begin >= 10 for w in made[1:])


# -- what is refused -----------------------------------------------------------------------------------------------


def changed(file: str, **fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        told = json.loads((folder / file).read_text())
        told = {name: value for name, value in {**told, **fields}.items() if value is not ...}
        (folder / file).write_text(json.dumps(told))

    return change


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("executed"),))


def as_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Evil()))


def pickle_by_another_name(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(_Evil()) * 100)


def cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-200])


def without_head(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = folder / "model.safetensors"
    save_file({n: t for n, t in load_file(weights).items() if "classifier" not in n}, weights, {"format": "pt"})


def not_finite(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = folder / "model.safetensors"
    save_file({n: t * float("nan") for n, t in load_file(weights).items()}, weights, {"format": "pt"})


def adapted(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')


def wordless(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def garbled(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": {"type": "Evil"}}')


def bloated(folder: Path) -> None:
    (folder / "config.json").write_text(" " * (1 << 21))


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "pickle": (as_pickle, "pickles are never loaded"),
    "pickle named safetensors": (pickle_by_another_name, "cannot be opened"),
    "cut": (cut, "cannot be opened"),
    "no head": (without_head, "classifier.weight is not among the weights"),
    "no labels": (changed("config.json", id2label=...), "no id2label"),
    "default labels": (changed("config.json", id2label={"0": "LABEL_0", "1": "LABEL_1"}), "'LABEL_0'"),
    "labels with a gap": (changed("config.json", id2label={"0": "0", "2": "."}), "without gaps"),
    "no full stop": (changed("config.json", id2label={"0": "0", "1": ","}), "needs 0 (nothing) and . (a full stop)"),
    "fewer labels": (changed("config.json", id2label={"0": "0", "1": "."}), "another shape"),
    "labels of no kind": (changed("config.json", id2label=[["0"]]), "no id2label"),
    "code": (changed("config.json", auto_map={"AutoConfig": "evil.Config"}), "code that would be executed"),
    "code for words": (changed("tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", None]}), "code that"),
    "another family": (changed("config.json", model_type="evil"), "model_type is 'evil'"),
    "another tokenizer": (changed("tokenizer_config.json", tokenizer_class="EvilTokenizer"), "'EvilTokenizer'"),
    "quantised": (changed("config.json", quantization_config={"quant_method": "awq"}), "other packages"),
    "elsewhere": (changed("config.json", transformers_weights="pytorch_model.bin"), "weights in another file"),
    "adapter": (adapted, "adapter"),
    "a billion pieces": (changed("config.json", vocab_size=10**9), "vocab_size is 1000000000"),
    "more than the file": (changed("config.json", vocab_size=10**6), "bytes, too few for 8"),
    "wide inside": (changed("config.json", intermediate_size=10**9), "too few for"),
    "no depth": (changed("config.json", num_hidden_layers="many"), "num_hidden_layers is 'many'"),
    "two positions": (changed("config.json", max_position_embeddings=2), "too few for a sentence"),
    "longest of no kind": (changed("tokenizer_config.json", model_max_length=1), "model_max_length"),
    "no words": (wordless, "no tokenizer.json"),
    "garbled words": (garbled, "cannot be opened"),
    "bloated": (bloated, "at most 1048576"),
}


@pytest.mark.parametrize(("harm", "told"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_folder_that_is_no_classifier_or_means_harm_is_refused(
    harm: Callable[[Path], None], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_punctuation(tmp_path / "model", MARKS)
    harm(folder)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refused:
        Punctuation(folder)
    assert told in str(refused.value)
    assert "expected:" in str(refused.value) and not (tmp_path / "executed").exists()


def test_weights_that_are_no_numbers_are_told_when_they_are_used(tmp_path: Path) -> None:
    folder = make_punctuation(tmp_path / "model", MARKS)
    not_finite(folder)
    with pytest.raises(UsageError, match="numbers that are none"):
        Punctuation(folder).onto(said("good day"))


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no directory"):
        Punctuation(tmp_path / "none")
    with pytest.raises(UsageError, match=r"no config\.json"):
        Punctuation(tmp_path)
