"""Weights on disk: safetensors with the configuration and the provenance in its metadata. Never a pickle.

A file is read with suspicion: every name, type and shape is compared with the network that its configuration
describes before a tensor is made, so a hostile file costs no more memory than its own size.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from .configuration import Config
from .differences import Described, described, differences, listed
from .errors import CheckpointError, ConfigError
from .network import Network
from .parts import PARTS, Part
from .systems import SYSTEMS

__all__ = [
    "MAX_FILE_BYTES",
    "METADATA_KEY",
    "LoadedCheckpoint",
    "LoadedPart",
    "load_checkpoint",
    "load_part",
    "read_content",
    "save_checkpoint",
    "save_part",
]

METADATA_KEY = "affectrt"
FIRST_SYSTEM = "rcma"  # files from before there was a second one do not name it
MAX_FILE_BYTES = 4 << 30
# The vocabulary of a text encoder is part of the configuration: 0.4 MB for English, 2 MB for a hundred languages.
MAX_METADATA_CHARACTERS = 8 << 20
MAX_HEADER_BYTES = 32 << 20
LENGTH_BYTES = 8  # a safetensors file starts with the length of its JSON header, little endian

WANT_FILE = "a checkpoint that save_checkpoint wrote"
FIX_FILE = "fetch the file again, or train it: affectrt train training/recipes/rcma-demo.toml --out FILE"


@dataclass(frozen=True)
class LoadedCheckpoint:
    """The network in evaluation mode on the CPU, what the file says of its origin, and the file's hash."""

    model: Network
    provenance: dict[str, Any]
    sha256: str


@dataclass(frozen=True)
class LoadedPart:
    """A part's module in evaluation mode on the CPU, the configuration of a network that it fits, and its origin."""

    part: Part
    module: nn.Module
    config: Config
    provenance: dict[str, Any]
    sha256: str


def save_checkpoint(model: Network, path: str | os.PathLike[str], provenance: Mapping[str, Any]) -> None:
    """Write `model` whole or not at all. `provenance` must be plain JSON data; it is kept word for word."""
    _save(model, path, {"system": model.system, "config": model.config.to_dict(), "provenance": dict(provenance)})


def save_part(
    part: Part, module: nn.Module, config: Config, path: str | os.PathLike[str], provenance: Mapping[str, Any]
) -> None:
    """Write one part of a network of `config`; `load_part` reads it, `load_checkpoint` says what is missing."""
    _save(module, path, {"part": part.name, "config": part.chosen(config), "provenance": dict(provenance)})


def load_checkpoint(path: str | os.PathLike[str]) -> LoadedCheckpoint:
    """Read a checkpoint. CheckpointError tells everything that is wrong with the file at once."""
    source = Path(path)
    content = read_content(source)
    header, data = _header(source, content)
    if "part" in data:
        part, _ = _part(source, data)
        raise CheckpointError(
            f"{source} holds a part alone, {part.name}: {part.holds}",
            expected=f"a whole network of the system {part.system}, which has {part.needs} besides",
            fix="affectrt import with the files of all parts, or train a network on the part: load_part() reads it",
        )
    config, network = _network(source, data)
    # On the meta device the network is names and shapes without memory.
    with torch.device("meta"):
        model = network(config)
    _fill(source, model, header, content)
    return LoadedCheckpoint(model, data["provenance"], hashlib.sha256(content).hexdigest())


def load_part(path: str | os.PathLike[str]) -> LoadedPart:
    """Read what `save_part` wrote, as suspiciously as a whole checkpoint."""
    source = Path(path)
    content = read_content(source)
    header, data = _header(source, content)
    if "part" not in data:
        raise CheckpointError(f"{source} holds a whole network", expected="a part", fix="load_checkpoint() reads it")
    part, config = _part(source, data)
    module = part.module(config)
    _fill(source, module, header, content)
    return LoadedPart(part, module, config, data["provenance"], hashlib.sha256(content).hexdigest())


def read_content(source: Path) -> bytes:
    """The bytes of a plain file of sane size: those that are checked are those that are loaded."""
    if not source.is_file():
        raise CheckpointError(f"no checkpoint at {source}", expected="a .safetensors file", fix=FIX_FILE)
    size = source.stat().st_size
    if size > MAX_FILE_BYTES:
        raise CheckpointError(f"{source} has {size} bytes", expected=f"at most {MAX_FILE_BYTES}")
    with source.open("rb") as file:
        content = file.read(MAX_FILE_BYTES)
    return content


def _save(module: nn.Module, path: str | os.PathLike[str], data: Mapping[str, Any]) -> None:
    target = Path(path)
    try:
        metadata = json.dumps(data, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the provenance is not JSON: {error}", expected="text, numbers, lists, dicts") from None
    if len(metadata) > MAX_METADATA_CHARACTERS:
        raise CheckpointError(
            f"configuration and provenance take {len(metadata)} characters",
            expected=f"at most {MAX_METADATA_CHARACTERS}",
        )
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    content = safetensors.torch.save(tensors, {METADATA_KEY: metadata})
    unfinished = target.with_name(f".{target.name}.part")  # what a killed process leaves, the next one overwrites
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _header(source: Path, content: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Entries by tensor name, and what the metadata says, of which config and provenance are sure to be objects."""
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    if len(content) < LENGTH_BYTES or not 2 <= length <= MAX_HEADER_BYTES or LENGTH_BYTES + length > len(content):
        kind = "a pickle (torch.save), which is never loaded" if _is_pickle(content) else "cut off or of another format"
        fix = "affectrt import FILE --out CKPT reads the published files" if _is_pickle(content) else FIX_FILE
        raise CheckpointError(f"{source} is {kind}", expected=WANT_FILE, fix=fix)
    header = _json(source, content[LENGTH_BYTES : LENGTH_BYTES + length], "header")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise _broken(source, "has metadata that is not an object")
    text = metadata.get(METADATA_KEY)
    if not isinstance(text, str):
        raise _broken(source, f"holds no metadata {METADATA_KEY!r}, so its configuration is unknown")
    if len(text) > MAX_METADATA_CHARACTERS:
        raise _broken(source, f"has {len(text)} characters of metadata, more than {MAX_METADATA_CHARACTERS}")
    data = _json(source, text, f"metadata {METADATA_KEY!r}")
    if "part" not in data:
        data.setdefault("system", FIRST_SYSTEM)
    objects = all(isinstance(data.get(name), dict) for name in ("config", "provenance"))
    if not objects or set(data) - {"config", "provenance"} not in ({"system"}, {"part"}):
        raise _broken(source, f"has metadata {sorted(data)} instead of the objects config and provenance")
    return header, data


def _is_pickle(content: bytes) -> bool:
    return content[:4] == b"PK\x03\x04" or content[:1] == b"\x80"


def _network(source: Path, data: Mapping[str, Any]) -> tuple[Config, type[Network]]:
    system = data["system"]
    if not isinstance(system, str) or system not in SYSTEMS:
        raise _broken(source, f"is of the system {system!r}; known are {', '.join(SYSTEMS)}")
    config_type, network = SYSTEMS[system]
    try:
        return config_type.from_dict(data["config"]), network
    except ConfigError as error:
        raise CheckpointError(f"{source}: {error.found}", expected=error.expected, fix=FIX_FILE) from None


def _part(source: Path, data: Mapping[str, Any]) -> tuple[Part, Config]:
    name = data["part"]
    if not isinstance(name, str) or name not in PARTS:
        raise _broken(source, f"is the part {name!r}; known are {', '.join(PARTS)}")
    try:
        return PARTS[name], PARTS[name].config(data["config"])
    except ConfigError as error:
        raise CheckpointError(f"{source}: {error.found}", expected=error.expected, fix=FIX_FILE) from None


def _json(source: Path, text: str | bytes, what: str) -> dict[str, Any]:
    """A strict JSON object: no duplicate keys, no NaN."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key occurs twice")
        return dict(pairs)

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        data = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise _broken(source, f"has a {what} that is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise _broken(source, f"has a {what} that is not a JSON object")
    return data


def _fill(source: Path, module: nn.Module, header: Mapping[str, Any], content: bytes) -> None:
    """Give a module on the meta device the file's weights. Names, types and shapes first, then numbers."""
    wanted = {name: described(tensor) for name, tensor in module.state_dict().items()}
    found: dict[str, Described] = {
        name: (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)
        for name, entry in header.items()
    }
    if problems := differences(wanted, found):
        raise CheckpointError(
            f"the tensors of {source} do not fit its configuration:\n    " + "\n    ".join(problems),
            expected=f"{len(wanted)} tensors, as the state_dict() of {type(module).__name__} has them",
            fix=FIX_FILE,
        )
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise _broken(source, f"is not a safetensors file: {error}") from None
    broken = [n for n, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
    if broken:
        raise _broken(source, f"holds NaN or infinity in {listed(broken)}")
    module.load_state_dict(tensors, strict=True, assign=True)
    module.eval()


def _broken(source: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{source} {what}", expected=WANT_FILE, fix=FIX_FILE)
