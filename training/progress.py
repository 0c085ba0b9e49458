"""What a person sees of a training: bars with the time left, and one line for each thing that is done. On stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

__all__ = ["Progress"]

# Between two lines about the same work where there is no terminal to draw a bar on.
LINE_S = 60.0


class Progress:
    """Use in a `with` block. `quiet` shows nothing at all."""

    def __init__(self, *, quiet: bool = False) -> None:
        console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            # lines of finished work stay readable where the output is a file
            disable=not console.is_terminal,
        )
        self._console = console
        self.visible = console.is_terminal and not quiet

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        """A bar of `total` pieces; call what the block gets once a piece. Without a terminal, a line every minute."""
        number = self._bars.add_task(what, total=total)
        (task,) = (task for task in self._bars.tasks if task.id == number)
        told = time.monotonic()

        def advance() -> None:
            nonlocal told
            self._bars.advance(number)
            if not self.visible and time.monotonic() - told >= LINE_S:
                told = time.monotonic()
                left = timedelta(seconds=round(task.time_remaining or 0))
                self.say(f"{what} {task.completed:.0f}/{total}, about {left} left")

        try:
            yield advance
        finally:
            self._bars.remove_task(number)

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
