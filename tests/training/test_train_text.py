"""Text in training: the vocabulary, words on steps, the encoder's phase, the scale of its vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

from affectrt.bundle.contract import Contract  # noqa: E402
from affectrt.bundle.errors import AffectError  # noqa: E402
from affectrt.models.rcma import Rcma  # noqa: E402
from affectrt.models.sizes import text_demo_config  # noqa: E402
from affectrt.runtime.words import Word  # noqa: E402
from affectrt.training.features import features_of  # noqa: E402
from affectrt.training.recipe import TextRecipe  # noqa: E402
from affectrt.training.recordings import Spans  # noqa: E402
from affectrt.training.synthetic.lexicon import every_word  # noqa: E402
from affectrt.training.text import on_steps, parts_of, pieces_of_network, word_vectors, words_of_steps  # noqa: E402
from affectrt.training.train_encoders import Example  # noqa: E402
from affectrt.training.train_text import TextTask, vector_scale  # noqa: E402
from affectrt.training.vocabulary import demo_vocabulary  # noqa: E402

VOCABULARY = demo_vocabulary()
UNKNOWN = VOCABULARY.index("[UNK]")
RECIPE = TextRecipe(epochs=1, batches=30, batch=16, learning_rate=2e-3, unknown=0.1)


def example(words: Sequence[Word], truth: np.ndarray) -> Example:
    steps = len(truth)
    shown = np.full((steps, 1), -1, np.int32)
    silent = np.full(steps, -1, np.int64)
    spans = Spans(np.zeros((0, 0, 0, 3), np.uint8), shown, np.zeros(0, np.float32), silent, 0, tuple(words))
    return Example(spans, truth.astype(np.float32))


def network() -> tuple[Rcma, Contract]:
    torch.manual_seed(0)
    model = Rcma(dataclasses.replace(text_demo_config(VOCABULARY), text_dim=32, text_intermediate=32))
    return model, Contract.model_validate(model.contract())


def talk(rng: np.random.Generator, seconds: int = 16) -> Example:
    """Two words a second; which adjective it is says valence, how the sentence ends says arousal."""
    words, truth = [], np.zeros((seconds * 25, 2))
    for at in range(0, seconds, 2):
        pleased, roused = rng.random() < 0.5, rng.random() < 0.5
        said = ["They", "feel", "lovely" if pleased else "awful", "today!" if roused else "today."]
        words += [Word(word, at + k / 2, at + k / 2 + 0.4) for k, word in enumerate(said)]
        truth[at * 25 : (at + 2) * 25] = [0.6 if pleased else -0.6, 0.6 if roused else -0.6]
    return example(words, truth + rng.normal(0, 0.05, truth.shape))


def test_the_vocabulary_is_always_the_same_has_every_word_whole_and_spells_all_others() -> None:
    assert demo_vocabulary() == VOCABULARY and len(set(VOCABULARY)) == len(VOCABULARY)
    assert VOCABULARY[0] == "[PAD]"  # BERT's padding
    pieces = pieces_of_network(network()[0])
    assert pieces is not None
    assert all(len(pieces.of(word)) == 1 for word in every_word())
    assert len(pieces.of("Lovely!")) == 2 and len(pieces.of("lovely")) == 1
    for word in ("zyzzyva", "well-known", "don't", "qu1x", "Ångström"):
        assert UNKNOWN not in pieces.of(word), word
    assert pieces.of("дом") == [UNKNOWN]


def test_a_step_has_the_first_word_that_begins_before_it_and_ends_at_it_or_later() -> None:
    words = [Word("a", 0.04, 0.12), Word("b", 0.08, 0.2), Word("c", 0.28, 0.32)]
    assert words_of_steps(words, 10, 25.0).tolist() == [-1, -1, 0, 0, 1, 1, -1, -1, 2, -1]
    assert words_of_steps([], 3, 25.0).tolist() == [-1, -1, -1]


def test_features_of_a_recording_are_its_words_vectors_scaled_under_their_steps_and_zero_elsewhere() -> None:
    model, _ = network()
    model.config = dataclasses.replace(model.config, text_mean=0.25, text_std=2.0)
    contract = Contract.model_validate(model.contract())
    words = [Word("They", 0.0, 0.2), Word("feel", 0.2, 0.4), Word("lovely.", 0.4, 0.8), Word("Today", 1.0, 1.2)]
    only_text = contract.model_copy(update={"video": None, "audio": None})
    features = features_of(model, only_text, example(words, np.zeros((40, 2))), 1, mirrored=True)
    (rows,) = features.variants["text"]
    pieces = pieces_of_network(model)
    assert pieces is not None and contract.text is not None
    model.eval()
    vectors = []
    for sentence in (["They", "feel", "lovely."], ["Today"]):
        (feeds,) = pieces.parts(sentence)
        with torch.inference_mode():
            vectors.append(model.encoders["text"](*(torch.from_numpy(feeds[n][None]) for n in feeds))[0].numpy())
    wanted = np.zeros((40, 32), np.float32)
    for step in range(40):
        t = step / 25
        for word, vector in zip(words, [*vectors[0][:3], vectors[1][0]], strict=True):
            if word.start_s < t <= word.end_s:
                wanted[step] = (vector - 0.25) / 2.0
                break
    np.testing.assert_allclose(rows, wanted, atol=1e-5)
    assert (rows[0] == 0).all() and (rows[22] == 0).all() and (rows[30:] != 0).any(axis=1).sum() == 1


def test_padding_a_batch_to_its_longest_sentence_changes_no_word() -> None:
    model, contract = network()
    pieces = pieces_of_network(model)
    assert pieces is not None and contract.text is not None
    long = [Word("lovely", k / 4, k / 4 + 0.2) for k in range(30)] + [Word("awful.", 8.0, 8.2)]
    short = [Word("Awful", 9.0, 9.2)]
    together = word_vectors(model.encoders["text"], parts_of([*long, *short], pieces, contract.text), 32)
    alone = word_vectors(model.encoders["text"], parts_of(short, pieces, contract.text), 32)
    np.testing.assert_allclose(together[-1], alone[0], atol=1e-5)


def test_the_encoder_learns_what_its_words_say() -> None:
    rng = np.random.default_rng(0)
    model, contract = network()
    pieces = pieces_of_network(model)
    assert pieces is not None
    task = TextTask(
        model.encoders["text"], contract, pieces, [talk(rng) for _ in range(4)], [talk(rng)], RECIPE, UNKNOWN
    )
    optimiser = torch.optim.Adam(task.module.parameters(), lr=2e-3)
    task.module.train()
    for _ in range(40):
        optimiser.zero_grad()
        task.loss(rng).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert min(task.score()) > 0.8


def test_a_hidden_word_is_hidden_whole_and_nothing_else_is() -> None:
    model, contract = network()
    pieces = pieces_of_network(model)
    assert pieces is not None
    seen: list[torch.Tensor] = []

    class Watching(torch.nn.Module):
        def forward(self, token_ids: torch.Tensor, mask: torch.Tensor, word_index: torch.Tensor) -> torch.Tensor:
            seen.append(token_ids)
            whole = {int(n): token_ids[0][word_index[0] == n] for n in word_index[0].unique()}
            for word, ids in whole.items():
                assert word == 0 or bool((ids == UNKNOWN).all()) or not bool((ids == UNKNOWN).any())
            return torch.randn(*token_ids.shape, 32, requires_grad=True)

    words = [Word(w, k / 2, k / 2 + 0.4) for k, w in enumerate(["zyzzyva", "feel", "lovely", "quux", "awful."])]
    one = example(words, np.random.default_rng(1).normal(0, 0.3, (80, 2)))
    recipe = RECIPE.model_copy(update={"unknown": 0.5, "batch": 1})
    task = TextTask(Watching(), contract, pieces, [one], [one], recipe, UNKNOWN)
    rng = np.random.default_rng(2)
    for _ in range(20):
        task.loss(rng)
    hidden = torch.cat(seen) == UNKNOWN
    assert float(hidden.any(dim=0).float().mean()) > 0.2 and not bool(hidden[:, 0].any())


def test_the_scale_is_that_of_all_vectors_under_the_training_steps() -> None:
    model, contract = network()
    pieces = pieces_of_network(model)
    rng = np.random.default_rng(3)
    assert pieces is not None and contract.text is not None
    examples = [talk(rng, 4), talk(rng, 6)]
    mean, std = vector_scale(model.encoders["text"], contract, pieces, examples)
    under = []
    for e in examples:
        vectors = word_vectors(model.encoders["text"], parts_of(e.spans.words, pieces, contract.text), 32)
        of_step = words_of_steps(e.spans.words, e.spans.steps, 25.0)
        under.append(vectors[of_step[of_step >= 0]])
    every = np.concatenate(under)
    assert mean == pytest.approx(every.mean(), abs=1e-5) and std == pytest.approx(every.std(), rel=1e-4)
    scaled = contract.text.model_copy(update={"mean": mean, "std": std})
    rows = on_steps(vectors, of_step, scaled)
    assert np.abs(rows[of_step < 0]).max(initial=0) == 0 and rows[of_step >= 0].std() == pytest.approx(1, abs=0.2)


def test_training_without_a_word_says_where_words_come_from() -> None:
    model, contract = network()
    pieces = pieces_of_network(model)
    assert pieces is not None
    silent = example((), np.zeros((50, 2)))
    with pytest.raises(AffectError, match="spoken = true"):
        TextTask(model.encoders["text"], contract, pieces, [silent], [silent], RECIPE, UNKNOWN)
