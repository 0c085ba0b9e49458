"""Checkpoints: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from affectrt.models import CheckpointError, Rcma, RcmaConfig, demo_config, load_checkpoint, save_checkpoint

PROVENANCE = {"recipe": "a test", "seed": 7, "metrics": {"ccc": 0.5}, "authors": ["Åsa"]}


def tiny() -> RcmaConfig:
    return replace(
        demo_config(),
        window_steps=10,
        resize_px=20,
        crop_px=16,
        ir_units=(1, 1),
        ir_widths=(4, 6),
        vggish_channels=(2, 2, 3, 3, 4, 4),
        vggish_hidden=8,
        video_tcn=(6, 6),
        audio_tcn=(6, 6),
    )


@pytest.fixture
def model() -> Rcma:
    torch.manual_seed(0)
    return Rcma(tiny())


@pytest.fixture
def checkpoint(model: Rcma, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_checkpoint(model, path, PROVENANCE)
    return path


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], object]) -> None:
    """Change tensors and metadata of a checkpoint, leaving a well-formed safetensors file."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    metadata = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["affectrt"])
    tensors = safetensors.torch.load(content)
    change(tensors, metadata)
    path.write_bytes(safetensors.torch.save(tensors, {"affectrt": json.dumps(metadata)}))


def raw(path: Path, header: object, data: bytes = b"") -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_a_loaded_model_computes_what_the_saved_one_did(model: Rcma, checkpoint: Path) -> None:
    # Norms with a history, so that buffers count too.
    model.train()(torch.randint(0, 256, (2, 10, 16, 16, 3), dtype=torch.uint8), torch.randn(2, 10, 15_600) * 0.1)
    save_checkpoint(model, checkpoint, PROVENANCE)
    loaded = load_checkpoint(checkpoint)
    assert loaded.provenance == PROVENANCE
    assert loaded.sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert loaded.model.config == model.config
    assert not loaded.model.training
    frames, waveforms = torch.randint(0, 256, (1, 10, 16, 16, 3), dtype=torch.uint8), torch.randn(1, 10, 15_600) * 0.1
    with torch.inference_mode():
        assert torch.equal(loaded.model(frames, waveforms), model.eval()(frames, waveforms))


def test_a_loaded_model_can_be_trained_and_moved(checkpoint: Path) -> None:
    model = load_checkpoint(checkpoint).model.train()
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert {t.device.type for t in (*model.parameters(), *model.buffers())} == {"cpu"}
    before = model.fusion.head.linear.weight.clone()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    model(torch.zeros(2, 10, 16, 16, 3, dtype=torch.uint8), torch.randn(2, 10, 15_600)).sum().backward()
    optimiser.step()
    assert not torch.equal(before, model.fusion.head.linear.weight)


def test_loading_leaves_the_random_state_alone(checkpoint: Path) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    load_checkpoint(checkpoint)
    assert torch.equal(torch.rand(2), wanted)


def test_the_same_weights_give_the_same_bytes(model: Rcma, checkpoint: Path) -> None:
    before = checkpoint.read_bytes()
    save_checkpoint(model, checkpoint, dict(reversed(PROVENANCE.items())))
    assert checkpoint.read_bytes() == before


def test_a_failed_save_leaves_the_old_file_and_no_other(
    model: Rcma, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkpoint.read_bytes()

    def full_disk(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(model, checkpoint, {})
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


@pytest.mark.parametrize("provenance", [{"when": object()}, {"ccc": float("nan")}])
def test_provenance_must_be_json(model: Rcma, tmp_path: Path, provenance: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="provenance is not JSON"):
        save_checkpoint(model, tmp_path / "m.safetensors", provenance)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="fix:      fetch the file again, or train it"):
        load_checkpoint(tmp_path / "nothing.safetensors")


def test_every_difference_of_names_and_shapes_is_told_at_once(checkpoint: Path) -> None:
    def change(tensors: dict[str, torch.Tensor], _: dict[str, Any]) -> None:
        del tensors["fusion.head.norm.bias"]
        del tensors["encoders.video.backbone.stem.2.weight"]
        tensors |= {"zebra": torch.zeros(1), "antelope": torch.zeros(1)}
        tensors["fusion.head.linear.bias"] = torch.zeros(3)
        tensors["fusion.head.linear.weight"] = tensors["fusion.head.linear.weight"].half()

    rewrite(checkpoint, change)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(checkpoint)
    text = str(caught.value)
    assert "missing: encoders.video.backbone.stem.2.weight, fusion.head.norm.bias\n" in text
    assert "unexpected: antelope, zebra\n" in text
    assert "fusion.head.linear.bias is F32 [3], not F32 [2]" in text
    assert "fusion.head.linear.weight is F16 [2, 32], not F32 [2, 32]" in text
    assert "expected:" in text
    assert "fix:" in text


def test_weights_that_are_not_numbers_are_refused(checkpoint: Path) -> None:
    rewrite(checkpoint, lambda tensors, _: tensors["fusion.head.linear.bias"].fill_(float("nan")))
    with pytest.raises(CheckpointError, match=r"NaN or infinity in fusion\.head\.linear\.bias"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("keep", [0, 3, 8, 200, -1, -1000])
def test_a_truncated_file_is_refused(checkpoint: Path, keep: int) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_renamed_pickle_is_never_unpickled(tmp_path: Path, zipped: bool) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return Path.touch, (tmp_path / "exploded",)  # type: ignore[return-value]

    path = tmp_path / "model.safetensors"
    if zipped:
        torch.save({"weights": Bomb()}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="is a pickle"):
        load_checkpoint(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("backdoor", 1, "unknown 'backdoor'"),
        ("window_steps", 10**9, "window_steps must be an integer"),
        ("ir_units", [10**9, 1], "ir_units"),
        ("modalities", 5, "modalities must be"),
        ("modalities", [["video"]], "modalities must be"),
        ("attention", {"a": 1}, "attention must be one of"),
        # within every limit, yet more than 1 GiB of weights: refused by the comparison, before it is allocated
        ("vggish_hidden", 16_384, r"encoders\.audio\.backbone\.embeddings\.2\.weight is F32 \[8, 8\], not"),
    ],
)
def test_a_hostile_configuration_is_refused(checkpoint: Path, field: str, value: object, message: str) -> None:
    rewrite(checkpoint, lambda _, metadata: metadata["config"].update({field: value}))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "holds no metadata 'affectrt'"),
        ({"affectrt": "not json"}, "not JSON"),
        ({"affectrt": "[1]"}, "not a JSON object"),
        ({"affectrt": "{}"}, "instead of the objects config and provenance"),
        ({"affectrt": '{"config": {}, "provenance": 3}'}, "instead of the objects"),
        ({"affectrt": '{"config": {}, "provenance": {}, "more": {}}'}, "instead of the objects"),
        ({"affectrt": '{"config": {}, "config": {}}'}, "a key occurs twice"),
        ({"affectrt": '{"config": NaN}'}, "NaN is not JSON"),
        ({"affectrt": "[" * 100_000}, "not JSON"),
        ({"affectrt": " " * (1 + (8 << 20))}, "characters of metadata"),
        ([], "metadata that is not an object"),
    ],
)
def test_hostile_metadata_is_refused(tmp_path: Path, metadata: object, message: str) -> None:
    path = tmp_path / "model.safetensors"
    raw(path, {"__metadata__": metadata})
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


@pytest.mark.parametrize("header", [b"[]", b"{ ", b"\xff\xff", b'{"a": 1, "a": 2}'])
def test_a_hostile_header_is_refused(tmp_path: Path, header: bytes) -> None:
    raw(tmp_path / "m.safetensors", header)
    with pytest.raises(CheckpointError, match="header that is not"):
        load_checkpoint(tmp_path / "m.safetensors")


def test_a_header_that_claims_to_be_huge_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    with pytest.raises(CheckpointError, match="cut off or of another format"):
        load_checkpoint(tmp_path / "m.safetensors")


def test_offsets_outside_the_file_are_refused(checkpoint: Path) -> None:
    content = checkpoint.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    header["fusion.head.linear.bias"]["data_offsets"] = [1 << 40, (1 << 40) + 8]
    raw(checkpoint, header, content[8 + length :])
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_checkpoint(checkpoint)
