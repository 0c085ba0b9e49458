"""Annotation rows meet steps and estimates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectrt.runtime import Estimate
from affectrt.training.annotation import annotation_of_steps, estimated_steps, means_up_to
from affectrt.training.play import rows_of_steps, steps_of


def _estimate(step: int, valence: float) -> Estimate:
    return Estimate(t_s=step / 25, valence=valence, arousal=None, track=0, modalities=("video",))


def test_a_picture_takes_its_nearest_step_and_steps_without_estimate_are_holes() -> None:
    steps, rows = estimated_steps([_estimate(k, k / 100) for k in (0, 1, 2, 4)], ["valence", "arousal"], 25.0)
    dense = np.full((5, 2), np.nan)
    dense[steps] = rows
    times = np.array([0.0, 0.019, 0.021, 0.08, 0.12, 0.16, 0.2])
    found = rows_of_steps(dense, steps_of(times, 25.0))
    np.testing.assert_array_equal(found[:, 0], [0.0, 0.0, 0.01, 0.02, np.nan, 0.04, np.nan])
    assert np.isnan(found[:, 1]).all()


def test_estimates_are_rows_by_step_and_the_latest_of_a_step_counts() -> None:
    steps, rows = estimated_steps([_estimate(15, 0.1), _estimate(31, 0.2), _estimate(15, 0.3)], ["valence"], 25.0)
    assert steps.tolist() == [15, 31] and rows.tolist() == [[0.3], [0.2]]
    nothing, none = estimated_steps([], ["valence", "arousal"], 25.0)
    assert len(nothing) == 0 and none.shape == (0, 2)


def test_annotation_of_steps_is_the_nearest_row_and_ends_with_the_rows() -> None:
    truth = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    annotated = annotation_of_steps(truth, np.array([0.0, 0.07, 0.15, 0.23]), 10, 25.0)
    np.testing.assert_allclose(annotated[:5, 0], [0.1, 0.3, 0.3, 0.5, 0.5], rtol=1e-6)
    assert not np.isnan(annotated[6]).any() and np.isnan(annotated[7:]).all()


@given(st.integers(1, 60), st.integers(1, 80), st.integers(0, 10_000))
def test_means_reach_back_as_far_as_the_stream_and_pass_over_what_is_not_annotated(
    steps: int, described: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(-1, 1, (steps, 2)).astype(np.float32)
    truth[rng.random(steps) < 0.4] = np.nan
    found = means_up_to(truth, described)
    assert found.shape == truth.shape and found.dtype == np.float32
    for k in range(steps):
        window = truth[max(0, k + 1 - described) : k + 1]
        window = window[~np.isnan(window[:, 0])]
        want = window.mean(axis=0) if len(window) else np.full(2, np.nan)
        assert found[k] == pytest.approx(want, abs=1e-6, nan_ok=True)


def test_a_step_is_its_own_mean() -> None:
    truth = np.random.default_rng(0).uniform(-1, 1, (9, 2)).astype(np.float32)
    np.testing.assert_array_equal(means_up_to(truth, 1), truth)
