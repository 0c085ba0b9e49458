"""Rows over the batch sizes of an engine: every row once, in order, in no more padding than must be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectrt.runtime.engines.padding import parts_of


@pytest.mark.parametrize(
    ("rows", "batches", "parts"),
    [
        (1, (1, 8), [(0, 1, 1)]),
        (2, (1, 8), [(0, 2, 8)]),
        (8, (1, 8), [(0, 8, 8)]),
        (9, (1, 8), [(0, 8, 8), (8, 9, 1)]),
        (10, (1, 8), [(0, 8, 8), (8, 10, 8)]),
        (3, (1,), [(0, 1, 1), (1, 2, 1), (2, 3, 1)]),
        (5, (8,), [(0, 5, 8)]),
    ],
)
def test_rows_take_the_smallest_batch_that_holds_them(
    rows: int, batches: tuple[int, ...], parts: list[tuple[int, int, int]]
) -> None:
    assert list(parts_of(rows, batches)) == parts


@given(rows=st.integers(1, 200), batches=st.sets(st.integers(1, 16), min_size=1).map(sorted))
def test_every_row_is_computed_once_and_padding_is_only_at_the_end(rows: int, batches: list[int]) -> None:
    parts = list(parts_of(rows, batches))
    assert [row for start, stop, _ in parts for row in range(start, stop)] == list(range(rows))
    assert all(stop - start == batch == batches[-1] for start, stop, batch in parts[:-1])
    start, stop, batch = parts[-1]
    assert all(smaller < stop - start <= batch for smaller in batches if smaller < batch)
