import numpy as np
import pytest

from affectrt.training.synthetic.affect_path import RATE_HZ, ideal_ccc, make_path, slow_noise

STEPS = round(24 * RATE_HZ)


@pytest.fixture(scope="module")
def paths():
    return [make_path(np.random.default_rng([11, i]), STEPS) for i in range(80)]


def test_the_same_seed_walks_the_same_path():
    one, other, third = (make_path(np.random.default_rng(seed), STEPS) for seed in (5, 5, 6))
    for name in ("truth", "face", "voice"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
        assert not np.allclose(getattr(one, name), getattr(third, name))


def test_a_short_path_begins_like_a_long_one():
    short, long = (make_path(np.random.default_rng(5), steps) for steps in (50, STEPS))
    assert short.steps == 50
    assert np.array_equal(short.truth, long.truth[:50])
    assert np.array_equal(short.voice, long.voice[:50])


def test_the_truth_covers_the_plane(paths):
    truth = np.vstack([path.truth for path in paths])
    assert np.abs(truth).max() <= 1
    assert np.allclose(truth.std(axis=0), 0.45, atol=0.04)
    assert np.allclose(truth.mean(axis=0), 0, atol=0.1)
    assert abs(np.corrcoef(truth.T)[0, 1]) < 0.15
    counts, _, _ = np.histogram2d(truth[:, 0], truth[:, 1], bins=4, range=[[-0.8, 0.8]] * 2)
    assert counts.min() > 0.015 * len(truth)


def test_the_truth_is_smooth_yet_moves_within_seconds(paths):
    truth = np.stack([path.truth for path in paths])
    step = np.abs(np.diff(truth, axis=1))
    assert step.max() < 0.15
    swing = np.abs(truth[:, 150:] - truth[:, :-150])  # six seconds apart
    assert np.median(swing) > 0.3


def test_no_single_modality_can_do_what_both_together_can(paths):
    ideal = ideal_ccc(paths[:50], paths[50:])
    assert ideal["face"] == pytest.approx((0.80, 0.65), abs=0.04)
    assert ideal["voice"] == pytest.approx((0.60, 0.80), abs=0.04)
    assert min(ideal["both"]) >= 0.87
    for single in ("face", "voice"):
        assert all(both > alone + 0.05 for both, alone in zip(ideal["both"], ideal[single], strict=True))


def test_waiting_longer_does_not_replace_the_other_modality(paths):
    instant, patient = (ideal_ccc(paths[:50], paths[50:], context_s=context) for context in (0.0, 2.0))
    for single in ("face", "voice"):
        assert np.allclose(instant[single], patient[single], atol=0.04)


def test_slow_noise_has_unit_variance_and_its_time_constant():
    noise = np.stack([slow_noise(np.random.default_rng([3, i]), 500, 1.0) for i in range(200)])
    assert noise.var() == pytest.approx(1.0, abs=0.1)
    lag = round(1.68 * RATE_HZ)  # where (1 + t/T)·exp(-t/T) is one half
    assert np.mean(noise[:, lag:] * noise[:, :-lag]) == pytest.approx(0.5, abs=0.08)
