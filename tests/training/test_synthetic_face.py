from dataclasses import replace

import cv2
import numpy as np
import pytest

from affectrt.training.metrics import ccc
from affectrt.training.synthetic import FaceState, draw_face, make_identity, make_path
from affectrt.training.synthetic.affect_path import slow_noise
from affectrt.training.synthetic.face import SHOWN_LIMIT
from affectrt.training.synthetic.motion import face_states

NEUTRAL = FaceState(0.0, 0.0)


@pytest.fixture(scope="module")
def person():
    return make_identity(2024, 4).face


def difference(a, b):
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def test_a_face_is_the_same_every_time(person):
    assert np.array_equal(draw_face(person, NEUTRAL, 64), draw_face(person, NEUTRAL, 64))


@pytest.mark.parametrize("size_px", [40, 128, 256])
def test_a_face_fills_its_picture(person, size_px):
    picture = draw_face(person, NEUTRAL, size_px)
    assert picture.shape == (size_px, size_px, 3)
    assert picture.dtype == np.uint8
    # the middle of the picture is skin: nearer to the person's colour than the wall is
    skin = np.array(person.skin, float)
    middle, corner = picture[size_px // 2, size_px * 3 // 8].astype(float), picture[2, 2].astype(float)
    assert np.abs(middle - skin).mean() < np.abs(corner - skin).mean()


def test_people_differ():
    pictures = [draw_face(make_identity(2024, i).face, NEUTRAL, 64) for i in range(8)]
    assert min(difference(a, b) for i, a in enumerate(pictures) for b in pictures[:i]) > 8


@pytest.mark.parametrize("axis", ["valence", "arousal"])
def test_each_dimension_is_seen_at_forty_pixels(person, axis):
    low, high = (draw_face(person, replace(NEUTRAL, **{axis: value}), 40) for value in (-0.8, 0.8))
    changed = np.abs(low.astype(int) - high).max(axis=2) > 25  # the noise is the same in both
    assert changed.mean() > 0.025


def test_what_is_shown_saturates(person):
    limit, beyond = (draw_face(person, FaceState(v, v), 64) for v in (SHOWN_LIMIT, 5.0))
    assert np.array_equal(limit, beyond)


def test_a_smile_turns_the_corners_of_the_mouth_up(person):
    def corners_below_middle(valence):
        # the mouth is where the picture differs from the same face speaking
        shut = draw_face(person, FaceState(valence, -0.5), 256).astype(int)
        region = shut[160:220, 90:166].sum(axis=2)
        darkest = region.argmin(axis=0)
        return np.mean(darkest[[12, 13, 62, 63]]) - np.mean(darkest[35:41])

    assert corners_below_middle(-1.0) > corners_below_middle(1.0) + 8


def test_blinking_hides_the_eyes(person):
    def iris(state):
        return int((draw_face(person, state, 256)[105:125, 80:110].sum(axis=2) < 150).sum())

    assert iris(replace(NEUTRAL, arousal=0.8)) > 1.5 * iris(replace(NEUTRAL, arousal=0.8, blink=1.0))


def test_a_linear_look_at_small_grey_pictures_reads_people_it_has_not_seen():
    """Against each person's mean picture, as someone would who knows the face but not its expressions."""
    looks, shown = [], []
    for index in range(40):
        person, rng = make_identity(7, index).face, np.random.default_rng([7, index])
        path = make_path(rng, 600)
        states = face_states(path.face, np.clip(0.4 * slow_noise(rng, 600, 0.1), 0, 1), rng)
        steps = range(0, 600, 8)
        grey = [cv2.cvtColor(draw_face(person, states[step], 40), cv2.COLOR_RGB2GRAY) for step in steps]
        small = np.array([cv2.resize(g, (16, 16), interpolation=cv2.INTER_AREA).ravel() for g in grey], float)
        small = (small - small.mean(axis=1, keepdims=True)) / small.std(axis=1, keepdims=True)
        looks.append(small - small.mean(axis=0))
        seen = np.clip(path.face[list(steps)], -SHOWN_LIMIT, SHOWN_LIMIT)
        shown.append(seen - seen.mean(axis=0))
    fit, target = np.vstack(looks[:30]), np.vstack(shown[:30])
    weights = np.linalg.solve(fit.T @ fit + 10 * np.eye(fit.shape[1]), fit.T @ target)
    read, true = np.vstack(looks[30:]) @ weights, np.vstack(shown[30:])
    scores = [ccc(read[:, i], true[:, i]) for i in range(2)]
    assert min(scores) > 0.45, scores
