"""How rows are spread over the batch sizes that an engine was built for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["parts_of"]


def parts_of(rows: int, batches: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Parts (start, stop, batch) that cover rows 0 … `rows` in order; `batches` ascend.

    Full calls of the largest batch, then the smallest batch that holds the rest; what it has too many is padding.
    """
    largest = batches[-1]
    start = 0
    while rows - start >= largest:
        yield start, start + largest, largest
        start += largest
    if start < rows:
        yield start, rows, next(batch for batch in batches if batch >= rows - start)
