"""Waiting for an engine: how far it is, how it ends early, and who else is building."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from affectrt.bundle.errors import EngineError
from affectrt.export.engines.build_lock import build_lock
from affectrt.export.engines.progress import Pulse, Silence, watched
from affectrt.export.engines.timing_cache import read_timings, timing_cache_path, write_timings
from affectrt.runtime.engines.gpu import Gpu

ORIN = Gpu(0, "Orin (nvgpu)", "8.7", "540.4.0 (CUDA 12.6)", "36.4.3", True, 8 << 30)


class Told(Silence):
    """What a person would have seen."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.shown: list[tuple[float | None, str]] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def show(self, share: float | None, doing: str) -> None:
        self.shown.append((share, doing))


def test_nested_phases_make_one_share_that_never_shrinks() -> None:
    pulse = Pulse("7 layers")
    assert pulse.read() == (None, "7 layers")
    pulse.phase_start("build", None, 2)
    pulse.phase_start("timing", "build", 4)
    pulse.step_complete("timing", 0)
    assert pulse.read() == (1 / 8, "timing")
    pulse.phase_finish("timing")
    assert pulse.read()[0] == 1 / 8
    pulse.step_complete("build", 0)
    assert pulse.read()[0] == 1 / 2
    pulse.phase_start("assembling", "build", 2)
    pulse.step_complete("assembling", 0)
    assert pulse.read() == (3 / 4, "assembling")
    pulse.phase_finish("build")
    assert pulse.read()[0] == 1.0


def test_phases_that_nobody_announced_or_that_are_their_own_parents_do_no_harm() -> None:
    pulse = Pulse()
    assert pulse.step_complete("unknown", 3)
    pulse.phase_finish("unknown")
    pulse.phase_start("a", "b", 0)
    pulse.phase_start("b", "a", 0)
    pulse.phase_start("root", None, 1)
    pulse.phase_start("self", "self", 1)
    assert pulse.read()[0] == 0.0


def test_a_cancelled_build_is_told_to_stop_at_its_next_step() -> None:
    pulse = Pulse()
    pulse.phase_start("build", None, 5)
    assert pulse.step_complete("build", 0)
    pulse.cancel()
    assert not pulse.step_complete("build", 1)


def test_the_waiting_thread_shows_progress_and_returns_what_was_built() -> None:
    pulse, told = Pulse("3 layers"), Told()

    def work() -> bytes:
        pulse.phase_start("build", None, 2)
        pulse.step_complete("build", 0)
        time.sleep(0.5)
        return b"plan"

    assert watched(work, pulse, told) == b"plan"
    assert (0.5, "build") in told.shown


def test_what_a_build_raises_reaches_the_one_who_waits() -> None:
    def work() -> bytes:
        raise EngineError("no memory")

    with pytest.raises(EngineError, match="no memory"):
        watched(work, Pulse(), Silence())


def test_ctrl_c_ends_a_build_at_its_next_step_and_waits_until_it_has_ended() -> None:
    pulse, told = Pulse(), Told()
    ended = threading.Event()

    def work() -> bytes:
        time.sleep(0.3)  # until the other thread waits
        os.kill(os.getpid(), signal.SIGINT)
        deadline = time.monotonic() + 20
        while pulse.step_complete("build", 0) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.5)  # what is being timed when it is told to stop
        ended.set()
        return b"too late"

    with pytest.raises(KeyboardInterrupt):
        watched(work, pulse, told)
    assert ended.is_set()
    assert any("cancelled" in line for line in told.lines)


HOLDER = """
import sys
from pathlib import Path
from affectrt.export.engines.build_lock import build_lock
with build_lock(Path(sys.argv[1]), "video int8 of model.affect", print):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_second_build_waits_for_the_first_and_says_for_whom(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None and holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        lines: list[str] = []

        def say(line: str) -> None:
            lines.append(line)
            assert holder.stdin is not None
            holder.stdin.write("go on\n")
            holder.stdin.flush()

        with build_lock(tmp_path, "audio fp16", say):
            pass
        (line,) = lines
        assert f"waiting for another build: process {holder.pid} builds video int8 of model.affect since 20" in line
    finally:
        holder.kill()
        holder.communicate(timeout=20)


def test_the_lock_of_a_process_that_died_holds_nobody_up(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.communicate(timeout=20)
    lines: list[str] = []
    with build_lock(tmp_path, "audio fp16", lines.append):
        assert lines == []


def test_a_lock_that_is_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / "build.lock").symlink_to(target)
    with pytest.raises(EngineError, match="is a symbolic link"), build_lock(tmp_path, "video", print):
        pass
    assert target.read_text() == "precious"


def test_a_timing_cache_lies_per_device_and_version_and_comes_back(tmp_path: Path) -> None:
    path = timing_cache_path(tmp_path, "10.3.0", ORIN)
    assert path == tmp_path / "timing" / "10.3.0-Orin-nvgpu-8.7.cache"
    assert read_timings(path) == (b"", None)
    assert write_timings(path, b"measured") is None
    assert read_timings(path) == (b"measured", None)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_timing_cache_that_others_may_write_is_not_used_and_the_record_says_so(tmp_path: Path) -> None:
    path = tmp_path / "timings"
    path.write_bytes(b"measured by somebody")
    path.chmod(0o666)
    content, why = read_timings(path)
    assert content == b""
    assert why is not None and "may be written by others" in why


def test_a_timing_cache_that_cannot_be_written_costs_no_engine(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    why = write_timings(tmp_path / "file" / "timings", b"measured")
    assert why is not None and "the next build will measure again" in why
