"""All runs of a table: those that are there already are read, the rest trained, and every result is kept at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from .fusion_options import Option, SystemName
from .fusion_results import FusionTable, Result, SystemTable, append_result, read_results
from .fusion_runs import Run, results_of
from .fusion_systems import Settings, System, encoded_systems
from .progress import Progress

__all__ = ["complete_runs", "trained_table", "versions"]

ResultT = TypeVar("ResultT", bound=Result)


def complete_runs(
    settings: Settings,
    work: Path,
    progress: Progress,
    runs_of: Callable[[System, int], Iterable[Run]],
    kind: type[ResultT],
) -> list[tuple[System, list[ResultT]]]:
    """Every system with its results, in the order in which `runs_of` (system, seed) gives the runs, seed by seed.

    Whatever decides a figure is hashed into its run's identity: `work` may hold results of other settings, which are
    left alone, and a run that was stopped goes on where it was. `kind` is what these runs return.
    """
    torch.set_num_threads(settings.processes)
    systems = encoded_systems(settings, work, progress)
    # seed by seed: what is there early is a whole table
    runs = [(system.name, run) for seed in settings.seeds for system in systems for run in runs_of(system, seed)]
    store = work / "results.jsonl"
    found = dict(read_results(store, kind))
    missing = [run for _, run in runs if run.identity not in found]
    progress.say(f"{len(runs)} trainings, {len(runs) - len(missing)} of them are there already")
    remaining = _Remaining(missing)
    with progress, progress.bar("training fusions", len(missing)) as done:
        for result in results_of(missing, settings.processes):
            append_result(store, result)
            done()
            progress.say(remaining.after(result))
    found = dict(read_results(store, kind))
    return [(system, [found[run.identity] for name, run in runs if name == system.name]) for system in systems]


def trained_table(
    settings: Settings, work: Path, progress: Progress, options: Mapping[SystemName, Sequence[Option]]
) -> FusionTable:
    """Every option of every system; the demo's own fusion of the first seed is played through the session as well."""

    def runs_of(system: System, seed: int) -> Iterator[Run]:
        for option in options[system.name]:
            yield system.run(option, seed, checked=option.shipped and seed == settings.seeds[0])

    completed = complete_runs(settings, work, progress, runs_of, Result)
    systems = tuple(system.table(SystemTable, results) for system, results in completed)
    return FusionTable(seeds=settings.seeds, versions=versions(), systems=systems)


def versions() -> dict[str, str]:
    """Of what decides the figures beside our own code."""
    return {"torch": str(torch.__version__), "numpy": np.__version__}


class _Remaining:
    """How long the rest will take. An option that has not run yet is taken for an average one."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._began = time.monotonic()
        self._open = {run.identity: (run.option.system, run.option.name) for run in runs}
        self._all = len(runs)
        self._cost: dict[tuple[str, str], float] = {}
        self._spent = 0.0

    def after(self, result: Result) -> str:
        """One line about the result just got, the time since the beginning, and the time left."""
        self._open.pop(result.identity, None)
        self._cost[result.system, result.option] = result.cpu_s
        self._spent += result.cpu_s
        elapsed = time.monotonic() - self._began
        average = sum(self._cost.values()) / len(self._cost)
        rest = sum(self._cost.get(option, average) for option in self._open.values())
        left = rest * elapsed / self._spent if self._spent > 0 else 0.0
        figures = "  ".join(f"{name} {value:.3f}" for name, value in result.ccc.items())
        return (
            f"{self._all - len(self._open)}/{self._all}  {result.system} {result.option}, seed {result.seed}: {figures}"
            f"  ({_clock(elapsed)}, about {_clock(left)} left)"
        )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
