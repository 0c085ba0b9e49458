"""`affectrt train` and `affectrt evaluate` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("gi")

from affectrt.bundle import open_bundle
from affectrt.cli.main import main

TINY = """
name = "tiny"
seed = 5
threads = 1
model = "demo"
licence = "Apache-2.0"
intended_use = "tests"
corpus = { seed = 5, train = 2, validation = 1, test = 2, seconds = 2.0, frame_px = 64 }
encoders.video = { epochs = 1, batches = 2, batch = 8, learning_rate = 1e-3 }
encoders.audio = { epochs = 1, batches = 2, batch = 8, learning_rate = 1e-3 }
fusion = { epochs = 1, batches = 2, batch = 2, learning_rate = 1e-3 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a recipe, the checkpoint trained from it, and the corpus in `work/corpus`."""
    folder = tmp_path_factory.mktemp("verbs")
    (folder / "tiny.toml").write_text(TINY)
    arguments = [str(folder / "tiny.toml"), "--out", str(folder / "tiny.safetensors"), "--work", str(folder / "work")]
    assert main(["train", *arguments]) == 0
    return folder


def test_train_prints_scores_and_the_checkpoint(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Going on with a finished training repeats its results without training again."""
    out = folder / "again.safetensors"
    work = str(folder / "work")
    assert main(["train", str(folder / "tiny.toml"), "--out", str(out), "--work", work, "--resume"]) == 0
    shown = capsys.readouterr()
    assert "video+audio" in shown.out and shown.out.rstrip().endswith("again.safetensors")
    assert 'name = "tiny"' in shown.err and "encoder 1/1" not in shown.err
    assert out.read_bytes() == (folder / "tiny.safetensors").read_bytes()


def test_evaluate_tells_every_set_of_modalities(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(folder / "tiny.safetensors"), str(folder / "work" / "corpus")]
    assert main(["evaluate", *arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["evaluations"]
    assert [e["modalities"] for e in told] == [["video", "audio"], ["video"], ["audio"]]
    assert all(video["rows"] == video["estimated"] == 50 for e in told for video in e["videos"])
    assert main(["evaluate", *arguments, "--modalities", "audio", "--split", "validation"]) == 0
    table = capsys.readouterr().out
    assert "validation" in table and "video+audio" not in table


def test_evaluate_records_its_scores_in_the_bundle(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, corpus = folder / "tiny.affect", str(folder / "work" / "corpus")
    assert main(["export", str(folder / "tiny.safetensors"), "--out", str(path), "--corpus", corpus, "--quiet"]) == 0
    exported = open_bundle(path)
    assert {a.backend for a in exported.manifest.accuracy} == {"torch"}, "what the checkpoint says of itself travels"
    capsys.readouterr()
    assert main(["evaluate", str(path), corpus, "--modalities", "video,audio", "--record", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["evaluations"]
    (kept,) = [a for a in open_bundle(path).manifest.accuracy if a.backend == "onnxruntime"]
    assert kept.videos == 2 and kept.ccc["arousal"].model_dump() == told["ccc"]["arousal"]
    assert main(["evaluate", str(folder / "tiny.safetensors"), corpus, "--record"]) == 1
    assert "is not a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--precision", "int8"], "fp32: a checkpoint has no other"),
        (["--modalities", "smell"], "some of video, audio"),
        (["--split", "train", "--hop", "999"], "1 … 300 steps"),
    ],
)
def test_evaluate_refuses_what_cannot_be(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    code = main(["evaluate", str(folder / "tiny.safetensors"), str(folder / "work" / "corpus"), *arguments])
    assert code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--out", "x.pt"], "--out x.safetensors"), (["--out", "x.safetensors", "--resume"], "--work DIR")],
)
def test_train_refuses_before_it_begins(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main(["train", str(folder / "tiny.toml"), *arguments]) == 2
    assert told in capsys.readouterr().err
