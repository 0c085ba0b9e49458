"""Which fusion is best on drawn people: every option trained from several seeds on the same frozen encoders.

    python -m affectrt.training.fusion_table        # or: make fusion-table

The encoders are those of the committed demo weights; both papers, too, train their fusion on backbones that stay as
they are. The corpus is encoded once, then each (option, seed) is trained and scored on the test identities.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .fusion_figure import figure_png
from .fusion_options import OPTIONS
from .fusion_report import page, tables_text
from .fusion_results import FusionTable
from .fusion_systems import Settings
from .progress import Progress
from .table_command import TableCommand
from .table_runs import trained_table

__all__ = ["main", "make_table"]


def make_table(settings: Settings, work: Path, progress: Progress) -> FusionTable:
    """Train what is not yet in `work`; all results of these settings."""
    return trained_table(settings, work, progress, OPTIONS)


COMMAND = TableCommand(
    name="fusion-table",
    does="Train and compare every fusion of both systems.",
    systems=tuple(OPTIONS),
    make=make_table,
    page=page,
    rows=tables_text,
    picture=figure_png,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code as of `affectrt`: 0 fine, 1 failed, 2 wrong use, 130 interrupted."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
