"""What a pickle wants to call, found without calling it, and torch.load for those that want nothing but tensors.

Two walls, one behind the other: the pickle's instructions are read here first, and a name that is not in our list ends
it; what passes goes to torch's own restricted reader, which knows a longer list.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..differences import listed
from ..errors import CheckpointError

__all__ = ["value_from_legacy", "value_from_zip"]

# Files of torch.save before version 1.6: the magic number, the protocol, the machine, then the value, then the
# storages' names, each a pickle of its own, then the storages.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PICKLES = 5
MAX_ZIP_ENTRIES = 50_000
MAX_PICKLE_BYTES = 64 << 20

TENSORS = {
    "collections.OrderedDict",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch.Size",
    *(f"torch.{kind}Storage" for kind in ("BFloat16", "Half", "Float", "Double", "Bool", "Byte", "Int", "Long")),
    "torch.storage.UntypedStorage",
    "_codecs.encode",  # how protocol 2 writes bytes
}
NUMPY_SCALARS = {"numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"}
NUMPY_TYPES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}
BY_NAME = {"GLOBAL", "INST"}
ON_STACK = {"STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}

WANT = "a file of torch.save or safetensors that holds tensors, plain numbers and text"
FIX_CALLS = "ask whoever made the file for the weights alone: torch.save(network.state_dict(), FILE)"
FIX_CUT = "fetch the file again"


class NumpyType:
    """Stands in for numpy.dtype while a file is read: the names of numbers and nothing else."""

    def __init__(self, name: str, *_: object) -> None:
        if name not in NUMPY_TYPES:
            raise ValueError(f"a numpy type {name!r}, which is no number")
        self.name = name
        self.order = "="

    def __setstate__(self, state: tuple[object, ...]) -> None:
        if state[1] not in {"<", ">", "=", "|"}:
            raise ValueError("a numpy type of unknown byte order")
        self.order = str(state[1])


def numpy_scalar(kind: NumpyType, content: bytes) -> float | int | bool:
    """Stands in for numpy's own maker of scalars, which the authors' files call for their scores."""
    number: float | int | bool = np.frombuffer(content, dtype=np.dtype(kind.order + kind.name), count=1)[0].item()
    return number


def value_from_zip(name: str, content: bytes) -> object:
    """What torch.save wrote since its version 1.6. Raises CheckpointError."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
            if any("/code/" in entry.filename or entry.filename.endswith("constants.pkl") for entry in entries):
                raise _refused(name, "is a TorchScript program, not weights", FIX_CALLS)
            if len(pickles) != 1:
                raise _refused(name, "is a zip that torch.save did not write")
            # torch.save never compresses: then no entry can grow, and none can lie over another.
            stored = all(e.compress_type == zipfile.ZIP_STORED and e.file_size == e.compress_size for e in entries)
            if not stored or len(entries) > MAX_ZIP_ENTRIES or sum(e.file_size for e in entries) > len(content):
                raise _refused(
                    name, f"has {len(entries)} entries of {sum(e.file_size for e in entries)} bytes, some compressed"
                )
            if pickles[0].file_size > MAX_PICKLE_BYTES:
                raise _refused(name, f"has a pickle of {pickles[0].file_size} bytes; the limit is {MAX_PICKLE_BYTES}")
            instructions = archive.read(pickles[0])
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError, OSError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise _refused(name, f"is cut off or damaged: {error}", FIX_CUT) from None
    _refuse_calls(name, _calls(name, io.BytesIO(instructions)))
    return _load(name, content)


def value_from_legacy(name: str, content: bytes) -> object:
    """What torch.save wrote before its version 1.6. Raises CheckpointError."""
    stream = io.BytesIO(content)
    calls = _calls(name, stream)
    if LEGACY_MAGIC.to_bytes(10, "little") not in content[:32]:
        what = f" and would call {listed(calls)}" if calls else ""
        raise _refused(name, f"is a pickle that torch.save did not write{what}; it is not executed", FIX_CALLS)
    for _ in range(LEGACY_PICKLES - 1):
        calls |= _calls(name, stream)
    _refuse_calls(name, calls)
    return _load(name, content)


def _calls(name: str, stream: io.BytesIO) -> set[str]:
    """Every name that one pickle looks up; the stream stands behind the pickle afterwards."""
    found, texts = set(), ["", ""]
    try:
        for opcode, argument, position in pickletools.genops(stream):
            if (position or 0) > MAX_PICKLE_BYTES:
                raise ValueError(f"more than {MAX_PICKLE_BYTES} bytes of instructions")
            if opcode.name in BY_NAME:
                found.add(str(argument).replace(" ", "."))
            elif opcode.name in ON_STACK:
                found.add(".".join(texts) if argument is None else f"extension {argument}")
            elif isinstance(argument, str):
                texts = [texts[1], argument]
    except Exception as error:  # whatever a hostile stream of instructions makes of the standard library's reader
        raise _refused(name, f"is cut off or damaged: {_told(error)}", FIX_CUT) from None
    return found


def _refuse_calls(name: str, calls: set[str]) -> None:
    if unsafe := calls - TENSORS - NUMPY_SCALARS - {"numpy.dtype"}:
        raise _refused(name, f"holds more than weights: to read it, these would be called: {listed(unsafe)}", FIX_CALLS)


def _load(name: str, content: bytes) -> object:
    stand_ins: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [NumpyType, (NumpyType, "numpy.dtype")]
    stand_ins += [(numpy_scalar, scalar) for scalar in sorted(NUMPY_SCALARS)]
    try:
        with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value: object = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(name, f"needs more than torch's restricted reader allows: {_told(error)}", FIX_CALLS) from None
    except Exception as error:  # the reader raises whatever its data makes it raise
        raise _refused(name, f"is cut off or damaged: {_told(error)}", FIX_CUT) from None
    return value


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    first = lines[0] if lines else "it ends too early"
    return f"{type(error).__name__}: {first[:300]}"


def _refused(name: str, what: str, fix: str | None = None) -> CheckpointError:
    return CheckpointError(f"{name} {what}", expected=WANT, fix=fix)
