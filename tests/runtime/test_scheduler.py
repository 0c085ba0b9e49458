"""The scheduler batches by stage, keeps order, and counts what it spent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from affectrt.runtime.scheduler import Scheduler
from affectrt.runtime.session import Request


class Contract:
    stages = ("video", "audio")

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
