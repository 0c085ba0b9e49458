"""A training whose processes are killed outright, again and again, goes on to the bits of one that was left alone.

`affectrt train` runs in a process group of its own, and SIGKILL ends it: nothing can be caught or cleaned up.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.tiny_experiments import as_toml, tiny, toy

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from affectrt.models.checkpoint import load_checkpoint  # noqa: E402

EPOCHS = 9
WIDE = {"vggish_hidden": 1000}  # its state takes a moment to be written
MOMENTS = ("begin", "writing", "any", "writing", "any", "writing")


class KilledError(Exception):
    pass


class Training:
    def __init__(self, root: Path, name: str) -> None:
        self.work, self.out = root / name, root / f"{name}.safetensors"
        self.last, self.unfinished = self.work / "last.ckpt", self.work / ".last.ckpt.part"
        paths = ["--corpus", root / "toy", "--work", self.work, "--out", self.out]
        words = ["train", root / "toy.toml", *paths, "--resume", "--accelerator", "cpu"]
        self.command = [sys.executable, "-m", "affectrt.cli.main", *map(str, words)]

    def begin(self) -> subprocess.Popen[bytes]:
        self.work.mkdir(exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(self.work)}  # what is left there is seen
        self.process = subprocess.Popen(
            self.command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        return self.process

    def finish(self) -> None:
        _, told = self.begin().communicate(timeout=300)
        assert self.process.returncode == 0, told.decode()

    def kill(self) -> bool:
        """False where it had ended by itself."""
        os.killpg(self.process.pid, signal.SIGKILL)
        _, told = self.process.communicate(timeout=60)
        assert self.process.returncode in {0, -signal.SIGKILL}, told.decode()
        return self.process.returncode != 0

    def wait(self, until: Any) -> bool:
        """Whether it came to that before it ended."""
        deadline = time.monotonic() + 120
        while self.process.poll() is None:
            if until():
                return True
            assert time.monotonic() < deadline, "the training does not go on"
        return False

    def changes(self) -> int:
        try:
            return self.last.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def check(self) -> None:
        """What has the name of a checkpoint is one, whole."""
        if self.last.exists():
            assert torch.load(self.last, weights_only=True)["affectrt"]["course"]["epoch"] > 0
        for path in self.work.glob("*.safetensors"):
            load_checkpoint(path)
        assert not self.out.exists()


def test_weights_whose_training_was_killed_while_they_were_written_are_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from affectrt.training.experiments import callbacks
    from affectrt.training.experiments.run import train_experiment

    def killed(*_: Any) -> None:
        raise KilledError

    config = tiny(epochs=1)
    corpus, work, out = toy(tmp_path / "toy", config), tmp_path / "work", tmp_path / "out.safetensors"
    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(callbacks, "save_checkpoint", killed)
        train_experiment(config, "text", corpus, out, work=work, accelerator="cpu")
    train_experiment(config, "text", corpus, out, work=work, accelerator="cpu", resume=True)
    best, final = (load_checkpoint(path).model.state_dict() for path in (work / "best.safetensors", out))
    assert all(torch.equal(best[name], tensor) for name, tensor in final.items())


@pytest.mark.slow
def test_a_training_killed_at_any_moment_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    config = tiny(epochs=EPOCHS, fields=WIDE, drop_modality=0.3)
    toy(tmp_path / "toy", config)
    (tmp_path / "toy.toml").write_text(as_toml(config), encoding="utf-8")
    whole, killed = Training(tmp_path, "whole"), Training(tmp_path, "killed")
    whole.finish()
    rng, kills, torn = np.random.default_rng(17), 0, 0
    for moment in MOMENTS:
        killed.begin()
        before = killed.changes()
        if moment == "writing":
            killed.wait(killed.unfinished.exists)
            time.sleep(rng.uniform(0, 0.003))
        elif moment == "begin" or killed.wait(lambda: killed.changes() != before):  # noqa: B023 - called at once
            time.sleep(rng.uniform(0, 0.6))
        kills += killed.kill()
        torn += killed.unfinished.exists()
        killed.check()
    print(f"\n{kills} kills, {torn} of them while the state was being written", end="")
    assert kills == len(MOMENTS) and torn >= 1
    killed.finish()
    assert killed.out.read_bytes() == whole.out.read_bytes()
    assert (killed.work / "best.safetensors").read_bytes() == (whole.work / "best.safetensors").read_bytes()
    ends = [torch.load(training.last, weights_only=True) for training in (killed, whole)]
    assert ends[0]["affectrt"]["course"] == ends[1]["affectrt"]["course"]
    for name, tensor in ends[0]["state_dict"].items():
        assert torch.equal(tensor, ends[1]["state_dict"][name]), name
    moments = [end["optimizer_states"][0]["state"] for end in ends]
    assert all(torch.equal(moments[0][i][k], moments[1][i][k]) for i in moments[0] for k in moments[0][i])
    left = [{path.name for path in training.work.iterdir()} for training in (killed, whole)]
    assert left[0] == left[1], "something unfinished lies about"
