"""`affectrt import` of CAV's four files: told apart by what they hold, and one network in the end."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest
import torch
from doubles.published_cav import NARROW, audio_state, cam_state, head_state, i3d_state, visual_state, wrapped

from affectrt.bundle import open_bundle
from affectrt.models import Cav, load_checkpoint, load_part

# The authors' captions of the first two are swapped, so their files may lie around under each other's names.
NAMES = ("visualmodel.t7", "audiomodel.t7", "fusion.t7", "cam_model.pt")


@pytest.fixture
def published(tmp_path: Path) -> list[Path]:
    visual, audio, head = (wrapped(make(NARROW)) for make in (visual_state, audio_state, head_state))
    paths = [tmp_path / name for name in NAMES]
    for path, value in zip(paths, (audio, visual, head, cam_state(NARROW)), strict=True):
        torch.save(value, path)
    return paths


def test_four_files_in_any_order_and_under_misleading_names_become_one_network(
    published: list[Path], tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    contents = set()
    for number, order in enumerate(permutations(published)):
        if number % 8:  # three of the 24
            continue
        out = tmp_path / f"{number}.safetensors"
        code, told, _ = run("import", *order, "--out", out)
        assert code == 0
        contents.add(out.read_bytes())
    assert len(contents) == 1
    assert "visualmodel.t7: cav-audio" in told and "audiomodel.t7: cav-visual" in told
    assert "dropped: cam.corr_weights (1 tensor): the untrained copy" in told
    assert "beside the weights: best_Val_acc 0.6875" in told
    assert "a whole network of cav" in told
    loaded = load_checkpoint(out)
    assert isinstance(loaded.model, Cav)
    assert loaded.model.config.outputs == ("valence",)
    correlation = loaded.model.get_parameter("fusions.fusion.attention.correlation")
    assert torch.equal(correlation, cam_state(NARROW)["corr_weights"])


def test_what_the_files_do_not_tell_is_told_on_the_command_line(
    published: list[Path], tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    out = tmp_path / "cav.safetensors"
    code, _, _ = run("import", *published, "--out", out, "--output", "arousal", "--licence", "GPL-3.0-only")
    assert code == 0
    loaded = load_checkpoint(out)
    assert isinstance(loaded.model, Cav)
    assert loaded.model.config.outputs == ("arousal",)
    assert loaded.provenance["licence"] == "GPL-3.0-only"


def test_three_files_are_refused_with_what_is_missing(
    published: list[Path], tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    out = tmp_path / "cav.safetensors"
    lacking = ("the encoder of log-mel spectrograms", "I3D, the encoder", "the head behind", "the attention between")
    for path, missing in zip(published, lacking, strict=True):
        code, _, told = run("import", *(other for other in published if other != path), "--out", out)
        assert code == 1
        assert "not all of it" in told and missing in told
        assert not out.exists()


def test_a_backbone_alone_becomes_a_part_and_says_what_a_network_has_besides(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    torch.save(i3d_state(NARROW, counters=False), tmp_path / "rgb_imagenet.pt")
    out = tmp_path / "i3d.safetensors"
    code, told, _ = run("import", tmp_path / "rgb_imagenet.pt", "--out", out)
    assert code == 0
    assert "the part i3d of cav" in told
    assert "a whole network has besides: an encoder of audio and a fusion" in told
    assert "57 tensors that count batches" in told
    assert "not fine-tuned on affect" in told and "Apache-2.0" in told
    assert load_part(out).part.name == "i3d"


@pytest.mark.slow
def test_an_imported_network_becomes_a_bundle(
    published: list[Path], tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    checkpoint, out = tmp_path / "cav.safetensors", tmp_path / "cav.affect"
    assert run("import", *published, "--out", checkpoint)[0] == 0
    code, _, told = run("export", checkpoint, "--out", out)
    assert code == 0
    assert "equals PyTorch within" in told
    bundle = open_bundle(out)
    assert {graph.stage for graph in bundle.manifest.graphs} == {"video", "audio", "fusion"}
    assert bundle.manifest.contract.described_steps == 128
