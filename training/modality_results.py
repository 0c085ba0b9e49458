"""What the table of missing modalities is made of: a fusion's CCC with every set of modalities given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import mean
from typing import Literal

from affectrt.bundle.modalities import Record

from .fusion_results import Result, SystemTable

__all__ = ["ModalityResult", "ModalitySystem", "ModalityTable", "by_seed", "proper_sets", "set_name"]


def set_name(modalities: Sequence[str]) -> str:
    """As a set is called in results, and the fusion that was trained on it alone."""
    return "+".join(modalities)


def proper_sets(modalities: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Every set that lacks some but not all, the larger ones first."""
    return tuple(s for size in range(len(modalities) - 1, 0, -1) for s in combinations(modalities, size))


class ModalityResult(Result):
    """`ccc` and `session` of all modalities of the fusion; with a set of them alone, set → output → CCC, `given` of
    windows and `played` through the runtime's session, where that was measured. `drop_modality` as in its recipe."""

    drop_modality: float
    given: dict[str, dict[str, float]]
    played: dict[str, dict[str, float]]

    def with_only(self, name: str) -> Mapping[str, float]:
        """Output → CCC of a set; KeyError where it was not scored."""
        return self.ccc if name == self.option else self.given[name]


class ModalitySystem(SystemTable):
    """The demo's fusion with and without modality dropout, and fusions of fewer modalities; `fusion` is the recipe of
    those with dropout. All others were trained without."""

    results: tuple[ModalityResult, ...]

    @property
    def modalities(self) -> tuple[str, ...]:
        return max((tuple(r.option.split("+")) for r in self.results), key=len)

    @property
    def sets(self) -> tuple[str, ...]:
        """All modalities, then every set of them, the larger ones first."""
        return tuple(set_name(s) for s in (self.modalities, *proper_sets(self.modalities)))

    @property
    def without(self) -> list[ModalityResult]:
        """Of all modalities, trained without dropout."""
        return self._found(self.sets[0], 0.0)

    @property
    def dropped(self) -> list[ModalityResult]:
        """Of all modalities, trained with the dropout of the recipe."""
        return self._found(self.sets[0], self.fusion.drop_modality)

    def alone(self, name: str) -> list[ModalityResult]:
        """The fusions that were trained on a set alone, without dropout, by seed."""
        return self._found(name, 0.0)

    def _found(self, option: str, drop_modality: float) -> list[ModalityResult]:
        found = (r for r in self.results if r.option == option and r.drop_modality == drop_modality)
        return sorted(found, key=lambda r: r.seed)


class ModalityTable(Record):
    """The whole matrix, as `docs/modality-table.json` holds it. The page and the picture are made from this alone."""

    format: Literal["affectrt-modality-table/1"] = "affectrt-modality-table/1"
    seeds: tuple[int, ...]
    versions: dict[str, str]
    systems: tuple[ModalitySystem, ...]


def by_seed(results: Sequence[ModalityResult], name: str, output: str | None = None) -> list[float]:
    """CCC with a set of modalities given: of one output, or the mean over the outputs."""
    found = (result.with_only(name) for result in results)
    return [mean(ccc.values()) if output is None else ccc[output] for ccc in found]
