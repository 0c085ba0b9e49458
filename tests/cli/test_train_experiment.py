"""`affectrt train` with an experiment, as a person types it."""

from __future__ import annotations

from pathlib import Path

import pytest
from doubles.tiny_experiments import as_toml, tiny, toy

pytest.importorskip("torch")
pytest.importorskip("lightning")

from affectrt.cli.main import main
from affectrt.models.checkpoint import load_checkpoint

RECIPE = Path(__file__).parents[2] / "training/recipes/rcma-demo.toml"


def experiment(folder: Path) -> Path:
    path = folder / "toy.toml"
    path.write_text(as_toml(tiny(epochs=1)), encoding="utf-8")
    return path


def test_an_experiment_is_trained_and_its_score_and_checkpoint_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, out = toy(tmp_path / "toy", tiny()), tmp_path / "toy.safetensors"
    given = ["--corpus", str(corpus), "--out", str(out), "--output", "arousal", "--seed", "7", "--accelerator", "cpu"]
    assert main(["train", str(experiment(tmp_path)), *given]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[0].startswith("validation arousal CCC ")
    assert told.out.splitlines()[-1] == str(out)
    assert "epoch 1/1" in told.err
    loaded = load_checkpoint(out)
    assert loaded.provenance["seed"] == 7
    assert [o["name"] for o in loaded.model.contract()["outputs"]] == ["arousal"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "names no corpus"),
        (["--corpus", "nowhere"], "nowhere is not a prepared corpus"),
        (["--corpus", "nowhere", "--fold", "6"], "fold"),
        (["--corpus", "nowhere", "--precision", "8"], "precision"),
        (["--corpus", "nowhere", "--devices", "2"], "several processes without --work"),
        (["--corpus", "nowhere", "--resume"], "--resume without --work"),
        (["--corpus", "nowhere", "--accelerator", "warp"], "--accelerator warp"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main(["train", str(experiment(tmp_path)), "--out", str(tmp_path / "x.safetensors"), *arguments]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "x.safetensors").exists()


def test_a_gpu_that_is_asked_for_and_not_there_is_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    told = ["--out", str(tmp_path / "x.safetensors"), "--corpus", "nowhere", "--accelerator", "gpu"]
    assert main(["train", str(experiment(tmp_path)), *told]) == 2
    assert "PyTorch sees no GPU" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["an experiment", "a recipe"])
@pytest.mark.parametrize("option", ["--out", "--work"])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, option: str
) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    places = {"--out": tmp_path / "x.safetensors", "--work": tmp_path / "work"}
    places[option] = file / "x.safetensors" if option == "--out" else file
    told = [str(RECIPE)]
    if kind == "an experiment":
        told = [str(experiment(tmp_path)), "--corpus", str(toy(tmp_path / "toy", tiny())), "--accelerator", "cpu"]
    assert main(["train", *told, *(str(word) for pair in places.items() for word in pair)]) == 2
    error = capsys.readouterr().err
    assert f"{option}: {file} cannot be written" in error and "epoch 1" not in error
    assert (
        not any(path.suffix == ".ckpt" for path in tmp_path.glob("work/*")) and not (tmp_path / "work/corpus").exists()
    )


def test_options_of_experiments_are_refused_with_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(RECIPE), "--out", str(tmp_path / "x.safetensors"), "--fold", "1"]) == 2
    assert "--fold" in capsys.readouterr().err
