"""A judge says of two models what evaluating each would say, and what lies between them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from doubles.known_answers import CLIPS, CONTRACT, KNOWN, KNOWN_MEANS, KnownEngine, grey_corpus, random_truths

from affectrt.bundle.errors import EngineError, UsageError
from affectrt.runtime.engines.base import Array, Engine
from affectrt.training import judge as judge_module
from affectrt.training.corpus import Corpus
from affectrt.training.evaluate import Opened, evaluate
from affectrt.training.judge import AgreementJudge, CorpusJudge
from affectrt.training.metrics import ccc

pytest.importorskip("gi")


class Changed(KnownEngine):
    """The known answer scaled; `poison`: what it says from the fourth call on."""

    def __init__(
        self, stage: str, *, scale: float = 1.0, poison: float | None = None, per_window: bool = False
    ) -> None:
        super().__init__(stage, per_window=per_window)
        self._scale, self._poison, self.calls, self.windows = scale, poison, 0, 0

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        self.calls += 1
        self.windows += len(feeds["video"])
        ((name, found),) = super().infer(feeds).items()
        found = found.astype(np.float32) * np.float32(self._scale)
        if self._poison is not None and self.calls > 3:
            found[:] = self._poison
        return {name: found}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Levels of 0.2 s, so that neither steps nor means are all alike."""
    truths = [np.repeat(levels, 5, axis=0) for levels in random_truths(3, 12)]
    return grey_corpus(tmp_path_factory.mktemp("judged") / "grey", 25.0, truths)


def changed(opened: Opened, **how: float) -> dict[str, Engine]:
    per_window = opened.contract.fusion.output == "per_window"
    return {**opened.engines, "fusion": Changed("fusion", per_window=per_window, **how)}  # type: ignore[dict-item, arg-type]


@pytest.mark.parametrize("opened", [KNOWN, KNOWN_MEANS], ids=["steps", "window means"])
def test_both_sides_are_scored_as_evaluate_scores_them(opened: Opened, corpus: Corpus) -> None:
    worse = changed(opened, scale=0.6)
    before = sorted(corpus.root.rglob("*"))
    judge = CorpusJudge(corpus, "test", opened.contract)
    found = judge.compare(judge.play(opened.engines), judge.play(worse))
    assert (judge.kind, judge.videos, judge.outputs) == ("truth", 3, ("valence", "arousal"))
    assert sorted(corpus.root.rglob("*")) == before
    evaluations = [evaluate(o, corpus, "test") for o in (opened, Opened(opened.contract, worse, "worse"))]
    assert judge.corpus == evaluations[0].as_accuracy().corpus
    for name, compared in found.items():
        assert compared.reference == evaluations[0].ccc[name]
        assert compared.candidate == evaluations[1].ccc[name]
        assert compared.loss.value == compared.reference.value - compared.candidate.value > 0.05
        assert compared.loss.low is not None and compared.loss.low > 0


@pytest.mark.parametrize("opened", [KNOWN, KNOWN_MEANS], ids=["steps", "window means"])
def test_without_truth_the_two_outputs_are_compared_step_by_step(opened: Opened, corpus: Corpus) -> None:
    media = sorted((corpus.root / "raw_videos").iterdir())
    judge = AgreementJudge(media, opened.contract)
    reference, candidate = judge.play(opened.engines), judge.play(changed(opened, scale=0.6))
    assert [rows.shape for rows in reference] == [(60, 2)] * 3
    assert (judge.kind, judge.videos, judge.corpus) == ("agreement", 3, "clip-0.mp4, clip-1.mp4, clip-2.mp4")
    for d, compared in enumerate(judge.compare(reference, candidate).values()):
        plain = ccc(
            np.concatenate([rows[:, d] for rows in reference]), np.concatenate([0.6 * r[:, d] for r in reference])
        )
        assert compared.candidate.value == pytest.approx(plain, abs=1e-6) and 0.3 < plain < 0.95
        assert compared.reference.value == compared.reference.low == compared.reference.high == 1
        assert compared.loss.value == 1 - compared.candidate.value
        assert (compared.loss.low, compared.loss.high) == (1 - compared.candidate.high, 1 - compared.candidate.low)  # type: ignore[operator]
    itself = judge.compare(reference, reference)["valence"]
    assert (itself.candidate.value, itself.loss.value) == pytest.approx((1, 0), abs=1e-12)


def test_a_candidate_runs_at_the_hop_of_the_contract(corpus: Corpus) -> None:
    fusion = Changed("fusion")
    CorpusJudge(corpus, "test", CONTRACT).play({**KNOWN.engines, "fusion": fusion})  # type: ignore[dict-item]
    # of 60 steps: one window for each whole hop of 7 and one for the rest
    assert CONTRACT.fusion.default_hop_steps == 7 and fusion.windows == 3 * 9


def test_one_candidate_that_overflows_does_not_end_the_others(corpus: Corpus) -> None:
    judge = CorpusJudge(corpus, "test", CLIPS)
    reference = judge.play(KNOWN_MEANS.engines)
    broken = judge.play(changed(KNOWN_MEANS, poison=float("nan")))
    assert [rows.shape for rows in broken] == [rows.shape for rows in reference]
    assert np.isnan(broken[1]).all() and np.isnan(broken[2]).all()
    with pytest.raises(EngineError, match="estimates that FP32 gives are missing or not a number"):
        judge.compare(reference, broken)
    assert judge.compare(reference, judge.play(KNOWN_MEANS.engines))["valence"].loss.high == 0


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_fp32_that_overflows_is_an_error(corpus: Corpus, poison: float) -> None:
    media = sorted((corpus.root / "raw_videos").iterdir())
    for judge in (CorpusJudge(corpus, "test", CLIPS), AgreementJudge(media, CLIPS)):
        with pytest.raises(EngineError, match=r"not a number on .*clip-\d\.mp4"):
            judge.play(changed(KNOWN_MEANS, poison=poison))


def test_agreement_with_what_never_changes_is_refused(corpus: Corpus) -> None:
    judge = AgreementJudge(sorted((corpus.root / "raw_videos").iterdir()), CONTRACT)
    dull = judge.play(changed(KNOWN, scale=0.0))
    with pytest.raises(UsageError, match="FP32's valence never changes on clip-0"):
        judge.compare(dull, dull)


def test_one_recording_has_a_loss_without_an_interval(corpus: Corpus) -> None:
    judge = AgreementJudge([corpus.root / "raw_videos" / "clip-0.mp4"], CONTRACT)
    played = judge.play(KNOWN.engines)
    assert judge.compare(played, played)["arousal"].loss.high is None
    with pytest.raises(UsageError, match="no media"):
        AgreementJudge([], CONTRACT)


def test_the_times_of_pictures_are_read_once_and_each_video_is_told(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counting(path: Path) -> np.ndarray:
        read.append(path.name)
        return np.arange(60) / 25

    monkeypatch.setattr(judge_module, "picture_times", counting)
    told: list[str] = []
    judge = CorpusJudge(corpus, "test", CONTRACT, video_done=told.append)
    judge.play(KNOWN.engines)
    judge.play(KNOWN.engines)
    names = ["clip-0.mp4", "clip-1.mp4", "clip-2.mp4"]
    assert read == names and told == names * 2


def test_a_file_name_cannot_talk_to_the_terminal() -> None:
    judge = AgreementJudge([Path(f"{name}.mp4") for name in ("a", "\x1b[2Jb", "c", "d", "e")], CONTRACT)
    assert judge.corpus == "a.mp4, '\\x1b[2Jb.mp4', c.mp4 and 2 more"
