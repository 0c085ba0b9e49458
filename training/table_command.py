"""What the commands that make a page of figures share: their arguments, their errors, and the writing of the files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from affectrt.bundle.errors import AffectError, UsageError
from affectrt.bundle.modalities import Record
from affectrt.models.errors import CheckpointError

from .fusion_figure import require_matplotlib
from .fusion_options import SystemName
from .fusion_systems import Settings
from .progress import Progress

__all__ = ["TableCommand"]

RecordT = TypeVar("RecordT", bound=Record)


@dataclass(frozen=True)
class TableCommand(Generic[RecordT]):
    """A table that is trained, kept as `NAME.json`, and shown as `NAME.md` (and `NAME.png`), made from that alone.

    `rows` is what a terminal shows of it. Of several `systems` some may be asked for.
    """

    name: str
    does: str
    systems: tuple[SystemName, ...]
    make: Callable[[Settings, Path, Progress], RecordT]
    page: Callable[[RecordT], str]
    rows: Callable[[RecordT], str]
    picture: Callable[[RecordT], bytes] | None = None

    def run(self, argv: Sequence[str] | None = None) -> int:
        """Everything; the exit code as of `affectrt`: 0 fine, 1 failed, 2 wrong use, 130 interrupted."""
        given = self._parser().parse_args(argv)
        settings = Settings(
            systems=tuple(getattr(given, "system", None) or self.systems),
            seeds=(0, 1) if given.quick else Settings.seeds,
            processes=given.processes,
            quick=given.quick,
        )
        progress = Progress()
        try:
            if self.picture is not None:
                require_matplotlib()
            if given.processes < 1:
                raise UsageError(f"--processes {given.processes}", expected="1 or more")
            table = self.make(settings, given.work, progress)
            paths = self.write(table, given.out or (given.work if given.quick else Path("docs")))
        except (AffectError, CheckpointError) as error:
            print(f"{self.name}: error: {error}", file=sys.stderr)
            return error.exit_code if isinstance(error, AffectError) else 1
        except KeyboardInterrupt:
            return 130
        print(self.rows(table))
        for path in paths:
            progress.say(f"wrote {path}")
        return 0

    def write(self, table: RecordT, folder: Path) -> list[Path]:
        """The files in `folder`, each whole or not at all."""
        record = json.dumps(table.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
        contents = {"json": record.encode(), "md": self.page(table).encode()}
        if self.picture is not None:
            contents["png"] = self.picture(table)
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for suffix, content in contents.items():
            path = folder / f"{self.name}.{suffix}"
            unfinished = path.with_name(f".{path.name}.part")
            unfinished.write_bytes(content)
            unfinished.replace(path)
            written.append(path)
        return written

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=self.name, description=self.does)
        work = Path("build") / self.name
        parser.add_argument("--work", type=Path, default=work, help="corpus, features and results")
        parser.add_argument("--out", type=Path, help="where the table goes (default: docs, with --quick WORK)")
        if len(self.systems) > 1:
            parser.add_argument("--system", action="append", choices=self.systems, help="only this; may be repeated")
        parser.add_argument("--processes", type=int, default=2, help="trainings at a time (default: 2)")
        parser.add_argument("--quick", action="store_true", help="everything tiny: shows that it runs, nothing else")
        return parser
