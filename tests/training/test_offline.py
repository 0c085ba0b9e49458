"""Offline windows: what a session says, what the authors' windows say, and whether the two are told apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from doubles.known_answers import CLIPS, CONTRACT, KNOWN, KNOWN_MEANS, grey_corpus, random_truths
from doubles.tiny_experiments import tiny_opened
from doubles.toy_prepared import make_toy_corpus

from affectrt.bundle.errors import EngineError, UsageError
from affectrt.runtime import Request
from affectrt.training.evaluate import Opened, evaluate, examine
from affectrt.training.evaluation import agreements
from affectrt.training.offline import StepFeatures, Stretch, estimates_of, published_hop
from affectrt.training.prepared import PreparedCorpus

BOTH = (("video", "audio"), ("video",), ("audio",))


@pytest.mark.parametrize(("system", "lengths"), [("rcma", (47, 12)), ("cav", (145,))])
def test_stream_and_offline_windows_of_a_prepared_corpus_agree(
    tmp_path: Path, system: str, lengths: tuple[int, ...]
) -> None:
    """Faces that are missing at the beginning, for longer than they are held, and at the end."""
    opened = tiny_opened(system)
    last = min(lengths) - 1
    root = make_toy_corpus(
        tmp_path, opened.contract, train=(), validation=lengths, unseen=(0, 1, *range(4, min(10, last)), last)
    )
    found = examine(
        opened, PreparedCorpus.open(root), "validation", sets=BOTH, windows=("stream", "offline"), unlabelled=True
    )
    told = agreements(found)
    assert [a.modalities for a in told] == list(BOTH)
    for agreement in told:
        assert agreement.agree and agreement.steps > 0, agreement
        assert agreement.largest <= 1e-5
    spread = np.nanmax(found[0].played[0].dense) - np.nanmin(found[0].played[0].dense)
    assert spread > 1e-4, "estimates that never change would agree whatever their windows"
    assert not np.allclose(found[0].played[0].dense[-1], found[1].played[0].dense[-1]), "a modality that tells nothing"


def test_stream_and_offline_windows_of_media_agree(tmp_path: Path) -> None:
    pytest.importorskip("gi")
    corpus = grey_corpus(tmp_path, 25.0, random_truths(1, 50))
    for opened in (KNOWN, KNOWN_MEANS):
        found = examine(opened, corpus, sets=(("video", "audio"),), windows=("stream", "offline"))
        (agreement,) = agreements(found)
        assert agreement.agree and agreement.steps == 50
        assert found[0].evaluation.ccc == found[1].evaluation.ccc


def test_windows_that_differ_are_said_to_differ(tmp_path: Path) -> None:
    opened = _prepared_known(tmp_path)
    found = examine(*opened, "validation", sets=(("video", "audio"),), windows=("stream", "offline"))
    (agreement,) = agreements(found)
    assert agreement.agree
    other = found[1].played[0]
    moved = dataclasses.replace(found[1], played=(dataclasses.replace(other, dense=other.dense + 2e-5),))
    (agreement,) = agreements([found[0], moved])
    assert not agreement.agree and agreement.largest == pytest.approx(2e-5, rel=1e-3)
    assert agreement.video == "validation-000"
    shorter = dataclasses.replace(found[1], played=(dataclasses.replace(other, dense=other.dense[:-3]),))
    (agreement,) = agreements([found[0], shorter])
    assert not agreement.agree and agreement.alone == 3


def test_published_windows_are_averaged_where_they_overlap() -> None:
    """Against a plain count: the fusion says how far down its window a row is."""
    steps, window = 50, CONTRACT.fusion.window_steps
    hop = published_hop(CONTRACT.fusion)
    assert (window, hop) == (20, 13)
    seen: list[int] = []

    def infer(requests: Sequence[Request]) -> list[npt.NDArray[np.float32]]:
        seen.extend(int(request.feeds["video"][0, 0]) for request in requests)
        place = np.arange(window, dtype=np.float32)[:, None] / 100
        return [np.repeat(place, 2, axis=1) for _ in requests]

    rows = np.setdiff1d(np.arange(steps), [7, 8])
    video = np.repeat(np.arange(steps, dtype=np.float32)[:, None], 2, axis=1)
    features = StepFeatures(steps, (Stretch(0, 0, steps),), {"video": video}, rows)
    dense = estimates_of(CONTRACT, infer, features, "published", modalities=("video",), hop_steps=7)
    starts = [0, 13, 26, 28]
    assert seen == [int(rows[start]) for start in starts]
    for row, step in enumerate(rows):
        places = [row - start for start in starts if 0 <= row - start < window]
        assert dense[step] == pytest.approx(np.mean(places) / 100)
    assert np.isnan(dense[[7, 8]]).all(), "rows without annotation are no rows of the authors'"


def test_a_short_video_is_one_published_window_whose_padding_is_dropped() -> None:
    features = StepFeatures(5, (Stretch(0, 0, 5),), {"video": np.full((5, 2), 0.5, np.float32)}, np.arange(5))

    def infer(requests: Sequence[Request]) -> list[npt.NDArray[np.float32]]:
        (request,) = requests
        assert not request.feeds["video"][5:].any() and not request.feeds["audio"].any()
        return [request.feeds["video"]]

    dense = estimates_of(CONTRACT, infer, features, "published", modalities=("video",), hop_steps=7)
    assert dense.shape == (5, 2) and (dense == 0.5).all()


def test_published_windows_of_one_estimate_are_every_whole_one() -> None:
    """12 steps of one clip: 30 steps have 19 whole windows, the first of them ends at step 11."""
    features = StepFeatures(
        30, (Stretch(0, 0, 30),), {"video": np.arange(60, dtype=np.float32).reshape(30, 2) / 100}, np.arange(30)
    )

    def infer(requests: Sequence[Request]) -> list[npt.NDArray[np.float32]]:
        return [request.feeds["video"][-1] for request in requests]

    dense = estimates_of(CLIPS, infer, features, "published", modalities=("video",), hop_steps=1)
    assert np.flatnonzero(~np.isnan(dense[:, 0])).tolist() == list(range(11, 30))
    assert dense[11] == pytest.approx([0.22, 0.23])


def test_an_estimate_that_is_not_a_number_is_no_estimate() -> None:
    features = StepFeatures(5, (Stretch(0, 0, 5),), {"video": np.zeros((5, 2), np.float32)}, np.arange(5))
    bad = np.full((20, 2), np.nan, np.float32)
    with pytest.raises(EngineError, match="not a number"):
        estimates_of(CONTRACT, lambda rs: [bad for _ in rs], features, "offline", modalities=("video",), hop_steps=7)


def test_a_prepared_corpus_is_scored_step_by_step(tmp_path: Path) -> None:
    """The toy's light is its valence, so what reads valence from light is nearly right, and arousal is not."""
    opened, corpus = _prepared_known(tmp_path)
    for windows in ("stream", "offline", "published"):
        (found,) = examine(opened, corpus, "validation", sets=(("video", "audio"),), windows=(windows,))
        assert found.evaluation.ccc["valence"].value > 0.98
        assert found.evaluation.ccc["arousal"].value < 0.9
        assert (found.evaluation.videos[0].rows, found.evaluation.videos[0].estimated) == (42, 42)
        assert found.evaluation.rmse["valence"].value < 0.15 < found.evaluation.rmse["arousal"].value
        assert found.evaluation.author["ccc_author_rcma"]["valence"] < found.evaluation.ccc["valence"].value


def test_a_corpus_on_the_clock_of_pictures_is_not_streamed(tmp_path: Path) -> None:
    opened, corpus = _prepared_known(tmp_path)
    slow = corpus.record.videos[0].model_copy(update={"step_hz": 12.5})
    record = corpus.record.model_copy(update={"clock": "pictures", "videos": (slow,)})
    slower = PreparedCorpus(corpus.root, record, corpus.fingerprint)
    with pytest.raises(UsageError, match=r"12\.5 steps a second"):
        evaluate(opened, slower, "validation")
    (found,) = examine(opened, slower, "validation", sets=(("video", "audio"),), windows=("published",))
    assert found.evaluation.ccc["valence"].value > 0.98
    assert found.played[0].times_s[-1] == pytest.approx(44 / 12.5)


def _prepared_known(root: Path) -> tuple[Opened, PreparedCorpus]:
    make_toy_corpus(root, CONTRACT, train=(), validation=(45,), unannotated=(3, 4, 44))
    return KNOWN, PreparedCorpus.open(root)
