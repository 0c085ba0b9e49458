"""Is a container as long as it says? Cutting leaves no other trace in WAV, AVI and fragmented MP4."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

__all__ = ["missing_bytes"]

# Writers that cannot seek leave 0 or a number near 2³¹ or 2³² in place of the length.
_UNKNOWN_FROM = 0x7FFF_0000
_MAX_BOXES = 1_000_000
_MP4_FIRST_BOXES = {b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"}


def missing_bytes(path: Path) -> int:
    """How many bytes a RIFF or ISO base media file announces beyond its end; 0 for other kinds."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and len(head) == 12:
            announced = int(struct.unpack_from("<I", head, 4)[0]) + 8
            return max(0, announced - size) if 8 < announced < _UNKNOWN_FROM else 0
        if head[4:8] in _MP4_FIRST_BOXES:
            return max(0, _end_of_boxes(file, size) - size)
    return 0


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """Where the last top-level box would end (ISO/IEC 14496-12, 4.2)."""
    at = 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return at if not head else at + 8
        length = int(struct.unpack_from(">I", head)[0])
        if length == 1 and len(head) == 16:
            length = int(struct.unpack_from(">Q", head, 8)[0])
        if length < 8:  # 0 reaches to the end of the file, 1 … 7 cannot be
            return size
        at += length
        if at > size:
            return at
    return size
