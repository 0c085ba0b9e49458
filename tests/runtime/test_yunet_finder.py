"""Who is who from frame to frame, with detections that the test makes up."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from doubles.face_clips import HZ, backdrop

from affectrt.bundle import UsageError
from affectrt.runtime.faces import Face
from affectrt.runtime.finders import Detection, YuNetFinder
from affectrt.runtime.finders.association import best_pairs
from affectrt.runtime.finders.geometry import Geometry
from affectrt.runtime.five_point import FIVE_POINTS

# Flow has something to hold on to, and nothing moves unless a test moves it.
ROOM = backdrop(400, 240)


def at(x: float, y: float, side: float = 60.0, score: float = 0.9) -> Detection:
    marks = (FIVE_POINTS - 0.5) * side + (x, y)
    return Detection(Geometry.of((x - side / 2, y - side / 2, side, side), marks), score)


class Script:
    """A detector that finds what it is told to, and counts how often it looks."""

    def __init__(self, *found: Detection) -> None:
        self.found = list(found)
        self.looks = 0

    def detect(self, picture: np.ndarray) -> list[Detection]:
        self.looks += 1
        return self.found


def run(finder: YuNetFinder, first: int, frames: int, room: np.ndarray = ROOM) -> list[list[Face]]:
    return [finder.find(room, k / HZ) for k in range(first, first + frames)]


def numbers(faces: list[Face]) -> list[int]:
    return sorted(face.track for face in faces)


def test_the_assignment_is_the_best_of_all() -> None:
    """Against every permutation; the greedy choice would be worse in the first case."""
    assert best_pairs([{0: 1.0, 1: 0.9}, {0: 0.8}]) == {0: 1, 1: 0}
    assert best_pairs([]) == {} and best_pairs([{}, {2: 0.1}]) == {1: 2}
    rng = np.random.default_rng(2)
    for _ in range(100):
        rows, columns = rng.integers(1, 5, 2)
        table = rng.uniform(0, 1, (rows, columns)) * (rng.uniform(size=(rows, columns)) < 0.7)
        pairs = best_pairs([{c: float(v) for c, v in enumerate(row) if v > 0} for row in table])
        assert len(set(pairs.values())) == len(pairs)
        padded = np.hstack([table, np.zeros((rows, rows))])
        best = max(padded[range(rows), list(p)].sum() for p in itertools.permutations(range(columns + rows), int(rows)))
        assert sum(table[r, c] for r, c in pairs.items()) == pytest.approx(best)


def test_the_detector_looks_five_times_a_second_and_a_face_is_told_in_every_frame() -> None:
    script = Script(at(100, 100))
    told = run(YuNetFinder(script), 0, 50)
    assert script.looks == 10
    assert all(numbers(faces) == [0] for faces in told)
    assert told[-1][0].box == pytest.approx((70, 70, 130, 130), abs=0.5)
    assert told[-1][0].score == 0.9 and len(told[-1][0].landmarks or ()) == 5


def test_faces_come_largest_first_and_no_more_than_asked() -> None:
    script = Script(at(60, 60, 40), at(200, 100, 80), at(320, 160, 60), at(60, 180, 30))
    told = run(YuNetFinder(script, max_faces=3), 0, 10)[-1]
    assert [round(face.side_px) for face in told] == [80, 60, 40]


def test_a_much_larger_newcomer_takes_the_place_of_the_smallest() -> None:
    script = Script(at(60, 60, 40), at(200, 100, 80))
    finder = YuNetFinder(script, max_faces=2)
    before = run(finder, 0, 6)[-1]
    script.found.append(at(320, 160, 50))
    assert numbers(run(finder, 6, 10)[-1]) == numbers(before)
    script.found[-1] = at(320, 160, 70)
    told = run(finder, 16, 10)[-1]
    assert [round(face.side_px) for face in told] == [80, 70] and numbers(told) == [0, 2]


def test_a_weak_detection_is_nobody_new_but_keeps_who_is_known() -> None:
    script = Script(at(100, 100, score=0.5))
    finder = YuNetFinder(script)
    assert run(finder, 0, 20)[-1] == []
    script.found = [at(100, 100)]
    run(finder, 20, 10)
    script.found = [at(100, 100, score=0.5)]
    assert all(numbers(faces) == [0] for faces in run(finder, 30, 50))


def test_a_face_that_the_detector_misses_is_soon_not_told_and_comes_back_as_itself_within_a_second() -> None:
    script = Script(at(100, 100))
    finder = YuNetFinder(script)
    run(finder, 0, 26)
    script.found = []
    gone = run(finder, 26, 20)
    assert sum(bool(faces) for faces in gone) <= 10 and gone[-1] == []
    script.found = [at(104, 98)]
    assert numbers(run(finder, 46, 6)[-1]) == [0]


def test_who_comes_back_later_or_elsewhere_is_new_and_no_number_comes_twice() -> None:
    script = Script(at(100, 100))
    finder = YuNetFinder(script)
    run(finder, 0, 26)
    script.found = []
    run(finder, 26, 40)
    script.found = [at(100, 100)]
    assert numbers(run(finder, 66, 10)[-1]) == [1]
    script.found = []
    run(finder, 76, 12)
    script.found = [at(330, 60)]
    assert numbers(run(finder, 88, 10)[-1]) == [2]
    finder.reset()
    assert numbers(run(finder, 98, 10)[-1]) == [3]


def test_a_shaking_detector_moves_the_box_little_and_a_wrong_box_is_corrected() -> None:
    rng = np.random.default_rng(4)
    script = Script(at(100, 100))
    finder = YuNetFinder(script)
    boxes, found = [], []
    for k in range(200):
        x, y = 100 + rng.normal(0, 1.5, 2)
        script.found = [at(x, y)]
        boxes.append(finder.find(ROOM, k / HZ)[0].box[:2])
        found.append((x - 30, y - 30))
    steps = np.diff(np.array(boxes), axis=0)
    assert np.sqrt((steps**2).mean()) < 0.15 * np.sqrt((np.diff(found, axis=0) ** 2).mean())
    script.found = [at(112, 100)]
    assert run(finder, 200, 25)[-1][0].box[0] == pytest.approx(82, abs=0.5)


def test_other_frames_sizes_and_time_that_leaps_back_are_a_gap() -> None:
    finder = YuNetFinder(Script(at(100, 100)))
    assert numbers(run(finder, 100, 5)[-1]) == [0]
    assert numbers(run(finder, 105, 5, ROOM[:200])[-1]) == [1]
    assert numbers(run(finder, 0, 5, ROOM[:200])[-1]) == [2]
    for shape in ((1, 1, 3), (1, 900, 3), (900, 2, 3)):
        finder.find(np.zeros(shape, np.uint8), 5.0)


def test_nonsense_from_the_detector_is_no_face() -> None:
    far, flat = at(5000, 100), Detection(Geometry.of((80, 80, 40, 40), [(9.0, 9.0)] * 5), 0.9)
    assert run(YuNetFinder(Script(far, flat)), 0, 10)[-1] == []


@pytest.mark.parametrize("most", [0, 9])
def test_a_number_of_faces_out_of_range_is_wrong_use(most: int) -> None:
    with pytest.raises(UsageError, match=f"{most} faces"):
        YuNetFinder(Script(), max_faces=most)
