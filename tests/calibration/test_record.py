"""A search that was killed goes on where it stopped, and believes of its record only what can be true."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from doubles.outlier_bundle import frames_with_flashes
from doubles.search_case import LAYERS, PLAYS, Case, Told, opened_case

from affectrt.bundle import UsageError
from affectrt.calibration.guard import Guard
from affectrt.calibration.search import Found


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    with opened_case(tmp_path_factory.mktemp("damaged") / "outlier.affect") as case:
        yield case


@pytest.fixture(scope="module")
def whole(damaged: Case) -> Found:
    """The outcome of a search that nobody disturbed."""
    return damaged.search(damaged.judge())


def tree(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def stop_at(number: int) -> Callable[[int], None]:
    def stop(play: int) -> None:
        if play == number:
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize("at", [1, 2, 4, PLAYS])
def test_stopped_at_any_time_the_next_run_repeats_nothing_and_ends_the_same(
    damaged: Case, whole: Found, tmp_path: Path, at: int
) -> None:
    record, before = tmp_path / "search.jsonl", tree(damaged.bundle.path)
    first, second = damaged.judge(stop_at(at)), damaged.judge()
    with pytest.raises(KeyboardInterrupt):
        damaged.search(first, record=record)
    assert tree(damaged.bundle.path) == before
    damaged.opened.clear()
    told = Told()
    assert damaged.search(second, record=record, progress=told) == whole
    assert (first.plays, second.plays) == (at - 1, PLAYS - (at - 1))
    assert len(damaged.opened) == len(set(damaged.opened)) <= PLAYS - (at - 1)
    # Of a layer alone the features come first.
    done = (at - 1) + min(at - 1, LAYERS)
    assert (f"{done} finished measurements of {record} are taken over" in told.lines) == (at > 1)
    third = damaged.judge()
    assert damaged.search(third, record=record) == whole and third.plays == 0
    assert tree(damaged.bundle.path) == before


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from doubles.search_case import opened_case

def kill(play):
    if play == 4:
        os.kill(os.getpid(), signal.SIGKILL)

with opened_case(Path(sys.argv[2])) as case:
    case.search(case.judge(kill), record=Path(sys.argv[3]))
"""


def test_killed_for_good_the_next_process_goes_on(damaged: Case, whole: Found, tmp_path: Path) -> None:
    record, before, here = tmp_path / "search.jsonl", tree(damaged.bundle.path), Path(__file__).parents[1]
    command = [sys.executable, "-c", KILLED, str(here), str(damaged.bundle.path), str(record)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert tree(damaged.bundle.path) == before
    judge = damaged.judge()
    assert damaged.search(judge, record=record) == whole
    assert judge.plays == PLAYS - 3


@pytest.fixture
def finished(damaged: Case, whole: Found, tmp_path: Path) -> Path:
    path = tmp_path / "search.jsonl"
    assert damaged.search(damaged.judge(), record=path) == whole
    return path


def test_a_torn_last_line_is_measured_again_and_no_other(damaged: Case, whole: Found, finished: Path) -> None:
    content = finished.read_bytes()
    finished.write_bytes(content[:-20])
    judge = damaged.judge()
    assert damaged.search(judge, record=finished) == whole and judge.plays == 1
    assert finished.read_bytes() == content


def test_a_record_of_other_data_is_begun_anew_with_the_reason(damaged: Case, finished: Path) -> None:
    told = Told()
    other = replace(damaged, videos=[frames_with_flashes(20, seed) for seed in range(20, 26)])
    judge = other.judge()
    other.search(judge, record=finished, progress=told)
    assert judge.plays == PLAYS and told.lines[0] == f"{finished} is of another search, so it is begun anew"


def test_a_stricter_guard_goes_on_from_what_was_measured_for_another(damaged: Case, finished: Path) -> None:
    judge = damaged.judge()
    assert damaged.search(judge, record=finished, guard=Guard(0.0, 1e-9)).fallen_back == ("video",)
    # No layer kept and the worst one are known; so is all but one, which was measured alone, and FP32.
    assert judge.plays == LAYERS - 3


def changed(line: str, **values: object) -> str:
    return json.dumps({**json.loads(line), **values})


def better(line: str) -> str:
    """A candidate as good as FP32, if one believes the loss alone."""
    entry = json.loads(line)
    for found in entry["ccc"].values():
        found["loss"] = {"value": 0.0, "low": 0.0, "high": 0.0}
    return json.dumps(entry)


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (better, "contradict each other"),
        (lambda line: changed(line, ccc={}), "compares nothing and lost 0"),
        (lambda line: changed(line, lost=-1), "lost"),
        (lambda line: changed(line, of="../../etc/passwd"), "of"),
        (lambda line: changed(line, more=1), "more"),
        (lambda line: line.replace('"lost": 0', '"lost": 0, "lost": 0'), "twice"),
        (lambda line: line.replace('"value": ', '"value": NaN, "was": ', 1), "NaN"),
        (lambda line: "[" * 5000, "deeper"),
        (lambda line: "\x00" * 50, "not JSON"),
        (lambda line: "", "not JSON"),
    ],
)
def test_a_line_that_cannot_be_true_is_not_believed_nor_what_follows(
    damaged: Case, whole: Found, finished: Path, lie: Callable[[str], str], told: str
) -> None:
    lines = finished.read_text().splitlines()
    assert "ccc" in json.loads(lines[1])  # everything INT8, which failed
    finished.write_text("\n".join([lines[0], lie(lines[1]), *lines[2:]]) + "\n")
    heard, judge = Told(), damaged.judge()
    assert damaged.search(judge, record=finished, progress=heard) == whole
    assert judge.plays == PLAYS and "line 2 and what follows is left out" in heard.lines[0] and told in heard.lines[0]


def test_a_header_of_another_version_is_begun_anew(damaged: Case, whole: Found, finished: Path) -> None:
    finished.write_text(finished.read_text().replace('"version": 1', '"version": 2'))
    judge = damaged.judge()
    assert damaged.search(judge, record=finished) == whole and judge.plays == PLAYS


def test_a_file_that_is_no_record_is_left_alone(damaged: Case, tmp_path: Path) -> None:
    notes, link, pipe = tmp_path / "notes.txt", tmp_path / "link", tmp_path / "pipe"
    notes.write_text("mine\n")
    link.symlink_to(notes)
    os.mkfifo(pipe)
    for path, why in ((notes, "is not the record"), (link, "cannot be opened"), (pipe, "not a plain file")):
        judge = damaged.judge()
        with pytest.raises(UsageError, match=why):
            damaged.search(judge, record=path)
        assert judge.plays == 0
    assert notes.read_text() == "mine\n"


def test_two_searches_do_not_write_one_record(damaged: Case, tmp_path: Path) -> None:
    record = tmp_path / "search.jsonl"

    def second(_play: int) -> None:
        with pytest.raises(UsageError, match="another search is writing"):
            damaged.search(damaged.judge(), record=record)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        damaged.search(damaged.judge(second), record=record)
