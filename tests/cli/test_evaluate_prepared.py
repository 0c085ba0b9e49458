"""`affectrt evaluate` on a prepared corpus: windows, page and submission as a person asks for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from doubles.tiny_experiments import tiny, toy

from affectrt.cli.main import main
from affectrt.models import save_checkpoint

PROVENANCE = {"licence": "CC0-1.0", "intended_use": "tests", "recipe": "none", "training_corpus": "none"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint, a prepared corpus for it, and one without annotation."""
    import torch

    from affectrt.training.experiments.config import network_of

    folder = tmp_path_factory.mktemp("prepared")
    torch.manual_seed(2)
    save_checkpoint(network_of(tiny()), folder / "tiny.safetensors", PROVENANCE)
    toy(folder / "corpus", tiny(), train=(), validation=(45, 33))
    toy(folder / "bare", tiny(), train=(), validation=(30,), unannotated=tuple(range(30)))
    return folder


def _evaluate(folder: Path, corpus: str, *more: str, model: str = "tiny.safetensors") -> int:
    return main(["evaluate", str(folder / model), str(folder / corpus), "--split", "validation", *more])


def test_both_windows_are_told_to_agree_for_every_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = folder / "page.html"
    assert _evaluate(folder, "corpus", "--windows", "both", "--json", "--report", str(page)) == 0
    told = json.loads(capsys.readouterr().out)
    sets = [["video", "audio"], ["video"], ["audio"]]
    assert [(e["windows"], e["modalities"]) for e in told["evaluations"]] == [
        (w, m) for w in ("stream", "offline") for m in sets
    ]
    assert all(a["agree"] and a["steps"] == 78 for a in told["agreements"])
    assert all(e["videos"][0]["rows"] == 45 and e["rmse"]["valence"]["low"] > 0 for e in told["evaluations"])
    text = page.read_text()
    assert text.count("<svg") == 2 and "They agree" in text and "validation-001" in text


def test_a_set_of_which_the_corpus_gives_no_estimate_is_left_out_unless_it_is_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network that reads, on videos in which nothing is said: of words alone there is no estimate."""
    import torch
    from doubles.reading_experiments import own

    from affectrt.training.experiments.config import network_of

    torch.manual_seed(2)
    save_checkpoint(network_of(own()), folder / "reads.safetensors", PROVENANCE)
    assert _evaluate(folder, "corpus", "--windows", "both", "--json", model="reads.safetensors") == 0
    shown = capsys.readouterr()
    sets = {tuple(e["modalities"]) for e in json.loads(shown.out)["evaluations"]}
    assert len(sets) == 6 and ("text",) not in sets and "text: left out" in shown.err
    assert _evaluate(folder, "corpus", "--modalities", "text", model="reads.safetensors") == 2
    assert "not one row of 2 videos" in capsys.readouterr().err


def test_the_tables_say_what_the_authors_metrics_are_worth(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _evaluate(folder, "corpus", "--windows", "published", "--modalities", "video") == 0
    shown = capsys.readouterr().out
    assert "published windows" in shown and "ccc_author_cav" in shown and "RMSE" in shown
    assert "no measure of agreement" in " ".join(shown.split())


def test_a_corpus_that_nobody_annotated_gives_a_submission_and_no_figures(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _evaluate(folder, "bare") == 2
    assert "annotated" in capsys.readouterr().err
    sample, out = folder / "sample.txt", folder / "out.txt"
    sample.write_text("image_location\n" + "".join(f"validation-000/{n:05d}.jpg\n" for n in range(1, 33)))
    arguments = ("--submission", str(out), "--sample", str(sample), "--windows", "published")
    assert _evaluate(folder, "bare", *arguments) == 0
    lines = out.read_text().splitlines()
    assert lines[0] == "image_location,valence,arousal" and len(lines) == 33
    assert lines[30].split(",")[1:] == lines[32].split(",")[1:] != lines[29].split(",")[1:]
    assert str(out) in capsys.readouterr().out
    assert _evaluate(folder, "bare", "--submission", str(folder / "trials")) == 0
    assert len((folder / "trials" / "arousal" / "validation-000.txt").read_text().splitlines()) == 31


def test_a_sample_alone_or_one_that_is_none_is_refused_before_the_work(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _evaluate(folder, "corpus", "--sample", "x.txt") == 2
    assert "--submission" in capsys.readouterr().err
    assert _evaluate(folder, "corpus", "--sample", str(folder / "none.txt"), "--submission", "x.txt") == 2
    assert "is missing" in capsys.readouterr().err
