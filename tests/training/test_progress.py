"""What is told of long work where nobody can draw a bar."""

from __future__ import annotations

import itertools

import pytest

from affectrt.training import progress


def test_without_a_terminal_long_work_says_every_minute_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = itertools.count(step=16)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with progress.Progress() as shown, shown.bar("making clips", 9) as done:
        for _ in range(9):
            done()
    lines = capsys.readouterr().err.splitlines()
    assert 1 < len(lines) < 5 and all(line.startswith("making clips ") for line in lines)
    assert lines[0].split()[2] == "4/9," and lines[0].endswith(" left")


def test_quiet_work_says_nothing_however_long_it_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_S", 0.0)
    with progress.Progress(quiet=True) as shown, shown.bar("making clips", 3) as done:
        for _ in range(3):
            done()
    assert capsys.readouterr().err == ""
