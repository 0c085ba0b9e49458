"""Which face is the person that an annotation speaks of."""

from pathlib import Path

import numpy as np
import pytest
from doubles.face_clips import HZ, Place, backdrop, head, picture, yunet_path
from doubles.media import write_media
from doubles.tiny_bundle import tiny_contract

from affectrt.runtime.faces import Face
from affectrt.training.prepare import Options, RawCorpus, RawVideo, prepare
from affectrt.training.prepare.person import person_of

WIDTH = 200.0


def face(track: int, x: float, side: float = 40.0) -> Face:
    return Face(track, (x - side / 2, 50.0, x + side / 2, 50.0 + side), 0.9)


def tracks(chosen: list[Face | None]) -> list[int | None]:
    return [None if one is None else one.track for one in chosen]


def test_left_and_right_are_told_by_position_where_both_are_seen() -> None:
    seen = [[face(3, 150), face(5, 60)]] * 4 + [[]] + [[face(5, 160)]]  # alone, 5 has walked to the right
    assert tracks(person_of(seen, WIDTH, "left")) == [5, 5, 5, 5, None, 5]
    assert tracks(person_of(seen, WIDTH, "right")) == [3, 3, 3, 3, None, None]


def test_who_is_never_beside_another_has_the_side_of_the_frame() -> None:
    seen = [[face(1, 40)], [face(1, 40)], [face(2, 170)], []]
    assert tracks(person_of(seen, WIDTH, "left")) == [1, 1, None, None]
    assert tracks(person_of(seen, WIDTH, "right")) == [None, None, 2, None]


def test_who_stands_between_two_is_nobody_of_a_side() -> None:
    seen = [[face(1, 30), face(2, 100, 90), face(3, 170)]] * 3
    assert tracks(person_of(seen, WIDTH, "left")) == [1, 1, 1]


def test_the_main_person_is_large_for_long_and_keeps_its_later_tracks() -> None:
    near_for_a_moment = [[face(9, 100, 120), face(1, 100, 60)]]
    seen = near_for_a_moment + [[face(1, 100, 60)]] * 8 + [[]] + [[face(2, 90, 55), face(4, 20, 20)]] * 5
    assert tracks(person_of(seen, WIDTH, None)) == [1] * 9 + [None] + [2] * 5


def test_a_small_bystander_does_not_stand_in_for_the_main_person() -> None:
    seen = [[face(1, 100, 60)]] * 5 + [[face(2, 20, 15)]] * 5
    assert tracks(person_of(seen, WIDTH, None)) == [1] * 5 + [None] * 5


def test_faces_found_by_the_detector_are_those_of_the_side(tmp_path: Path) -> None:
    detector = yunet_path()
    people = (head(), head(mirrored=True, gain=(0.5, 0.7, 1.2)))
    room, count = backdrop(480, 240), 30
    frames = np.stack(
        [
            picture(
                room, [(people[0], Place(120 + i, 120, 80)), (people[1], Place(360, 120, 80))][: 2 if i < 20 else 1]
            )
            for i in range(count)
        ]
    )
    media = write_media(tmp_path / "two.mp4", frames=frames, fps=round(HZ))
    truth = np.zeros((count, 2), np.float32)
    videos = (
        RawVideo("two_left", "train", media, truth, side="left"),
        RawVideo("two_right", "train", media, truth, side="right"),
    )
    raw = RawCorpus(tmp_path, "affwild2", "", videos)
    contract = tiny_contract(crop_px=60)
    made = prepare(raw, tmp_path / "out", Options(contract, faces="found", detector=detector)).corpus
    left, right = made.all_videos
    assert left.record.seen == count
    assert 20 <= right.record.seen <= 26  # held for a moment
    assert made.contract_parts.video is not None and made.contract_parts.video.face.finder == "yunet"
    assert made.record.made_by.detector == made.contract_parts.video.face.edition
    # The right one is blue, the left one is not.
    tint = [float(np.mean(v.spans().crops[:15, ..., 2]) - np.mean(v.spans().crops[:15, ..., 0])) for v in (left, right)]
    assert tint[1] > tint[0] + 20, tint


@pytest.mark.parametrize("side", ["left", "right", None])
def test_of_nothing_nobody_is_chosen(side: str | None) -> None:
    assert person_of([[], []], WIDTH, side) == [None, None]  # type: ignore[arg-type]
