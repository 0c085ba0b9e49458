"""Files from outside: read whatever they are called, refused with the reason, never executed."""

from __future__ import annotations

import collections
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from affectrt.models import CheckpointError
from affectrt.models.importing import SourceFile, read_source

WEIGHTS = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.ones(2)}


@pytest.fixture(params=[True, False], ids=["zip", "before-torch-1.6"])
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Path]:
    def save(value: object, name: str = "model.pth", **options: int) -> Path:
        torch.save(value, tmp_path / name, _use_new_zipfile_serialization=request.param, **options)
        return tmp_path / name

    return save


def same(source: SourceFile) -> bool:
    found = source.tensors
    return list(found) == list(WEIGHTS) and all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)


def refusal(path: Path, content: bytes | None = None) -> str:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError) as refused:
        read_source(path)
    return str(refused.value)


@pytest.mark.parametrize("name", ["model.pth", "model.t7", "model.pt", "model.safetensors", "model", "weights.html"])
def test_the_ending_of_a_name_means_nothing(save: Callable[..., Path], name: str, tmp_path: Path) -> None:
    assert same(read_source(save(WEIGHTS, name)))
    safetensors.torch.save_file(WEIGHTS, tmp_path / name)
    assert set(read_source(tmp_path / name).tensors) == set(WEIGHTS)


@pytest.mark.parametrize("wrapper", ["net", "state_dict", "model_state_dict", "model"])
def test_wrappers_and_prefixes_are_taken_off_and_told(save: Callable[..., Path], wrapper: str) -> None:
    named = collections.OrderedDict((f"module.{name}", tensor) for name, tensor in WEIGHTS.items())
    beside = {"best_Val_acc": np.float64(0.25), "epoch": 12, "note": "a\x1b[31mred", "optimiser": {"lr": 1e-3}}
    source = read_source(save({**beside, wrapper: named}))
    assert same(source)
    assert source.unwrapped == (wrapper, "module.")
    told = {"best_Val_acc": "0.25", "epoch": "12", "note": r"'a\x1b[31mred'", "optimiser": "a dict"}
    assert source.beside == told


@pytest.mark.parametrize("kind", ["f8", "f4", "f2", "i8", "u1", "b1", ">f8"])
def test_scores_that_are_scalars_of_numpy_are_read(save: Callable[..., Path], kind: str) -> None:
    source = read_source(save({"net": WEIGHTS, "best_Val_acc": np.array(1, dtype=kind)[()]}))
    assert same(source)
    assert source.beside == {"best_Val_acc": "True" if kind == "b1" else "1"}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (np.zeros(3), "_reconstruct"),
        (np.array("text")[()], "numpy type 'U4'"),
        (np.datetime64(0, "s"), "numpy type 'M8'"),
        (collections.Counter("aa"), "collections.Counter"),
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        (Path("x"), "pathlib"),
    ],
)
def test_what_needs_more_than_tensors_and_numbers_is_refused_by_its_name(
    save: Callable[..., Path], value: object, named: str
) -> None:
    assert named in refusal(save({"net": WEIGHTS, "beside": value}))


def test_a_scalar_of_numpy_that_holds_an_object_is_refused(tmp_path: Path) -> None:
    # numpy's own maker of scalars would take any object here
    class Holder:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return np.float64(1).__reduce__()[0], (np.dtype("O"), {"any": "object"})

    torch.save({"net": WEIGHTS, "beside": Holder()}, tmp_path / "model.pth")
    assert "numpy type 'O8'" in refusal(tmp_path / "model.pth")


class Payload:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_code_is_named_and_not_executed_whatever_the_protocol(
    save: Callable[..., Path], protocol: int, tmp_path: Path
) -> None:
    made = tmp_path / "executed"
    told = refusal(save({"net": WEIGHTS, "beside": Payload(made)}, pickle_protocol=protocol))
    assert "these would be called: posix.mkdir" in told
    assert "torch.save(network.state_dict(), FILE)" in told
    assert "posix.mkdir" in refusal(tmp_path / "plain", pickle.dumps(Payload(made), protocol=protocol))
    assert not made.exists()


def test_instructions_that_the_restricted_reader_does_not_know_are_not_called_damage(save: Callable[..., Path]) -> None:
    told = refusal(save(WEIGHTS, pickle_protocol=4))
    assert "needs more than torch's restricted reader allows: UnpicklingError" in told
    assert "damaged" not in told


def test_instructions_without_end_are_refused_before_they_take_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("affectrt.models.importing.pickles.MAX_PICKLE_BYTES", 1000)
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
    for content in (b"\x80\x02" + b"N0" * 1000, magic + b"\x80\x02" + b"N0" * 1000):
        assert "more than 1000 bytes of instructions" in refusal(tmp_path / "model.pth", content)
    torch.save({f"{index}": torch.zeros(1) for index in range(50)}, tmp_path / "model.pth")
    assert "has a pickle of" in refusal(tmp_path / "model.pth")


def test_two_calls_are_both_named(save: Callable[..., Path], tmp_path: Path) -> None:
    told = refusal(save({"a": Payload(tmp_path / "x"), "b": Path("y")}))
    assert "posix.mkdir" in told
    assert "pathlib" in told


def test_a_plain_pickle_is_refused(tmp_path: Path) -> None:
    assert "a pickle that torch.save did not write" in refusal(tmp_path / "p", pickle.dumps({"a": 1}))


def test_a_whole_pickled_network_is_refused(save: Callable[..., Path]) -> None:
    assert "torch.nn.modules.container.Sequential" in refusal(save(torch.nn.Sequential(torch.nn.Linear(2, 2))))


def test_a_program_of_torchscript_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "model.pt")
    assert "is a TorchScript program" in refusal(tmp_path / "model.pt")


def torch7(kind: int, body: bytes, *, text: bool) -> bytes:
    """How Torch7 begins a file: the tag of a type, an index, a version, the name of a class."""
    name = b"torch.FloatTensor"
    if text:
        return b"%d\n1\n3\nV 1\n%d\n%s\n" % (kind, len(name), name) + body
    return struct.pack("<ii", kind, 1) + struct.pack("<i3si", 3, b"V 1", len(name)) + name + body


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("kind", [3, 4])
def test_a_file_of_torch7_is_told_from_a_damaged_one(tmp_path: Path, kind: int, text: bool) -> None:
    told = refusal(tmp_path / "model.t7", torch7(kind, bytes(100), text=text))
    assert "is a file of Torch7 (Lua)" in told
    assert "damaged" not in told


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello", "is no checkpoint"),
        (bytes(1000), "is no checkpoint"),
        (b"\n<!DOCTYPE html><html>Virus scan warning", "is a web page"),
        (b"\x80", "is cut off or damaged"),
        (b"PK\x03\x04", "is cut off or damaged"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "is no checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_refused_with_what_it_is(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in refusal(tmp_path / "model.pth", content)


def test_folders_and_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    assert "no file at" in refusal(tmp_path)
    assert "no file at" in refusal(tmp_path / "nothing")


@pytest.mark.parametrize("keep", [9, 60, -1])
def test_a_truncated_safetensors_file_is_refused(tmp_path: Path, keep: int) -> None:
    assert "cut off or damaged" in refusal(tmp_path / "m", safetensors.torch.save(WEIGHTS)[:keep])


def test_archives_that_torch_did_not_write_are_refused(tmp_path: Path) -> None:
    def archive(**entries: bytes) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", compression=zipfile.ZIP_DEFLATED) as file:
            for name, content in entries.items():
                file.writestr(name, content)
        return stream.getvalue()

    assert "a zip that torch.save did not write" in refusal(tmp_path / "a", archive(document=b"x"))
    bomb = archive(**{"m/data.pkl": pickle.dumps({}, 2), "m/data/0": bytes(50_000_000)})
    assert len(bomb) < 100_000
    assert "some compressed" in refusal(tmp_path / "c", archive(**{"m/data.pkl": bytes(64)}))
    assert "has 2 entries of 50000" in refusal(tmp_path / "b", bomb)


def test_a_size_that_only_repeats_bytes_is_refused_before_it_takes_memory(save: Callable[..., Path]) -> None:
    huge = torch.zeros(1).expand(1 << 20, 1 << 20)
    told = refusal(save({**WEIGHTS, "huge": huge}))
    assert "the tensors take 4398046511136 bytes together" in told


def test_a_storage_that_claims_more_than_there_is_is_refused(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "m", _use_new_zipfile_serialization=False)
    content = (tmp_path / "m").read_bytes()
    # 6 numbers become 10⁹ in the instructions: they are pushed as one byte, K\x06, and now as four
    assert content.count(b"K\x06N") == 1
    told = refusal(tmp_path / "m", content.replace(b"K\x06N", b"J" + struct.pack("<i", 10**9) + b"N"))
    assert "cut off or damaged" in told


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1, 2], "holds a list instead of named tensors"),
        (torch.zeros(2), "holds a Tensor instead of named tensors"),
        ({}, "holds nothing instead of named tensors"),
        ({"net": {}}, "holds nothing instead of named tensors"),
        ({"net": 3}, "net: 3, not a tensor"),
        ({**WEIGHTS, "epoch": 3, "name": "x"}, "epoch: 3, not a tensor\n    name: x, not a tensor"),
        ({**WEIGHTS, 5: torch.zeros(1)}, "int: no name of a tensor"),
        ({**WEIGHTS, "a\x1b[2J": torch.zeros(1)}, r"'a\x1b[2J': no name of a tensor"),
        ({**WEIGHTS, "a" * 300: torch.zeros(1)}, "no name of a tensor"),
        ({**WEIGHTS, "z": torch.zeros(2, dtype=torch.complex64)}, "z: not a dense tensor of real numbers"),
    ],
)
def test_what_is_no_state_dict_is_refused(save: Callable[..., Path], value: object, reason: str) -> None:
    told = refusal(save(value))
    assert reason in told or "torch.ComplexFloatStorage" in told


def test_names_that_could_steer_a_terminal_are_escaped_everywhere(tmp_path: Path) -> None:
    header = {"\x1b[31m": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    text = json.dumps(header).encode()
    told = refusal(tmp_path / "\x1b[2Jx", struct.pack("<Q", len(text)) + text + bytes(4))
    assert "\x1b" not in told
