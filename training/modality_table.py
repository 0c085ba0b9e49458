"""What a fusion is worth when a modality is missing, trained with modality dropout and without, on drawn people.

    python -m affectrt.training.modality_table        # or: make modality-table

On the frozen encoders of the committed demo weights, as `fusion_table`: the demo's fusion, which sees every modality
in training, and, for comparison, fusions that were trained on each set of modalities alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .fusion_options import Option, SystemName
from .fusion_runs import Run
from .fusion_systems import Settings, System
from .modality_figure import figure_png
from .modality_report import page, rows
from .modality_results import ModalityResult, ModalitySystem, ModalityTable, proper_sets, set_name
from .progress import Progress
from .table_command import TableCommand
from .table_runs import complete_runs, versions

__all__ = ["main", "make_table", "option_of"]

MODALITIES: dict[SystemName, tuple[str, ...]] = {
    "rcma-text": ("video", "audio", "text"),
    "rcma": ("video", "audio"),
    "cav": ("video", "audio"),
}


def option_of(system: SystemName, modalities: Sequence[str]) -> Option:
    """The demo's fusion over some of its modalities; of a single one, which has nothing to attend to, the head."""
    changes: dict[str, object] = {}
    if tuple(modalities) != MODALITIES[system]:
        changes["modalities"] = tuple(modalities)
    if len(modalities) == 1:
        changes |= {"fusion": "concatenation"} if system == "cav" else {"attention_layers": 0}
    name = set_name(modalities)
    return Option(system, name, name.replace("+", ", "), changes, shipped="modalities" not in changes)


def make_table(settings: Settings, work: Path, progress: Progress) -> ModalityTable:
    """Train what is not yet in `work`; all results of these settings."""

    def runs_of(system: System, seed: int) -> Iterator[Run]:
        modalities = MODALITIES[system.name]
        sets, whole = proper_sets(modalities), option_of(system.name, modalities)
        without = system.fusion.model_copy(update={"drop_modality": 0.0})
        yield system.run(whole, seed, sets=sets, checked=seed == settings.seeds[0])
        yield system.run(whole, seed, fusion=without, sets=sets)
        for chosen in sets:
            yield system.run(option_of(system.name, chosen), seed, fusion=without, sets=())

    completed = complete_runs(settings, work, progress, runs_of, ModalityResult)
    systems = tuple(system.table(ModalitySystem, results) for system, results in completed)
    return ModalityTable(seeds=settings.seeds, versions=versions(), systems=systems)


COMMAND = TableCommand(
    name="modality-table",
    does="Score fusions with every set of modalities, trained with and without modality dropout.",
    systems=tuple(MODALITIES),
    make=make_table,
    page=page,
    rows=rows,
    picture=figure_png,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code as of `affectrt`: 0 fine, 1 failed, 2 wrong use, 130 interrupted."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
