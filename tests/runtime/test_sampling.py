"""A sample of rows: every row as likely as another, bounded, in order, and holding on to nothing else."""

from __future__ import annotations

import numpy as np
from doubles.clip_contract import clip_contract

from affectrt.runtime.sampling import RowSample, rows_within
from affectrt.runtime.session import Request


def drawn(count: int, rows: int, seed: int) -> list[int]:
    sample = RowSample(rows, np.random.default_rng(seed))
    for step in range(count):
        sample.offer(Request("video", 0, step, {"x": np.array([step])}))
    return [int(row["x"][0]) for row in sample.rows()]


def test_every_row_is_as_likely_as_another_and_the_order_stays() -> None:
    hits = np.zeros(20)
    for seed in range(2000):
        steps = drawn(20, 5, seed)
        assert steps == sorted(set(steps)) and len(steps) == 5
        hits[steps] += 1
    # 500 each; four standard deviations of a binomial are 77.
    assert np.abs(hits - 500).max() < 80
    assert drawn(20, 5, 7) == drawn(20, 5, 7) != drawn(20, 5, 8)


def test_of_few_rows_all_are_kept_and_of_none_nothing() -> None:
    assert drawn(3, 5, 0) == [0, 1, 2]
    assert drawn(20, 0, 0) == []


def test_a_kept_row_does_not_hold_the_media_that_it_was_cut_from() -> None:
    media = np.arange(1000)
    sample = RowSample(1, np.random.default_rng(0))
    sample.offer(Request("video", 0, 0, {"x": media[3:5]}))
    (row,) = sample.rows()
    assert row["x"].tolist() == [3, 4] and not np.shares_memory(row["x"], media)


def test_rows_are_as_many_as_fit_into_memory() -> None:
    small, large = clip_contract(), clip_contract(span_frames=16, resize_px=256, crop_px=224)
    assert rows_within(small, "video", 128) == 128
    assert rows_within(large, "video", 128) == 55
    assert rows_within(large, "audio", 128) == 128
    assert rows_within(clip_contract(span_frames=1024, resize_px=224, crop_px=224), "video", 128) == 1
