"""Parts of networks in files of their own: what goes in comes out, and nobody takes one for a whole network."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from affectrt.models import CheckpointError, Rcma, demo_config, load_checkpoint, load_part, save_checkpoint
from affectrt.models.checkpoint import save_part
from affectrt.models.parts import PARTS
from affectrt.models.systems import SYSTEMS

PROVENANCE = {"recipe": "a test", "sources": [{"file": "res50.pth"}]}


@pytest.fixture
def model() -> Rcma:
    torch.manual_seed(0)
    return Rcma(replace(demo_config(), resize_px=20, crop_px=16, ir_units=(1, 1), ir_widths=(4, 6)))


@pytest.fixture
def checkpoint(model: Rcma, tmp_path: Path) -> Path:
    save_checkpoint(model, tmp_path / "model.safetensors", PROVENANCE)
    return tmp_path / "model.safetensors"


@pytest.fixture
def part(model: Rcma, tmp_path: Path) -> Path:
    path = tmp_path / "part.safetensors"
    save_part(PARTS["ir50"], model.encoders["video"].get_submodule("backbone"), model.config, path, PROVENANCE)
    return path


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], object]) -> None:
    """Change tensors and metadata of a checkpoint, leaving a well-formed safetensors file."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    metadata = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["affectrt"])
    tensors = safetensors.torch.load(content)
    change(tensors, metadata)
    path.write_bytes(safetensors.torch.save(tensors, {"affectrt": json.dumps(metadata)}))


@pytest.mark.parametrize("name", list(PARTS))
def test_every_part_is_a_module_of_its_system_which_its_fields_suffice_to_build(name: str) -> None:
    part = PARTS[name]
    config_type, network = SYSTEMS[part.system]
    with torch.device("meta"):
        whole = network(config_type())
    config = part.config(part.chosen(config_type()))
    wanted = {n: t.shape for n, t in whole.get_submodule(part.path).state_dict().items()}
    assert {n: t.shape for n, t in part.module(config).state_dict().items()} == wanted
    assert wanted


def test_a_part_comes_back_as_it_went_with_its_own_configuration_alone(model: Rcma, part: Path) -> None:
    loaded = load_part(part)
    images = torch.rand(2, 3, 16, 16)
    assert loaded.part is PARTS["ir50"]
    assert loaded.provenance == PROVENANCE
    assert loaded.sha256 == hashlib.sha256(part.read_bytes()).hexdigest()
    assert not loaded.module.training
    with torch.inference_mode():
        assert torch.equal(loaded.module(images), model.eval().encoders["video"].get_submodule("backbone")(images))
    metadata: dict[str, Any] = {}
    rewrite(part, lambda _, found: metadata.update(found))
    assert metadata["config"] == {
        "resize_px": 20,
        "crop_px": 16,
        "ir_units": [1, 1],
        "ir_widths": [4, 6],
        "video_dim": 48,
    }


def test_a_part_is_no_network_and_a_network_is_no_part(checkpoint: Path, part: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(part)
    assert "part.safetensors holds a part alone, ir50: IR-50" in str(caught.value)
    assert "an encoder of audio and a fusion that was trained on both" in str(caught.value)
    with pytest.raises(CheckpointError, match="holds a whole network"):
        load_part(checkpoint)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, _: tensors.pop("stem.0.weight"), r"missing: stem\.0\.weight"),
        (lambda tensors, _: tensors["output.3.bias"].fill_(float("inf")), "NaN or infinity in output.3.bias"),
        (lambda _, data: data.update(part="nose"), "is the part 'nose'; known are ir50"),
        (lambda _, data: data.update(part=["ir50"]), "is the part"),
        (lambda _, data: data.update(system="rcma"), "instead of the objects"),
        (lambda _, data: data["config"].pop("crop_px"), "expected: exactly crop_px, ir_units"),
        (lambda _, data: data["config"].update(text_dim=5), "expected: exactly crop_px, ir_units"),
        (lambda _, data: data["config"].update(video_dim=10**9), "video_dim must be an integer"),
        (
            lambda _, data: data["config"].update(ir_widths=[4, 4096]),
            r"body\.1\.residual\.3\.weight is F32 \[6, 6, 3, 3\]",
        ),
    ],
)
def test_a_hostile_part_is_refused(part: Path, change: Callable[..., object], message: str) -> None:
    rewrite(part, change)
    with pytest.raises(CheckpointError, match=message):
        load_part(part)
