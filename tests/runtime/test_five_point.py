"""Five-point alignment brings eyes, nose and mouth to their places, whatever the face's turn and size."""

from __future__ import annotations

import math

import numpy as np
import pytest

from affectrt.bundle.contract import FaceView
from affectrt.runtime.faces import Face, crop_face, whole_frame
from affectrt.runtime.five_point import FIVE_POINTS, similarity_between

ALIGNED = FaceView(finder="yunet", alignment="five_point")


def ramp(height: int, width: int) -> np.ndarray:
    """A frame whose red is x and whose green is y."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[:, :, 0] = np.arange(width)
    frame[:, :, 1] = np.arange(height)[:, None]
    return frame


def marks(side: float, turn_deg: float, x: float, y: float) -> tuple[tuple[float, float], ...]:
    """The reference points as a face of this side, turned about its centre at (x, y)."""
    a = math.radians(turn_deg)
    turn = np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    return tuple(map(tuple, ((FIVE_POINTS - 0.5) * side @ turn.T + (x, y)).tolist()))


def a_face(side: float, turn_deg: float = 0.0, x: float = 120.0, y: float = 100.0) -> Face:
    return Face(0, (x - side / 2, y - side / 2, x + side / 2, y + side / 2), 0.9, marks(side, turn_deg, x, y))


def test_the_similarity_is_the_one_that_made_the_points() -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(5, 2))
    made = points @ np.array([[0.3, -1.2], [1.2, 0.3]]).T + (7, -2)
    found = similarity_between(points, made)
    assert found is not None
    np.testing.assert_allclose(found, [[0.3, -1.2, 7], [1.2, 0.3, -2]], atol=1e-12)
    # With noise nothing nearby is better: it is the least-squares solution.
    noisy = made + rng.normal(scale=0.2, size=(5, 2))
    best = similarity_between(points, noisy)
    assert best is not None
    error = np.square(points @ best[:, :2].T + best[:, 2] - noisy).sum()
    for _ in range(50):
        c, s, u, v = np.array([best[0, 0], best[1, 0], *best[:, 2]]) + rng.normal(scale=0.02, size=4)
        assert np.square(points @ np.array([[c, -s], [s, c]]).T + (u, v) - noisy).sum() >= error
    assert similarity_between(np.ones((5, 2)), made) is None
    assert similarity_between(np.full((5, 2), np.nan), made) is None


@pytest.mark.parametrize("side", [24.0, 48.0, 90.0, 150.0])
@pytest.mark.parametrize("turn_deg", [0.0, 30.0, -75.0])
def test_a_turned_face_is_upright_in_the_crop(side: float, turn_deg: float) -> None:
    crop = crop_face(ramp(200, 240), a_face(side, turn_deg), 48, 48, ALIGNED).astype(float)
    a = math.radians(turn_deg)
    at = ((np.arange(48) + 0.5) / 48 - 0.5) * side
    want_x = 120 + at[None, :] * math.cos(a) - at[:, None] * math.sin(a) - 0.5
    want_y = 100 + at[None, :] * math.sin(a) + at[:, None] * math.cos(a) - 0.5
    inside = (want_x > 1) & (want_x < 238) & (want_y > 1) & (want_y < 198)
    assert np.abs(crop[..., 0] - want_x)[inside].max() <= 1.0
    assert np.abs(crop[..., 1] - want_y)[inside].max() <= 1.0


def test_a_margin_shows_more_around_the_face() -> None:
    """A margin of 1/4 makes the square 1.5 times as wide, for box and five points alike."""
    for alignment in ("box", "five_point"):
        view = FaceView(finder="yunet", alignment=alignment, margin=0.25)  # type: ignore[arg-type]
        crop = crop_face(ramp(200, 240), a_face(80.0), 60, 60, view)
        want = 120 + ((np.arange(60) + 0.5) / 60 - 0.5) * 120 - 0.5
        assert np.abs(crop[30, :, 0] - want).max() <= 1.0


def test_a_large_face_is_averaged_not_picked_apart() -> None:
    """Columns of 0 and 255 in turn come out grey, not as bars."""
    frame = np.zeros((400, 400, 3), np.uint8)
    frame[:, ::2] = 255
    crop = crop_face(frame, a_face(330.0, 0.0, 200, 200), 40, 40, ALIGNED)
    assert np.abs(crop[5:-5, 5:-5].astype(int) - 128).max() < 30


def test_the_whole_frame_is_the_crop_it_is_and_a_face_without_points_is_refused() -> None:
    frame = ramp(60, 60)
    np.testing.assert_array_equal(crop_face(frame, whole_frame(frame), 60, 60, ALIGNED), frame)
    with pytest.raises(ValueError, match="this one has none"):
        crop_face(frame, Face(0, (5, 5, 50, 50), 0.9), 60, 60, ALIGNED)
    with pytest.raises(ValueError, match="make no face"):
        crop_face(frame, Face(0, (5, 5, 50, 50), 0.9, ((9.0, 9.0),) * 5), 60, 60, ALIGNED)


def test_a_whole_frame_with_a_margin_or_an_edition_is_a_contradiction() -> None:
    assert FaceView() == FaceView(finder="whole_frame", edition=None, alignment="box", margin=0)
    for wrong in ({"alignment": "five_point"}, {"margin": 0.1}, {"edition": "0" * 64}):
        with pytest.raises(ValueError, match="a whole frame has no"):
            FaceView.model_validate(wrong)
