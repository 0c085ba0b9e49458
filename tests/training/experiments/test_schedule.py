"""Rates, plateau, release and end of a training, against plain references written from the papers' description."""

from __future__ import annotations

import math

import numpy as np
import pytest

from affectrt.training.experiments.config import CosineSchedule, ExperimentConfig, StepSchedule
from affectrt.training.experiments.schedule import Course, step_rate


def rcma(protocol: str = "published", **changes: object) -> ExperimentConfig:
    told = {"name": "x", "system": "rcma", "protocol": protocol, "network": {"variant": "rcma-v1"}}
    return ExperimentConfig.model_validate({**told, "licence": "x", "intended_use": "x", **changes})


class Reference:
    """The published training, word for word, as a list of what happened: rate of an epoch's last batch, stage, best."""

    def __init__(self, scores: list[float], batches: int) -> None:
        self.rates: list[list[float]] = []
        self.stages: list[int] = []
        self.ended = ""
        best, stage, since, lr, bad, counter = -math.inf, 1, 0, 1e-5, 0, 50
        for epoch, score in enumerate(scores):
            if since < 5:
                self.rates.append([1e-5 * b * (since + 1) / (25 * batches) for b in range(batches)])
            else:
                self.rates.append([lr] * batches)
            self.stages.append(stage)
            improved = score > best
            best = max(best, score)
            counter = 50 if improved else counter - 1
            if since >= 5:
                bad = 0 if improved else bad + 1
                if bad > 5:
                    lr, bad = lr * 0.1, 0
            since += 1
            if lr < 1e-8 and epoch + 1 >= 5:
                stage += 1
                if stage > 3:
                    self.ended = "released"
                    return
                since, lr, bad = 0, 1e-5, 0
            if counter <= 0:
                self.ended = "early"
                return
            if epoch + 1 == 100:
                self.ended = "epochs"
                return


SCORES = {
    "never better": [0.5, *[0.1] * 200],
    "always better": [i / 1000 for i in range(200)],
    "better now and then": np.random.default_rng(0).normal(size=200).cumsum().tolist(),
    "better every 7th": [i / 100 if i % 7 == 0 else 0.0 for i in range(200)],
    "better in the third stage": [0.5, *[0.1] * 48, 0.6, *[0.1] * 200],
}


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("early_stop", [50, None])
def test_published_rates_and_stages_are_those_of_the_plain_reference(kind: str, early_stop: int | None) -> None:
    batches = 4
    course = Course.begin(rcma(early_stop=early_stop, epochs=100))
    told = SCORES[kind]
    reference = Reference(told, batches)
    rates, stages, ended = [], [], None
    for score in told:
        rates.append([course.rate(batch, batches) for batch in range(batches)])
        stages.append(course.stage)
        ended = course.end_epoch(score)
        if ended.stop:
            break
    if early_stop is not None:
        assert ended is not None and ended.stop == reference.ended
        assert stages == reference.stages
    count = min(len(rates), len(reference.rates))
    np.testing.assert_allclose(rates[:count], reference.rates[:count], rtol=1e-12)


def test_three_stages_that_bring_nothing_end_the_training_after_87_epochs() -> None:
    """Each stage: 5 epochs of warm-up, then four reductions of 6 bad epochs each."""
    course = Course.begin(rcma(early_stop=None, epochs=1000))
    stages = []
    while True:
        stages.append(course.stage)
        ended = course.end_epoch(0.5 if len(stages) == 1 else 0.1)
        if ended.stop:
            break
    assert ended.stop == "released"
    assert [stages.count(stage) for stage in (1, 2, 3)] == [29, 29, 29]


def test_the_published_warm_up_begins_at_0_in_every_epoch_and_stays_under_a_fifth() -> None:
    course = Course.begin(rcma())
    for epoch in range(5):
        rates = [course.rate(batch, 100) for batch in range(100)]
        assert rates[0] == 0
        assert rates[-1] == pytest.approx(1e-5 * 99 * (epoch + 1) / 2500)
        course.end_epoch(float(epoch))
    assert max(rates) < 2e-6
    assert course.rate(0, 100) == 1e-5


def test_the_repaired_warm_up_rises_without_a_step_to_the_full_rate() -> None:
    course = Course.begin(rcma("repaired"))
    rates = []
    for epoch in range(7):
        rates += [course.rate(batch, 10) for batch in range(10)]
        course.end_epoch(float(epoch))
    rising = np.diff(rates[:51])
    assert np.allclose(rising, rising[0]) and rising[0] > 0
    assert rates[50:] == [1e-5] * 20


def test_published_weights_go_back_after_every_epoch_and_repaired_ones_when_the_rate_falls() -> None:
    published, repaired = Course.begin(rcma()), Course.begin(rcma("repaired"))
    scores = [0.5, *[0.1] * 14]
    assert [published.end_epoch(score).reload for score in scores] == [False, *[True] * 14]
    assert [i for i, score in enumerate(scores) if repaired.end_epoch(score).reload] == [10]


def test_a_release_rebuilds_the_optimiser_from_the_best_weights() -> None:
    course = Course.begin(rcma(early_stop=None))
    ends = [course.end_epoch(score) for score in [0.5, *[0.1] * 28]]
    assert [i for i, ended in enumerate(ends) if ended.rebuild] == [28]
    assert ends[28].reload and course.stage == 2
    assert course.rate(3, 4) == pytest.approx(1e-5 * 3 / 100)


def test_cav_keeps_its_rate_for_16_epochs_and_then_loses_a_fifth_every_two() -> None:
    rates = [1e-4 * step_rate(StepSchedule(), epoch) for epoch in range(60)]
    assert rates[:17] == [1e-4] * 17  # 0 … 15, and floor((16 − 15) / 2) is 0
    expected = [1e-4 * 0.8 ** math.floor((epoch - 15) / 2) for epoch in range(16, 60)]
    assert rates[16:] == pytest.approx(expected, rel=1e-12)
    assert rates[17] == pytest.approx(8e-5)


def test_a_cosine_rises_first_and_ends_near_zero() -> None:
    config = rcma("repaired", schedule=CosineSchedule().model_dump(), release={"stages": 0}, epochs=10)
    course = Course.begin(config)
    rates = []
    for epoch in range(10):
        rates += [course.rate(batch, 10) for batch in range(10)]
        course.end_epoch(float(epoch))
    assert np.all(np.diff(rates[:10]) > 0) and np.all(np.diff(rates[10:]) < 0)
    assert max(rates) == 1e-5 and rates[-1] < 1e-8


def test_a_course_goes_on_from_its_own_state() -> None:
    first, second = Course.begin(rcma()), Course.begin(rcma())
    for score in SCORES["better now and then"][:40]:
        first.end_epoch(score)
    second.restore(first.state())
    assert second == first


def test_nan_is_never_the_best() -> None:
    course = Course.begin(rcma())
    assert not course.end_epoch(math.nan).best
    assert course.end_epoch(-0.9).best
