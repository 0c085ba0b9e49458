"""A file from outside → named tensors and what lies beside them. Its name's ending says nothing, its content does."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ..checkpoint import MAX_FILE_BYTES, read_content
from ..differences import listed
from ..errors import CheckpointError
from .pickles import FIX_CUT, WANT, value_from_legacy, value_from_zip

__all__ = ["SourceFile", "read_source"]

WRAPPERS = ("net", "state_dict", "model_state_dict", "model")
# What stands before every name: of torch's DataParallel, and of CAV's attention saved as a part of its fusion.
PREFIXES = ("module.", "cam.")
# Weight norm under the names of torch's newer implementation, and of the one that published files come from.
WEIGHT_NORM = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
MAX_TENSORS = 20_000
MAX_NAME = 256


@dataclass(frozen=True)
class SourceFile:
    """`unwrapped` is what was taken off around the weights, `beside` what lay there, for people: {"epoch": "12"}."""

    name: str
    sha256: str
    tensors: dict[str, Tensor]
    unwrapped: tuple[str, ...]
    beside: dict[str, str]


def read_source(path: str | os.PathLike[str]) -> SourceFile:
    """Read one file of torch.save, old or new, or of safetensors; nothing in it is executed.

    Every tensor is dense, on the CPU, and no larger than the file can tell. Raises CheckpointError with the reason.
    """
    source = Path(path)
    name = source.name if source.name.isprintable() else ascii(source.name)
    if not source.is_file():
        raise CheckpointError(f"no file at {source}", expected=WANT)
    content = read_content(source)
    value = _value(name, content)
    value, unwrapped, beside = _unwrap(name, value)
    tensors = _tensors(name, value)
    while prefix := next((p for p in PREFIXES if tensors and all(key.startswith(p) for key in tensors)), None):
        tensors = {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
        unwrapped = (*unwrapped, prefix)
    for newer, older in WEIGHT_NORM.items():
        tensors = {_exchanged(key, newer, older, tensors): tensor for key, tensor in tensors.items()}
    return SourceFile(name, hashlib.sha256(content).hexdigest(), tensors, unwrapped, beside)


def _value(name: str, content: bytes) -> object:
    # The length of safetensors' header comes first and may look like the beginning of any other format.
    if content[8:9] == b"{":
        try:
            return safetensors.torch.load(content)
        except (safetensors.SafetensorError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{name} is cut off or damaged: {error}", expected="a whole safetensors file", fix=FIX_CUT
            ) from None
    if content[:4] == b"PK\x03\x04":
        return value_from_zip(name, content)
    if content[:1] == b"\x80":
        return value_from_legacy(name, content)
    fix: str | None = FIX_CUT
    # Torch7 wrote the tags of its types as 4 bytes, or as digits on lines of their own; 3 is a table, 4 an object.
    if re.match(rb"[34](\n|\0\0\0)|[\3\4]\0\0\0", content) and b"V 1" in content[:65_536]:
        what = "is a file of Torch7 (Lua), which is what .t7 once meant; the authors' .t7 files are those of torch.save"
        fix = "convert it where PyTorch 0.4 or Lua runs, or ask for the file of torch.save"
    elif content.lstrip()[:1] == b"<":
        what, fix = "is a web page, not a checkpoint", "open the link in a browser and confirm the download"
    else:
        what = "is empty" if not content else "is no checkpoint"
    raise CheckpointError(f"{name} {what}", expected=WANT, fix=fix)


def _unwrap(name: str, value: object) -> tuple[dict[object, object], tuple[str, ...], dict[str, str]]:
    unwrapped: list[str] = []
    beside: dict[str, str] = {}
    while isinstance(value, Mapping):
        inner = next((key for key in WRAPPERS if isinstance(value.get(key), Mapping)), None)
        if inner is None:
            break
        unwrapped.append(inner)
        beside |= {_shown(key): _described(item) for key, item in value.items() if key != inner}
        value = value[inner]
    if not isinstance(value, Mapping) or not value:
        kind = "nothing" if isinstance(value, Mapping) else f"a {type(value).__name__}"
        raise CheckpointError(f"{name} holds {kind} instead of named tensors", expected=WANT)
    return dict(value), tuple(unwrapped), beside


def _tensors(name: str, value: dict[object, object]) -> dict[str, Tensor]:
    if len(value) > MAX_TENSORS:
        raise CheckpointError(f"{name} has {len(value)} entries", expected=f"at most {MAX_TENSORS}")
    tensors: dict[str, Tensor] = {}
    problems = []
    for key, item in value.items():
        if not isinstance(key, str) or not key.isprintable() or len(key) > MAX_NAME:
            problems.append(f"{_shown(key)}: no name of a tensor")
        elif not isinstance(item, Tensor):
            problems.append(f"{key}: {_described(item)}, not a tensor")
        elif item.layout != torch.strided or item.is_quantized or item.is_complex() or item.device.type != "cpu":
            problems.append(f"{key}: not a dense tensor of real numbers")
        else:
            tensors[key] = item.detach()
    # A tensor may repeat the same bytes (stride 0), so its claimed size can be far above what the file holds.
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if claimed > MAX_FILE_BYTES:
        problems.append(f"the tensors take {claimed} bytes together; the limit is {MAX_FILE_BYTES}")
    if problems:
        raise CheckpointError(f"{name} is no plain state dict:\n    " + "\n    ".join(sorted(problems)), expected=WANT)
    return tensors


def _exchanged(key: str, newer: str, older: str, taken: Collection[str]) -> str:
    name = key.removesuffix(newer) + older if key.endswith(newer) else key
    return key if name in taken else name


def _described(value: object) -> str:
    """What lies beside weights, for people."""
    if isinstance(value, (bool, int, float)):
        return f"{value:.6g}" if isinstance(value, float) else str(value)[:40]
    if isinstance(value, str):
        return _shown(value)
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}"
    return f"a {type(value).__name__}"


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else type(value).__name__
    return listed([text[:60]])
