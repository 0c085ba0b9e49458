"""What the tables of fusions are made of: one result per option and seed, kept in a file that only grows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Literal, TypeVar

from pydantic import ValidationError

from affectrt.bundle.modalities import Record

from .fusion_options import Option, SystemName
from .recipe import CorpusRecipe, FusionRecipe

__all__ = ["FusionTable", "Result", "Spread", "SystemTable", "append_result", "read_results", "spread"]


class Result(Record):
    """One fusion, trained from one seed. `identity` is the hash of everything that decides the figures.

    `ccc`: output → CCC on the test split; `session` the same through the runtime's session, where that was measured.
    `validation`: the best epoch's mean CCC on the validation split, by which its weights were chosen.
    """

    identity: str
    system: SystemName
    option: str
    seed: int
    ccc: dict[str, float]
    session: dict[str, float] | None = None
    validation: float
    best_epoch: int
    parameters: int
    cpu_s: float

    @property
    def mean(self) -> float:
        return mean(self.ccc.values())


ResultT = TypeVar("ResultT", bound=Result)


class SystemTable(Record):
    """All results of one system, and what they share."""

    system: SystemName
    checkpoint: str
    checkpoint_sha256: str
    corpus: CorpusRecipe
    corpus_sha256: str
    hop_steps: int
    described_steps: int
    fusion: FusionRecipe
    results: tuple[Result, ...]

    def of(self, option: Option) -> list[Result]:
        """The results of one option, by seed."""
        return sorted((r for r in self.results if r.option == option.name), key=lambda r: r.seed)


class FusionTable(Record):
    """The whole comparison, as `docs/fusion-table.json` holds it. The page and the picture are made from this alone."""

    format: Literal["affectrt-fusion-table/1"] = "affectrt-fusion-table/1"
    seeds: tuple[int, ...]
    versions: dict[str, str]
    systems: tuple[SystemTable, ...]


class Spread(Record):
    """Mean and sample standard deviation (n − 1) of one figure over the seeds; one seed alone deviates by 0."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(mean=mean(values), deviation=stdev(values) if len(values) > 1 else 0.0)

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.deviation:.3f}"


def spread(results: Iterable[Result], output: str | None = None) -> Spread:
    """Of one output's CCC, or of the mean over the outputs."""
    return Spread.of([r.mean if output is None else r.ccc[output] for r in results])


def append_result(path: Path, result: Result) -> None:
    """Add a line that is on the disk when this returns. What a killed process left of a line is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json.dumps(result.model_dump(mode="json")).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_results(path: Path, kind: type[ResultT]) -> Mapping[str, ResultT]:
    """Identity → result. Lines that are none of this kind, or cut short, are left out: they are computed again."""
    found = {}
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            result = kind.model_validate_json(line)
        except ValidationError:
            continue
        found[result.identity] = result
    return found
