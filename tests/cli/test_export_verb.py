"""`affectrt export` on random weights in the demo's width: a clip is drawn, recorded, and the bundle proved on it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from affectrt.bundle import open_bundle
from affectrt.cli.main import main
from affectrt.models.checkpoint import save_checkpoint
from affectrt.models.rcma import Rcma
from affectrt.models.sizes import demo_config

# What torch takes long to export is made small.
CONFIG = replace(demo_config(), ir_units=(1, 1, 1, 1), video_tcn=(8,), audio_tcn=(8,), attention_layers=1)
PROVENANCE = {"recipe": "none", "training_corpus": "random weights", "licence": "CC0-1.0", "intended_use": "tests"}


def test_a_checkpoint_becomes_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    save_checkpoint(Rcma(CONFIG), tmp_path / "x.safetensors", PROVENANCE)
    out = tmp_path / "x.affect"
    assert main(["export", str(tmp_path / "x.safetensors"), "--out", str(out), "--name", "random"]) == 0
    told = capsys.readouterr()
    bundle = open_bundle(out)
    assert bundle.manifest.name == "random"
    assert {g.stage for g in bundle.manifest.graphs} == {"video", "audio", "fusion"}
    assert str(out) in told.out and bundle.fingerprint[:12] in told.out
    assert "equals PyTorch within" in told.err
    assert main(["export", str(tmp_path / "x.safetensors"), "--out", str(out)]) == 1
    assert "exists already" in capsys.readouterr().err


def test_a_corpus_without_media_is_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(Rcma(CONFIG), tmp_path / "x.safetensors", PROVENANCE)
    empty = tmp_path / "empty"
    empty.mkdir()
    code = main(
        ["export", str(tmp_path / "x.safetensors"), "--out", str(tmp_path / "x.affect"), "--corpus", str(empty)]
    )
    assert code == 2
    assert "no media files" in capsys.readouterr().err
    assert not (tmp_path / "x.affect").exists()
