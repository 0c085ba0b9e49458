"""Preparing in processes: killed anywhere and gone on with, in several at once, in little memory."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from doubles.media import write_media
from doubles.raw_defects import annotate, pictures, sound, write_defects
from doubles.tiny_bundle import tiny_contract

from affectrt.training.prepare import Options, prepare
from affectrt.training.prepare.affwild2 import raw_videos
from affectrt.training.prepared import PreparedCorpus


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_defects(tmp_path_factory.mktemp("raw"))


CHILD = """
import os, random, signal, sys
from pathlib import Path
root, out, bundle, left, workers = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
from affectrt.bundle.contract import Contract
from affectrt.training.prepare import Options, prepare
from affectrt.training.prepare.affwild2 import raw_videos
from affectrt.training.prepare.writer import GrowingArray
contract = Contract.model_validate_json(Path(bundle).read_text())
def step():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
def heard(event, arguments):
    if event in {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}:
        if any(str(out) in str(argument) for argument in arguments):
            step()
sys.addaudithook(heard)
append = GrowingArray.append
def counted(self, rows):
    step()
    append(self, rows)
    self._file.flush()
GrowingArray.append = counted
corpus = raw_videos(root)
prepare(corpus, out, Options(contract, faces="whole", workers=workers))
print(1000000 - left)
"""


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def run_child(raw: Path, out: Path, contract: Path, left: int, workers: int = 1) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", CHILD, raw, out, contract, left, workers]
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=300, check=False)


def killed_and_gone_on(raw: Path, tmp_path: Path, seeds: Sequence[int]) -> None:
    root = tmp_path / "raw"
    (root / "raw_videos").mkdir(parents=True)
    for name, of in (("a", "short"), ("b", "loud-longer"), ("c", "short")):
        source = next((raw / "raw_videos").glob(f"{of}.*"))
        (root / "raw_videos" / f"{name}{source.suffix}").write_bytes(source.read_bytes())
        annotate(root, name, 3)
    contract = tmp_path / "contract.json"
    contract.write_text(tiny_contract().model_dump_json())
    whole = run_child(root, tmp_path / "whole", contract, 1_000_000)
    assert whole.returncode == 0, whole.stderr
    points = int(whole.stdout)
    assert points > 100
    for seed in seeds:
        rng, out = np.random.default_rng(seed), tmp_path / f"killed-{seed}"
        kills = 0
        for left in rng.integers(1, points, 2).tolist():
            ended = run_child(root, out, contract, left)
            assert ended.returncode in {0, -9}, ended.stderr
            kills += ended.returncode == -9
        assert kills
        last = run_child(root, out, contract, 1_000_000)
        assert last.returncode == 0, last.stderr
        assert tree(out) == tree(tmp_path / "whole"), seed


def test_killed_anywhere_and_gone_on_equals_undisturbed(raw: Path, tmp_path: Path) -> None:
    killed_and_gone_on(raw, tmp_path, [0])


@pytest.mark.slow
def test_killed_anywhere_many_times_and_gone_on_equals_undisturbed(raw: Path, tmp_path: Path) -> None:
    killed_and_gone_on(raw, tmp_path, range(1, 16))


@pytest.mark.slow
def test_several_processes_make_the_bytes_of_one_and_end_with_their_parent(raw: Path, tmp_path: Path) -> None:
    contract = tiny_contract()
    one = prepare(raw_videos(raw), tmp_path / "one", Options(contract, faces="whole"))
    prepare(raw_videos(raw), tmp_path / "two", Options(contract, faces="whole", workers=2))
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    told = tmp_path / "contract.json"
    told.write_text(contract.model_dump_json())
    words = [sys.executable, "-c", CHILD, raw, tmp_path / "three", told, 1_000_000, 2]
    parent = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "three").glob("videos/.*.part")) and parent.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while any(Path(f"/proc/{child}/cmdline").exists() and alive(child) for child in children):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)
    prepare(raw_videos(raw), tmp_path / "three", Options(contract, faces="whole"))
    assert tree(tmp_path / "three") == tree(tmp_path / "one")
    assert one.made_now == 7


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


MEASURED = """
import sys
from pathlib import Path
from affectrt.bundle.contract import Contract
from affectrt.training.prepare import Options, prepare
from affectrt.training.prepare.affwild2 import raw_videos
contract = Contract.model_validate_json(Path(sys.argv[3]).read_text())
prepare(raw_videos(Path(sys.argv[1])), Path(sys.argv[2]), Options(contract, faces="whole"))
# Not getrusage: its peak is that of the process that forked, too.
print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path: Path) -> None:
    """150 528 bytes a crop: the longer video's 3000 crops take 452 MB on disk."""
    told = tmp_path / "contract.json"
    told.write_text(tiny_contract(crop_px=220).model_dump_json())  # resize_px 224
    peaks = []
    for seconds in (10, 120):
        root = tmp_path / f"raw-{seconds}"
        (root / "raw_videos").mkdir(parents=True)
        frames = np.tile(pictures(25), (seconds, 1, 1, 1))
        write_media(root / "raw_videos/long.mp4", frames=frames, samples=sound(seconds))
        annotate(root, "long", len(frames))
        words = [sys.executable, "-c", MEASURED, root, tmp_path / f"out-{seconds}", told]
        ended = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        peaks.append(int(ended.stdout) / 1024)
        assert PreparedCorpus.open(tmp_path / f"out-{seconds}").all_videos[0].record.crops == 25 * seconds
    print(f"peak memory, MiB: {peaks}")
    assert peaks[1] - peaks[0] < 40, json.dumps(peaks)
