"""Weights on disk: safetensors with the configuration and the provenance in its metadata. Never a pickle.

A file is read with suspicion: every name, type and shape is compared with the network that its configuration
describes before a tensor is made, so a hostile file costs no more memory than its own size.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from .configuration import Config
from .errors import CheckpointError, ConfigError
from .network import Network
from .systems import SYSTEMS

__all__ = ["METADATA_KEY", "LoadedCheckpoint", "load_checkpoint", "save_checkpoint"]

METADATA_KEY = "affectrt"
FIRST_SYSTEM = "rcma"  # files from before there was a second one do not name it
MAX_FILE_BYTES = 4 << 30
MAX_HEADER_BYTES = 4 << 20
MAX_METADATA_CHARACTERS = 1 << 20
LENGTH_BYTES = 8  # a safetensors file starts with the length of its JSON header, little endian

WANT_FILE = "a checkpoint that save_checkpoint wrote"
FIX_FILE = "fetch the file again, or train it: affectrt train training/recipes/rcma-demo.toml --out FILE"


@dataclass(frozen=True)
class LoadedCheckpoint:
    """The network in evaluation mode on the CPU, what the file says of its origin, and the file's hash."""

    model: Network
    provenance: dict[str, Any]
    sha256: str


def save_checkpoint(model: Network, path: str | os.PathLike[str], provenance: Mapping[str, Any]) -> None:
    """Write `model` whole or not at all. `provenance` must be plain JSON data; it is kept word for word."""
    target = Path(path)
    try:
        metadata = json.dumps(
            {"system": model.system, "config": model.config.to_dict(), "provenance": dict(provenance)},
            sort_keys=True,
            allow_nan=False,
        )
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the provenance is not JSON: {error}", expected="text, numbers, lists, dicts") from None
    if len(metadata) > MAX_METADATA_CHARACTERS:
        raise CheckpointError(
            f"configuration and provenance take {len(metadata)} characters",
            expected=f"at most {MAX_METADATA_CHARACTERS}",
        )
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = safetensors.torch.save(tensors, {METADATA_KEY: metadata})
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)  # mkstemp's files are private
        Path(name).replace(target)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def load_checkpoint(path: str | os.PathLike[str]) -> LoadedCheckpoint:
    """Read a checkpoint. CheckpointError tells everything that is wrong with the file at once."""
    source = Path(path)
    content = _read(source)
    header, metadata = _header(source, content)
    config, network, provenance = _metadata(source, metadata)
    # On the meta device the network is names and shapes without memory.
    with torch.device("meta"):
        model = network(config)
    _compare(source, header, model)
    try:
        tensors = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise _broken(source, f"is not a safetensors file: {error}") from None
    broken = sorted(n for n, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t).all()))
    if broken:
        raise _broken(source, f"holds NaN or infinity in {_listed(broken)}")
    model.load_state_dict(tensors, strict=True, assign=True)
    return LoadedCheckpoint(model.eval(), provenance, hashlib.sha256(content).hexdigest())


def _read(source: Path) -> bytes:
    """The bytes of a plain file of sane size: those that are checked are those that are loaded."""
    if not source.is_file():
        raise CheckpointError(f"no checkpoint at {source}", expected="a .safetensors file", fix=FIX_FILE)
    size = source.stat().st_size
    if size > MAX_FILE_BYTES:
        raise CheckpointError(f"{source} has {size} bytes", expected=f"at most {MAX_FILE_BYTES}")
    with source.open("rb") as file:
        content = file.read(MAX_FILE_BYTES)
    return content


def _header(source: Path, content: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Entries by tensor name, and the metadata."""
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    if len(content) < LENGTH_BYTES or not 2 <= length <= MAX_HEADER_BYTES or LENGTH_BYTES + length > len(content):
        kind = "a pickle (torch.save), which is never loaded" if _is_pickle(content) else "cut off or of another format"
        raise _broken(source, f"is {kind}")
    header = _json(source, content[LENGTH_BYTES : LENGTH_BYTES + length], "header")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise _broken(source, "has metadata that is not an object")
    return header, metadata


def _is_pickle(content: bytes) -> bool:
    return content[:4] == b"PK\x03\x04" or content[:1] == b"\x80"


def _metadata(source: Path, metadata: Mapping[str, Any]) -> tuple[Config, type[Network], dict[str, Any]]:
    text = metadata.get(METADATA_KEY)
    if not isinstance(text, str):
        raise _broken(source, f"holds no metadata {METADATA_KEY!r}, so its configuration is unknown")
    if len(text) > MAX_METADATA_CHARACTERS:
        raise _broken(source, f"has {len(text)} characters of metadata, more than {MAX_METADATA_CHARACTERS}")
    data = _json(source, text, f"metadata {METADATA_KEY!r}")
    system = data.pop("system", FIRST_SYSTEM)
    config, provenance = data.get("config"), data.get("provenance")
    if set(data) != {"config", "provenance"} or not isinstance(config, dict) or not isinstance(provenance, dict):
        raise _broken(source, f"has metadata {sorted(data)} instead of the objects config and provenance")
    if not isinstance(system, str) or system not in SYSTEMS:
        raise _broken(source, f"is of the system {system!r}; known are {', '.join(SYSTEMS)}")
    config_type, network = SYSTEMS[system]
    try:
        return config_type.from_dict(config), network, provenance
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


def _compare(source: Path, header: Mapping[str, Any], model: Network) -> None:
    """Names, types and shapes of the file against those of the network; every difference in one error."""
    types = {torch.float32: "F32", torch.int64: "I64"}
    wanted = {name: (types[tensor.dtype], list(tensor.shape)) for name, tensor in model.state_dict().items()}
    found = {
        name: (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)
        for name, entry in header.items()
    }
    problems = []
    if missing := sorted(set(wanted) - set(found)):
        problems.append(f"missing: {_listed(missing)}")
    if unexpected := sorted(set(found) - set(wanted)):
        problems.append(f"unexpected: {_listed(unexpected)}")
    problems += [
        f"{name} is {found[name][0]} {found[name][1]}, not {wanted[name][0]} {wanted[name][1]}"
        for name in sorted(set(wanted) & set(found))
        if found[name] != wanted[name]
    ]
    if problems:
        raise CheckpointError(
            f"the tensors of {source} do not fit its configuration:\n    " + "\n    ".join(problems),
            expected=f"{len(wanted)} tensors, as the state_dict() of {type(model).__name__}(config) has them",
            fix=FIX_FILE,
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names)


def _broken(source: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{source} {what}", expected=WANT_FILE, fix=FIX_FILE)
