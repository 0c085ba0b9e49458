"""MP4 boxes (ISO/IEC 14496-12), as far as needed to make the same media give the same bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

__all__ = ["forget_creation_time"]

CONTAINERS = {b"moov", b"trak", b"mdia"}
DATED = {b"mvhd", b"tkhd", b"mdhd"}


def _boxes(content: bytearray, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, begin of the payload, end) of each box in content[begin:end]."""
    while begin + 8 <= end:
        size, kind = struct.unpack_from(">I4s", content, begin)
        payload = begin + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, payload)
            payload += 8
        elif size == 0:
            size = end - begin
        yield kind, payload, min(begin + size, end)
        begin += max(size, 8)


def _forget(content: bytearray, begin: int, end: int) -> None:
    for kind, payload, until in _boxes(content, begin, end):
        if kind in CONTAINERS:
            _forget(content, payload, until)
        elif kind in DATED:  # version and flags (4 bytes), then creation and modification, 4 or 8 bytes each
            width = 8 if content[payload] == 1 else 4
            content[payload + 4 : payload + 4 + 2 * width] = bytes(2 * width)


def forget_creation_time(path: Path) -> None:
    """Sets the times of creation and modification inside the file to 0 ("unknown")."""
    content = bytearray(path.read_bytes())
    _forget(content, 0, len(content))
    path.write_bytes(content)
