"""CCC against its plain formula, its properties, and the interval over videos."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from affectrt.bundle.errors import UsageError
from affectrt.training.metrics import (
    bootstrap_ci_over_videos,
    ccc,
    ccc_author_cav,
    ccc_author_rcma,
    paired_bootstrap_over_videos,
    pearson,
    rmse,
)

SERIES = arrays(np.float64, 20, elements=st.floats(-1, 1, width=32))


def test_ccc_of_a_worked_example() -> None:
    # means 2 and 2.5, biased variances 2/3 and 1/6 … worked by hand: cov = 1/3, so 2·(1/3) / (2/3 + 1/6 + 1/4)
    x, y = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.5, 3.0])
    assert ccc(x, y) == pytest.approx((2 / 3) / (2 / 3 + 1 / 6 + 1 / 4))


@given(SERIES, SERIES)
def test_ccc_lies_in_range_and_is_symmetric(x: np.ndarray, y: np.ndarray) -> None:
    value = ccc(x, y)
    assert -1 - 1e-9 <= value <= 1 + 1e-9
    assert value == pytest.approx(ccc(y, x), abs=1e-12)


@given(SERIES, SERIES)
def test_ccc_never_exceeds_pearson(x: np.ndarray, y: np.ndarray) -> None:
    if x.std() < 1e-3 or y.std() < 1e-3:
        return
    assert abs(ccc(x, y)) <= abs(np.corrcoef(x, y)[0, 1]) + 1e-9


def test_offset_and_scale_errors_cost() -> None:
    truth = np.sin(np.linspace(0, 9, 400))
    assert ccc(truth, truth) == pytest.approx(1.0)
    assert ccc(-truth + 2 * truth.mean(), truth) == pytest.approx(-1.0)
    assert ccc(truth + 0.5, truth) < 0.9
    assert ccc(0.3 * truth, truth) < 0.7


def test_constant_series_have_a_value() -> None:
    varying = np.linspace(-1, 1, 9)
    assert ccc(np.full(9, 0.1), np.full(9, 0.1)) == 1.0
    assert ccc(np.full(9, 0.1), np.full(9, 0.2)) == 0.0
    assert ccc(np.full(9, 0.1), varying) == 0.0


def test_rows_without_annotation_or_estimate_are_left_out() -> None:
    x, y = np.array([0.1, 0.5, np.nan, 0.9]), np.array([0.2, np.nan, 0.3, 0.8])
    assert ccc(x, y) == ccc(np.array([0.1, 0.9]), np.array([0.2, 0.8]))
    assert math.isnan(ccc(np.array([np.nan]), np.array([1.0])))


def test_series_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        ccc(np.zeros(3), np.zeros(4))


def test_author_figure_is_lins_times_a_factor_for_equal_means() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(300)
    y = x + 0.4 * rng.standard_normal(300)
    y += x.mean() - y.mean()
    assert ccc_author_rcma(x, y) == pytest.approx(ccc(x, y) * 299 / 300, rel=1e-9)
    assert ccc_author_rcma(x, x) == pytest.approx(299 / 300)


def test_the_cav_authors_accuracy_does_not_see_scale_and_offset() -> None:
    rng = np.random.default_rng(3)
    truth = rng.uniform(-1, 1, 200)
    estimates = 0.8 * truth + 0.1 * rng.standard_normal(200)
    assert ccc_author_cav(0.05 * estimates + 0.7, truth) == pytest.approx(ccc_author_cav(estimates, truth))
    assert ccc_author_cav(0.05 * truth + 0.7, truth) == pytest.approx(1.0) and ccc(0.05 * truth + 0.7, truth) < 0.1


def test_the_cav_authors_accuracy_of_a_worked_example() -> None:
    # stretched: (0, ½, 1, 1) and (0, 0, 1, ½), means 5/8 and 3/8; both variances 11/64, covariance 9/64
    x, y = np.array([1.0, 2.0, 3.0, 3.0]), np.array([-1.0, -1.0, 1.0, 0.0])
    assert ccc_author_cav(x, y) == pytest.approx(9 / 11)
    assert ccc_author_cav(np.ones(4), y) == 0.0 and math.isnan(ccc_author_cav(np.zeros(0), np.zeros(0)))


def _videos(count: int, noise: float, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    truths = [np.cumsum(rng.standard_normal(100)) / 10 for _ in range(count)]
    return [t + noise * rng.standard_normal(100) + 0.3 * rng.standard_normal() for t in truths], truths


def test_interval_is_that_of_resampled_concatenations() -> None:
    estimates, truths = _videos(6, 0.2, seed=2)
    interval = bootstrap_ci_over_videos(estimates, truths, resamples=300, seed=7)
    drawn = np.random.default_rng(7).integers(0, 6, size=(300, 6))
    plain = [
        ccc(np.concatenate([estimates[v] for v in row]), np.concatenate([truths[v] for v in row])) for row in drawn
    ]
    assert interval.value == ccc(np.concatenate(estimates), np.concatenate(truths))
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(plain, [0.025, 0.975])), abs=1e-9)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_interval_contains_its_value_and_narrows_with_more_videos(seed: int) -> None:
    few = bootstrap_ci_over_videos(*_videos(4, 0.3, seed), resamples=400)
    many = bootstrap_ci_over_videos(*_videos(64, 0.3, seed), resamples=400)
    for interval in (few, many):
        assert interval.low is not None and interval.high is not None
        assert interval.low - 0.02 <= interval.value <= interval.high + 0.02
    assert many.high - many.low < few.high - few.low + 0.05  # type: ignore[operator]


def test_one_video_has_no_interval() -> None:
    interval = bootstrap_ci_over_videos([np.array([0.0, 1.0])], [np.array([0.1, 0.9])])
    assert interval.low is None and interval.high is None


def test_nothing_to_compare_is_said_not_scored() -> None:
    nothing = [np.full(3, np.nan)] * 2
    with pytest.raises(UsageError, match="not one row of 2 videos"):
        bootstrap_ci_over_videos([np.zeros(3)] * 2, nothing)
    with pytest.raises(UsageError, match="not one row of 2 videos"):
        paired_bootstrap_over_videos([np.zeros(3)] * 2, [np.zeros(3)] * 2, nothing)
    with pytest.raises(ValueError, match="2 reference, 1 candidate and 2 true"):
        paired_bootstrap_over_videos([np.zeros(3)] * 2, [np.zeros(3)], nothing)


def test_a_paired_resample_draws_the_same_videos_for_both() -> None:
    references, truths = _videos(7, 0.2, seed=3)
    rng = np.random.default_rng(4)
    candidates = [0.9 * x + 0.1 * rng.standard_normal(100) for x in references]
    found = paired_bootstrap_over_videos(references, candidates, truths, resamples=300, seed=5)
    losses, best, other = [], [], []
    for row in np.random.default_rng(5).integers(0, 7, size=(300, 7)):
        truth = np.concatenate([truths[v] for v in row])
        best.append(ccc(np.concatenate([references[v] for v in row]), truth))
        other.append(ccc(np.concatenate([candidates[v] for v in row]), truth))
        losses.append(best[-1] - other[-1])
    for interval, plain in ((found.reference, best), (found.candidate, other), (found.loss, losses)):
        assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(plain, [0.025, 0.975])), abs=1e-9)
    assert found.loss.value == found.reference.value - found.candidate.value
    assert found.reference == bootstrap_ci_over_videos(references, truths, resamples=300, seed=5)
    assert found.candidate == bootstrap_ci_over_videos(candidates, truths, resamples=300, seed=5)


def test_the_interval_of_a_paired_loss_is_much_narrower_than_the_two_apart() -> None:
    references, truths = _videos(24, 0.2, seed=6)
    rng = np.random.default_rng(7)
    candidates = [x + 0.02 * rng.standard_normal(100) for x in references]
    loss = paired_bootstrap_over_videos(references, candidates, truths).loss
    apart = [bootstrap_ci_over_videos(x, truths, seed=s) for s, x in enumerate((references, candidates))]
    assert apart[0].high is not None and apart[1].low is not None and loss.low is not None and loss.high is not None
    assert loss.high - loss.low < 0.05 * (apart[0].high - apart[1].low)
    assert loss.low < loss.value < loss.high


def test_what_equals_the_reference_loses_nothing_for_certain() -> None:
    estimates, truths = _videos(5, 0.2, seed=8)
    loss = paired_bootstrap_over_videos(estimates, estimates, truths).loss
    assert (loss.low, loss.value, loss.high) == (0.0, 0.0, 0.0)


def test_a_row_that_one_of_three_lacks_counts_for_none() -> None:
    (reference,), (truth,) = _videos(1, 0.2, seed=9)
    candidate = 0.5 * reference
    reference[:10], candidate[10:20], truth[20:30] = np.nan, np.nan, np.nan
    found = paired_bootstrap_over_videos([reference], [candidate], [truth])
    assert found.reference.value == ccc(reference[30:], truth[30:]) != ccc(reference, truth)
    assert found.candidate.value == ccc(candidate[30:], truth[30:])
    assert found.loss.low is None and found.loss.high is None


def test_rmse_and_pearson_of_a_worked_example() -> None:
    # differences 1, 1/2, 0; deviations −1, 0, 1 and −1/2, 0, 1/2: exactly in proportion
    x, y = np.array([1.0, 2.0, np.nan, 3.0]), np.array([2.0, 2.5, 7.0, 3.0])
    assert rmse(x, y) == pytest.approx(math.sqrt(1.25 / 3))
    assert pearson(x, y) == pytest.approx(1.0)
    assert pearson(x, -y) == pytest.approx(-1.0)
    assert pearson(x, np.ones(4)) == 0.0
    assert math.isnan(rmse(x[2:3], y[2:3])) and math.isnan(pearson(x[2:3], y[2:3]))


@pytest.mark.parametrize("metric", ["ccc", "rmse", "pearson"])
def test_intervals_of_every_metric_are_those_of_resampled_videos(metric: str) -> None:
    """The sums that are resampled say the same as the metric over the videos drawn, one after the other."""
    rng = np.random.default_rng(8)
    truths = [rng.normal(0.3, 0.5, n) for n in (30, 50, 20)]
    estimates = [0.5 * y + rng.normal(0.2, 0.2, len(y)) for y in truths]
    found = bootstrap_ci_over_videos(estimates, truths, resamples=40, seed=5, metric=metric)  # type: ignore[arg-type]
    plain = {"ccc": ccc, "rmse": rmse, "pearson": pearson}[metric]
    drawn = np.random.default_rng(5).integers(0, 3, size=(40, 3))
    values = [
        plain(np.concatenate([estimates[i] for i in row]), np.concatenate([truths[i] for i in row])) for row in drawn
    ]
    assert found.value == pytest.approx(plain(np.concatenate(estimates), np.concatenate(truths)))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
