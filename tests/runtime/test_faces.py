"""The crop is the square about the face, scaled, with the frame's border repeated where it ends."""

from __future__ import annotations

import numpy as np
import pytest

from affectrt.runtime.faces import Face, WholeFrame, crop_face, whole_frame


def coordinates(height: int, width: int) -> np.ndarray:
    """A frame whose red is x and whose green is y."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[:, :, 0] = np.arange(width)
    frame[:, :, 1] = np.arange(height)[:, None]
    return frame


def test_the_whole_frame_is_its_largest_centred_square() -> None:
    assert whole_frame(coordinates(100, 200)).box == (50, 0, 150, 100)
    (face,) = WholeFrame().find(coordinates(90, 51), 0.0)
    assert (face.box, face.track, face.score, face.side_px) == ((0, 19, 51, 70), 0, None, 51)


def test_without_scaling_the_crop_is_the_centre_of_the_square() -> None:
    crop = crop_face(coordinates(100, 200), Face(0, (60, 10, 108, 58)), resize_px=48, crop_px=40)
    assert crop.shape == (40, 40, 3) and crop.dtype == np.uint8
    np.testing.assert_array_equal(crop[0, :, 0], np.arange(64, 104))
    np.testing.assert_array_equal(crop[:, 0, 1], np.arange(14, 54))


def test_an_oblong_box_grows_about_its_centre() -> None:
    crop = crop_face(coordinates(100, 200), Face(0, (70, 10, 90, 50)), resize_px=40, crop_px=40)
    np.testing.assert_array_equal(crop[0, :, 0], np.arange(60, 100))
    np.testing.assert_array_equal(crop[:, 0, 1], np.arange(10, 50))


@pytest.mark.parametrize("side", [20, 96, 128])
def test_scaling_keeps_the_centre_and_the_extent(side: int) -> None:
    crop = crop_face(coordinates(200, 250), Face(0, (50, 30, 50 + side, 30 + side)), resize_px=48, crop_px=48)
    # Pixel i of the scaled square shows the source at (i + ½)·side/48 − ½.
    want = 50 + (np.arange(48) + 0.5) * side / 48 - 0.5
    assert np.abs(crop[24, :, 0] - want)[2:-2].max() <= 1


def test_beyond_the_frame_its_border_is_repeated() -> None:
    frame = coordinates(60, 80)
    crop = crop_face(frame, Face(0, (-10, -5, 30, 35)), resize_px=40, crop_px=40)
    np.testing.assert_array_equal(crop[0, :, 0], np.maximum(np.arange(-10, 30), 0))
    np.testing.assert_array_equal(crop[:, 0, 1], np.maximum(np.arange(-5, 35), 0))
    corner = crop_face(frame, Face(0, (79.6, 59.6, 99, 79)), resize_px=16, crop_px=16)
    assert (corner[:, :, 0] == 79).all() and (corner[:, :, 1] == 59).all()


def test_a_sliver_of_a_face_at_the_edge_is_still_a_crop() -> None:
    rng = np.random.default_rng(3)
    frame = coordinates(40, 50)
    for _ in range(500):
        x0, y0 = rng.uniform(-60, 49.99), rng.uniform(-60, 39.99)
        box = (x0, y0, max(x0 + rng.uniform(0.01, 70), 0.01), max(y0 + rng.uniform(0.01, 70), 0.01))
        assert crop_face(frame, Face(0, box), 12, 8).shape == (8, 8, 3)


@pytest.mark.parametrize(
    "box", [(50, 0, 60, 10), (0, 40, 10, 50), (-9, 0, 0, 9), (5, 5, 5, 9), (0, 0, float("nan"), 9), (0, 0, 1e6, 9)]
)
def test_a_box_that_misses_the_frame_is_an_error(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="no part in a frame of 50x40"):
        crop_face(coordinates(40, 50), Face(0, box), 12, 8)


def test_the_crop_is_memory_of_its_own() -> None:
    frame = coordinates(40, 40)
    crop = crop_face(frame, whole_frame(frame), 40, 40)
    before = crop.copy()
    frame[:] = 0
    np.testing.assert_array_equal(crop, before)
    assert crop.flags.c_contiguous
