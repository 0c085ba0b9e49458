"""Damaged media ends in a note or in an error that says so: never in a crash, a hang, or memory without bound.

Each file is read in a process of its own. What was found this way and is the fault of a plugin stays here as a known
case: a demuxer that never gives up is ended by the limit on opening, and the run says so.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, product
from pathlib import Path

import pytest
from doubles.fuzz_reader import LIMIT_S, Verdict, readers
from doubles.mutations import KINDS, MEDIA, mutated, small_media

from affectrt.bundle.errors import MediaError
from affectrt.runtime.sources import FileSource, VideoWish

# The most that was seen is 381 MB, of a film whose timestamps leap by days; a sound film takes 100.
PEAK_MB = 600.0
# Name of a file, kind of damage, seed.
Case = tuple[str, str, int]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in small_media(tmp_path_factory.mktemp("whole")).items()}


def damaged(case: Case, media: dict[str, bytes], folder: Path) -> Path:
    name, kind, seed = case
    path = folder / f"{kind}-{seed}-{name}"
    path.write_bytes(mutated(media[name], kind, seed))
    return path


def verdicts(cases: list[Case], media: dict[str, bytes], folder: Path, processes: int) -> list[Verdict]:
    def read(turn: int) -> list[Verdict]:
        found = []
        for case in cases[turn::processes]:
            path = damaged(case, media, folder)
            found.append(programs[turn].read(path))
            path.unlink()
        return found

    with readers(processes) as programs, ThreadPoolExecutor(processes) as pool:
        return [verdict for some in pool.map(read, range(processes)) for verdict in some]


def assert_all_good(found: list[Verdict]) -> None:
    bad = [f"{Path(v.path).name}: {v.end}, {v.detail}, {v.seconds:.1f} s" for v in found if not v.good]
    greedy = [f"{Path(v.path).name}: {v.peak_mb:.0f} MB" for v in found if v.peak_mb > PEAK_MB]
    assert bad == [] and greedy == []
    slowest = max(found, key=lambda v: v.seconds)
    print(f"{len(found)} files, slowest {slowest.seconds:.1f} s, {max(v.peak_mb for v in found):.0f} MB at most")
    print(Counter(f"{v.end}: {v.detail}" for v in found).most_common())


def test_27_damaged_files_are_read_or_refused(media: dict[str, bytes], tmp_path: Path) -> None:
    names = list(MEDIA)
    cases = [(names[(at + seed) % len(names)], kind, seed) for seed in range(3) for at, kind in enumerate(KINDS)]
    found = verdicts(cases, media, tmp_path, 2)
    assert len(found) == 27
    assert_all_good(found)
    assert {v.end for v in found} == {"read", "refused"}, "the damage neither spares nor ruins everything"


@pytest.mark.slow
def test_540_damaged_files_are_read_or_refused(media: dict[str, bytes], tmp_path: Path) -> None:
    found = verdicts(list(product(MEDIA, KINDS, range(1, 11))), media, tmp_path, 2)
    assert len(found) == 540
    assert_all_good(found)


def test_a_crash_and_a_hang_would_be_told(tmp_path: Path) -> None:
    """The judge itself can fail: what it reads through is replaced by what ends the process, or never ends."""
    script = f"""
import os, sys, time
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from doubles import fuzz_reader
fuzz_reader.LIMIT_S = 0.5
for end in (os.abort, lambda: time.sleep(60), lambda: os._exit(3), lambda: 1 / 0):
    fuzz_reader.outcome_of = lambda path, end=end: ("read" if end() else "read", "")
    try:
        print(fuzz_reader._read_apart("x")["end"], flush=True)
    except ZeroDivisionError:
        os._exit(1)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert told.stdout.split()[:3] == ["crashed", "hung", "crashed"]


def test_the_same_seed_always_does_the_same_damage(media: dict[str, bytes]) -> None:
    for name, kind in product(MEDIA, KINDS):
        once = mutated(media[name], kind, 5)
        assert once == mutated(media[name], kind, 5) != media[name], (name, kind)
        assert once != mutated(media[name], kind, 6)


def test_damaged_files_leave_no_thread_and_no_descriptor_behind(media: dict[str, bytes], tmp_path: Path) -> None:
    cases = list(islice(product(MEDIA, KINDS, range(3, 4)), 0, None, 3))
    paths = [damaged(case, media, tmp_path) for case in cases]
    script = f"""
import gc, os, sys
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from doubles.fuzz_reader import outcome_of
def held():
    gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), pages * 4096 / 1e6
for _ in range(5):
    for path in sys.argv[1:]:
        outcome_of(path)
    print(*held(), flush=True)
"""
    told = subprocess.run(
        [sys.executable, "-c", script, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    rounds = [[float(number) for number in line.split()] for line in told.stdout.splitlines()]
    descriptors, threads, megabytes = zip(*rounds, strict=True)
    assert descriptors[1] == descriptors[-1] and threads[1] >= threads[-1], rounds
    assert megabytes[-1] - megabytes[1] < 10, rounds


@pytest.mark.slow
def test_fragments_without_an_index_are_given_up(media: dict[str, bytes], tmp_path: Path) -> None:
    """Known case: qtdemux (1.22) reads the first fragment of an MP4 over and over when its moov box is unreadable."""
    path = tmp_path / "no-moov.mp4"
    path.write_bytes(media["fragmented.mp4"].replace(b"moov", b"m\x0fov", 1))
    began = time.monotonic()
    with (
        pytest.raises(MediaError, match=r"neither audio nor video within 8 s|no playable streams"),
        FileSource(path, video=VideoWish(), audio_rate_hz=16_000) as source,
    ):
        list(source)
    assert time.monotonic() - began < LIMIT_S


def test_sound_that_claims_an_absurd_rate_is_refused(media: dict[str, bytes], tmp_path: Path) -> None:
    """Resampling 600 MHz took a minute a second of sound; rates that GStreamer has no caps for raised in a callback."""
    for rate_hz in (604_027_776, 0xFFFF_FFFF, 0):
        content = bytearray(media["plain.wav"])
        content[24:28] = rate_hz.to_bytes(4, "little")
        path = tmp_path / f"{rate_hz}.wav"
        path.write_bytes(content)
        with pytest.raises(MediaError), FileSource(path, audio_rate_hz=16_000) as source:
            list(source)
