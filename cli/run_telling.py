"""What `affectrt run` says on standard error: progress, warnings, statistics, and one line of summary a source."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from affectrt.runtime.report import Progress, RunReport

__all__ = ["logs_on_stderr", "print_stats", "progress_bar", "tell"]


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        return f"affectrt: {level}{_public(record)}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        fields = {"time": when, "level": record.levelname.lower(), "logger": record.name, "message": _public(record)}
        return json.dumps(fields, ensure_ascii=False)


def _public(record: logging.LogRecord) -> str:
    from affectrt.runtime.sources.uri import redacted

    return redacted(record.getMessage())


@contextmanager
def logs_on_stderr(*, as_json: bool, quiet: bool) -> Iterator[None]:
    """The runtime's log as lines on standard error, without credentials; `quiet` leaves warnings and errors."""
    log, handler = logging.getLogger("affectrt"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if as_json else _Plain())
    handler.setLevel(logging.INFO if as_json and not quiet else logging.WARNING)
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def print_stats(record: dict[str, Any]) -> None:
    """One line of JSON."""
    print(json.dumps(record, allow_nan=False, ensure_ascii=False), file=sys.stderr, flush=True)


@contextmanager
def progress_bar(*, hidden: bool) -> Iterator[Progress | None]:
    """A bar over the media's duration on standard error, gone at the end; a mere counter where it is unknown."""
    if hidden:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.completed:.0f} s of media"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(media_s: float, duration_s: float | None) -> None:
            bar.update(task, completed=media_s, total=duration_s)

        yield show


def tell(report: RunReport, *, quiet: bool, logged: bool = False, words: str | None = None) -> None:
    """Warnings, and one line of summary, on standard error; `logged`: gaps were told when they came.

    `words`: whose words were taken, if any.
    """
    fallen = [f"{stage} runs in {facts['fallback']}" for stage, facts in report.engines.items() if "fallback" in facts]
    notes = [note.message for note in report.outcome.notes if note.kind != "stopped"]
    for text in (*fallen, *notes, *(() if logged else report.gaps)):
        print(f"affectrt: warning: {text}", file=sys.stderr)
    if report.stopped_by == "reader gone":
        return
    if report.estimates == 0 and report.stopped_by is None and report.failure is None and report.media_s < report.hop_s:
        print(
            f"affectrt: warning: {report.source} has no estimate: it ends before the first, which takes "
            f"{report.hop_s:g} s of media; a smaller --hop gives one sooner",
            file=sys.stderr,
        )
    if report.stopped_by is not None:
        print(
            f"affectrt: stopped by {report.stopped_by} at {report.media_s:.1f} s; what was written is whole",
            file=sys.stderr,
        )
    if quiet:
        return
    if report.counters:
        aged = f"; age {report.ages_ms['p50']:.0f} ms, p99 {report.ages_ms['p99']:.0f} ms" if report.ages_ms else ""
        pace = f"{report.counters.get('frames_dropped', 0):.0f} frames dropped, {report.gap_count} gaps{aged}"
    else:
        pace = f"{report.times_real_time:.{1 if report.times_real_time >= 1 else 2}f} times real time"
    if report.text:
        pace += f"; {report.text['words_heard']} words, sentences encoded {report.text['text_runs']} times"
    print(
        f"{report.source}: {report.estimates} estimates of {report.media_s:.1f} s in {report.wall_s:.1f} s, "
        f"{pace} ({report.precision}, {report.backend}{'' if words is None else f', words by {words}'})",
        file=sys.stderr,
    )
