"""The scheduler batches by stage, keeps order, and counts what it spent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from affectrt.runtime.scheduler import Scheduler, full_batches, stacked
from affectrt.runtime.session import Request


class Contract:
    stages = ("video", "audio", "text")
    encoder_stages = ("video", "audio", "text")

    def lengths(self, stage: str) -> tuple[int, ...]:
        return (16, 32) if stage == "text" else ()

    def stage_output(self, stage: str) -> Any:
        return type("Output", (), {"name": "features"})


class Doubling:
    def __init__(self) -> None:
        self.batches: list[int] = []

    def infer(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.batches.append(len(feeds["x"]))
        return {"features": feeds["x"] * 2}


def test_batches_by_stage_and_answers_in_order() -> None:
    engines = {"video": Doubling(), "audio": Doubling()}
    scheduler = Scheduler(Contract(), engines, max_batch=3)  # type: ignore[arg-type]
    requests = [Request("video" if k % 3 else "audio", 0, k, {"x": np.array([float(k)])}) for k in range(11)]
    results = scheduler.infer(requests)
    assert [float(r[0]) for r in results] == [2.0 * k for k in range(11)]
    assert engines["video"].batches == [3, 3, 1] and engines["audio"].batches == [3, 1]
    assert scheduler.rows == {"video": 7, "audio": 4} and scheduler.calls == {"video": 3, "audio": 2}
    assert all(seconds > 0 for seconds in scheduler.seconds.values())


def test_a_batch_has_at_least_one_row() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Scheduler(Contract(), {}, max_batch=0)  # type: ignore[arg-type]


def clips(count: int) -> list[Request]:
    return [Request("video", 0, k, {"x": np.full((16, 224, 224, 3), k, np.uint8)}) for k in range(count)]


def test_large_inputs_are_computed_one_by_one_and_not_copied_for_it() -> None:
    engines = {"video": Doubling(), "audio": Doubling()}
    scheduler = Scheduler(Contract(), engines, max_batch=8)  # type: ignore[arg-type]
    scheduler.infer([*clips(3), *(Request("audio", 0, k, {"x": np.zeros(10_240, np.float32)}) for k in range(3))])
    assert engines["video"].batches == [1, 1, 1] and engines["audio"].batches == [3]
    (clip,) = clips(1)
    assert np.shares_memory(stacked([clip])["x"], clip.feeds["x"])


def test_few_large_inputs_wait_and_many_small_ones() -> None:
    small = [Request("audio", 0, k, {"x": np.zeros(10, np.float32)}) for k in range(7)]
    fusion = Request("fusion", 0, 0, {"x": np.zeros(3, np.float32)})
    due = full_batches([*clips(3), *small, fusion], Contract(), 4)  # type: ignore[arg-type]
    assert [(r.stage, r.step) for r in due] == [
        *(("video", k) for k in range(3)),
        *(("audio", k) for k in range(4)),
        ("fusion", 0),
    ]


def test_sentences_of_one_length_are_a_batch_and_wait_for_no_others() -> None:
    engines = {"text": Doubling()}
    scheduler = Scheduler(Contract(), engines, max_batch=2)  # type: ignore[arg-type]
    lengths = [16, 32, 16, 16, 32]
    requests = [Request("text", -1, k, {"x": np.full(n, k, np.int64)}) for k, n in enumerate(lengths)]
    results = scheduler.infer(requests)
    assert [r.shape for r in results] == [(n,) for n in lengths]
    assert [int(r[0]) for r in results] == [2 * k for k in range(5)]
    assert engines["text"].batches == [2, 1, 2]
    sound = Request("audio", 0, 0, {"x": np.zeros(10, np.float32)})
    assert full_batches([sound, *requests], Contract(), 8) == requests  # type: ignore[arg-type]
