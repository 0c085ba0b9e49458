"""Training, calibration and evaluation see the faces that the contract names, as a run does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from doubles.tiny_bundle import tiny_contract

from affectrt.bundle.contract import Contract
from affectrt.bundle.modalities import FaceView
from affectrt.runtime import Estimate
from affectrt.runtime.engines.base import Array
from affectrt.runtime.faces import Face, Frame
from affectrt.runtime.replay import replay
from affectrt.runtime.session import Request
from affectrt.runtime.sources import Event, Outcome, StreamEnd, VideoChunk

STEPS = 20


class Dots:
    """Pictures of grey with a white square at the left, whose middle is (10, 20)."""

    name = "dots"
    modalities = frozenset({"video"})
    duration_s = None
    outcome = Outcome()

    def __iter__(self) -> Iterator[Event]:
        frame = np.full((40, 60, 3), 100, np.uint8)
        frame[12:28, 2:18] = 255
        for step in range(STEPS):
            yield VideoChunk([frame], np.array([step / 25]))
        yield StreamEnd("video")

    def stop(self) -> None: ...

    def __enter__(self) -> Dots:
        return self

    def __exit__(self, *_: object) -> None: ...


class Left:
    """Finds the white square in every picture but the first five."""

    def __init__(self) -> None:
        self.seen = 0

    def find(self, frame: Frame, pts_s: float) -> list[Face]:
        self.seen += 1
        return [Face(0, (2.0, 12.0, 18.0, 28.0), 0.9)] if self.seen > 5 else []

    def reset(self) -> None: ...


def played(contract: Contract) -> tuple[list[Estimate], list[Array]]:
    crops: list[Array] = []

    def infer(requests: Sequence[Request]) -> list[Array]:
        crops.extend(r.feeds["frames"] for r in requests if r.stage == "video")
        return [np.zeros(contract.stage_output(r.stage).shape, np.float32) for r in requests]

    return replay(contract, Dots(), infer), crops


def test_the_whole_frame_is_seen_where_the_contract_says_so() -> None:
    estimates, crops = played(tiny_contract(audio=False))
    assert len(crops) == STEPS and min(c.min() for c in crops) == 100
    assert len(estimates) == STEPS


def test_a_contract_with_a_detector_is_replayed_with_its_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tiny_contract(audio=False)
    assert plain.video is not None
    contract = plain.model_copy(update={"video": plain.video.model_copy(update={"face": FaceView(finder="yunet")})})
    asked: list[tuple[Contract, int]] = []

    def choose(contract: Contract, faces: str = "auto", max_faces: int = 4) -> Left:
        asked.append((contract, max_faces))
        return Left()

    monkeypatch.setattr("affectrt.runtime.replay.choose_finder", choose)
    estimates, crops = played(contract)
    assert asked == [(contract, 1)]
    assert len(crops) == STEPS - 5 and all((c == 255).all() for c in crops), "the square, and nothing beside it"
    assert [round(e.t_s * 25) for e in estimates] == list(range(5, STEPS))
