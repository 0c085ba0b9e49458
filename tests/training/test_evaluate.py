"""Estimates meet the annotation of their own picture: engines whose right answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from doubles.known_answers import KNOWN, KNOWN_MEANS, grey_corpus, random_truths

from affectrt.bundle.contract import TextModality
from affectrt.bundle.errors import UsageError
from affectrt.training.evaluate import evaluate, modality_sets
from affectrt.training.metrics import ccc

pytest.importorskip("gi")


def _decoded(level: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A grey level after the way through the codec's limited range."""
    return 0.98 * level - 0.012


@pytest.mark.parametrize("fps", [25.0, 12.5])
def test_every_row_meets_the_estimate_of_its_own_picture(tmp_path: Path, fps: float) -> None:
    # neighbouring pictures are unrelated: one step of misalignment would bring the CCC near 0
    evaluation = evaluate(KNOWN, grey_corpus(tmp_path, fps, random_truths(2, 50)), "test")
    for interval in evaluation.ccc.values():
        assert interval.value > 0.99
    assert [(v.name, v.rows, v.estimated) for v in evaluation.videos] == [("clip-0", 50, 50), ("clip-1", 50, 50)]
    assert evaluation.backend == "known" and evaluation.modalities == ("video", "audio")


def test_columns_are_not_swapped(tmp_path: Path) -> None:
    truth = np.stack([np.random.default_rng(1).uniform(-0.8, 0.8, 50), np.full(50, 0.3)], axis=1)
    evaluation = evaluate(KNOWN, grey_corpus(tmp_path, 25.0, [truth]), "test")
    assert evaluation.ccc["valence"].value > 0.99
    assert abs(evaluation.ccc["arousal"].value) < 0.01


def test_a_modality_switched_off_at_the_source_is_zero_to_the_fusion(tmp_path: Path) -> None:
    corpus = grey_corpus(tmp_path, 25.0, random_truths(1, 50))
    without_picture = evaluate(KNOWN, corpus, "test", modalities=("audio",))
    assert without_picture.modalities == ("audio",)
    assert all(interval.value == 0.0 for interval in without_picture.ccc.values())
    assert without_picture.videos[0].estimated == 50
    assert evaluate(KNOWN, corpus, "test", modalities=("video",)).ccc["valence"].value > 0.99
    with pytest.raises(UsageError, match="text"):
        evaluate(KNOWN, corpus, "test", modalities=("text",))


def test_all_modalities_are_scored_together_each_alone_and_of_three_the_pairs() -> None:
    contract = KNOWN.contract
    text = TextModality(feature_dim=4)
    assert modality_sets(contract) == (("video", "audio"), ("video",), ("audio",))
    assert modality_sets(contract.model_copy(update={"audio": None})) == (("video",),)
    assert modality_sets(contract.model_copy(update={"video": None, "text": text})) == (
        ("audio", "text"),
        ("audio",),
        ("text",),
    )
    assert modality_sets(contract.model_copy(update={"text": text})) == (
        ("video", "audio", "text"),
        ("video",),
        ("audio",),
        ("text",),
        ("video", "audio"),
        ("video", "text"),
        ("audio", "text"),
    )


def test_rows_that_are_not_annotated_do_not_count(tmp_path: Path) -> None:
    corpus = grey_corpus(tmp_path, 25.0, random_truths(1, 50))
    labels = tmp_path / "6th_ABAW_Annotations" / "VA" / "test" / "clip-0.txt"
    rows = labels.read_text().splitlines()
    rows[11:21] = ["-5,-5"] * 10
    labels.write_text("\n".join(rows) + "\n")
    evaluation = evaluate(KNOWN, corpus, "test")
    assert evaluation.videos[0].rows == 40
    assert evaluation.ccc["valence"].value > 0.99


def test_scores_are_in_the_form_of_a_manifest(tmp_path: Path) -> None:
    accuracy = evaluate(
        KNOWN, grey_corpus(tmp_path, 25.0, random_truths(2, 50)), "test", corpus_name="grey"
    ).as_accuracy()
    assert accuracy.videos == 2 and accuracy.precision == "fp32" and accuracy.corpus == "grey, test, video+audio"
    assert set(accuracy.ccc) == {"valence", "arousal"}
    assert accuracy.ccc["valence"].low is not None


def test_a_window_mean_meets_the_mean_of_the_annotation_over_its_window(tmp_path: Path) -> None:
    """Expected from the pictures alone: the first clips repeat their first picture, the means are cut there."""
    truths = [np.repeat(levels, 5, axis=0) for levels in random_truths(2, 10)]
    evaluation = evaluate(KNOWN_MEANS, grey_corpus(tmp_path, 25.0, truths), "test", corpus_name="grey")
    estimated, true = [], []
    for truth in truths:
        for k in range(50):
            estimated.append(truth[[max(0, j) for j in range(k - 11, k + 1)]].mean(axis=0))
            true.append(truth[max(0, k - 11) : k + 1].mean(axis=0))
    want = [ccc(_decoded(np.array(estimated)[:, d]), np.array(true)[:, d]) for d in (0, 1)]
    assert [interval.value for interval in evaluation.ccc.values()] == pytest.approx(want, abs=0.01)
    assert [(v.rows, v.estimated) for v in evaluation.videos] == [(50, 50)] * 2
    assert evaluation.described_steps == 12
    assert evaluation.as_accuracy().corpus == "grey, test, video+audio, window means of 12 steps"


def test_a_window_mean_is_that_of_its_annotated_steps_and_none_is_not_scored(tmp_path: Path) -> None:
    truth = np.zeros((50, 2))
    truth[30:] = 0.6
    corpus = grey_corpus(tmp_path, 25.0, [truth])
    labels = tmp_path / "6th_ABAW_Annotations" / "VA" / "test" / "clip-0.txt"
    rows = labels.read_text().splitlines()
    # pictures 10 to 29 are not annotated: those that end at 21 to 29 have no annotated step
    rows[11:31] = ["-5,-5"] * 20
    labels.write_text("\n".join(rows) + "\n")
    (score,) = evaluate(KNOWN_MEANS, corpus, "test").videos
    assert (score.rows, score.estimated) == (41, 41)
    described = [0.0] * 21 + [0.6] * 20
    shown = [truth[max(0, k - 11) : k + 1, 0].mean() for k in [*range(21), *range(30, 50)]]
    assert score.ccc["valence"] == pytest.approx(ccc(_decoded(np.array(shown)), np.array(described)), abs=0.01)
