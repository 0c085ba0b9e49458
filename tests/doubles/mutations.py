"""Seeded damage to media files: flipped bits, cuts, swapped, doubled and zeroed blocks, lengths that lie."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .media import flash_and_beep, write_media

__all__ = ["KINDS", "Kind", "boxes_of", "elements_of", "mutated", "small_media"]

Kind = Callable[[bytearray, np.random.Generator], bytes]

MEDIA = {
    "plain.mp4": "",
    "faststart.mp4": "faststart=true",
    "fragmented.mp4": "fragment-duration=400",
    "plain.mkv": "",
    "plain.webm": "",
    "plain.wav": "",
}
# Lengths that mean something else, or nothing: to the end, too small, negative, beyond any file.
_WILD = (0, 1, 7, 8, 9, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFF0, 0xFFFF_FFFF)
_MP4_FOLDERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"mvex", b"moof", b"traf", b"udta"}


def small_media(folder: Path) -> dict[str, Path]:
    """A second and a half of picture and sound in each container, a few ten thousand bytes."""
    frames, samples, _ = flash_and_beep(1.5, size=(48, 64))
    rng = np.random.default_rng(1)
    noisy = frames // 2 + rng.integers(0, 12, frames.shape, dtype=np.uint8)
    samples += rng.normal(0, 0.01, samples.shape).astype(np.float32)
    return {
        name: write_media(
            folder / name,
            frames=None if name.endswith(".wav") else noisy,
            samples=samples,
            muxer_options=options,
        )
        for name, options in MEDIA.items()
    }


def boxes_of(content: bytes | bytearray, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    """Where each box of an ISO base media file begins and ends, those inside others too (ISO/IEC 14496-12, 4.2)."""
    end = len(content) if end is None else end
    found = []
    while start + 8 <= end:
        length, kind = struct.unpack_from(">I4s", content, start)
        stop = min(start + length, end) if length >= 8 else end
        found.append((start, stop))
        if kind in _MP4_FOLDERS:
            found += boxes_of(content, start + 8, stop)
        start = stop
    return found


def elements_of(content: bytes | bytearray) -> list[tuple[int, int]]:
    """Where the length of an element of a Matroska file stands, and how many bytes it has (RFC 8794, 4)."""
    found = []
    # Clusters, SimpleBlocks, Tracks, TrackEntry, Info, SeekHead, Cues and the Segment by the bytes of their names.
    for name in ("1f43b675", "a3", "1654ae6b", "ae", "1549a966", "114d9b74", "1c53bb6b", "18538067", "a0", "e0", "e1"):
        key, at = bytes.fromhex(name), -1
        while (at := content.find(key, at + 1)) >= 0 and at + len(key) < len(content):
            first = content[at + len(key)]
            if first:
                found.append((at + len(key), 9 - first.bit_length()))
            if len(found) > 4000:
                break
    return found


def _bits(content: bytearray, rng: np.random.Generator) -> bytes:
    for at in rng.integers(4, len(content), int(2 ** rng.uniform(0, 8))):
        content[at] ^= 1 << int(rng.integers(8))
    return bytes(content)


def _head(content: bytearray, rng: np.random.Generator) -> bytes:
    """Bytes of the first kilobyte, where most of what describes the rest stands."""
    for at in rng.integers(4, min(1024, len(content)), int(rng.integers(1, 12))):
        content[at] = int(rng.integers(256))
    return bytes(content)


def _cut(content: bytearray, rng: np.random.Generator) -> bytes:
    return bytes(content[: int(rng.integers(1, len(content)))])


def _hole(content: bytearray, rng: np.random.Generator) -> bytes:
    start, length = _block(content, rng)
    return bytes(content[:start] + content[start + length :])


def _swap(content: bytearray, rng: np.random.Generator) -> bytes:
    start, length = _block(content, rng)
    other = int(rng.integers(0, len(content) - length))
    one, two = content[start : start + length], content[other : other + length]
    content[start : start + length], content[other : other + length] = two, one
    return bytes(content)


def _wipe(content: bytearray, rng: np.random.Generator) -> bytes:
    start, length = _block(content, rng)
    content[start : start + length] = bytes(length) if rng.integers(2) else rng.bytes(length)
    return bytes(content)


def _block(content: bytearray, rng: np.random.Generator) -> tuple[int, int]:
    length = int(min(2 ** rng.uniform(2, 13), len(content) // 3))
    return int(rng.integers(4, len(content) - length)), length


def _length(content: bytearray, rng: np.random.Generator) -> bytes:
    """A box, element or chunk says another length than it has."""
    for _ in range(int(rng.integers(1, 4))):
        wild = int(_WILD[rng.integers(len(_WILD))]) if rng.integers(2) else int(rng.integers(1 << 17))
        if content[:4] == b"RIFF":
            at = int(rng.choice([4, 16, content.find(b"data") + 4]))
            struct.pack_into("<I", content, at, wild)
        elif content[4:8] == b"ftyp":
            boxes = boxes_of(content)
            struct.pack_into(">I", content, boxes[rng.integers(len(boxes))][0], wild)
        else:
            elements = elements_of(content)
            at, size = elements[rng.integers(len(elements))]
            content[at : at + size] = ((1 << (7 * size)) | (wild & ((1 << (7 * size)) - 1))).to_bytes(size, "big")
    return bytes(content)


def _table(content: bytearray, rng: np.random.Generator) -> bytes:
    """Numbers inside a box that describes others: counts, offsets, durations, time scales."""
    small = [box for box in boxes_of(content) if 16 <= box[1] - box[0] < 4096] if content[4:8] == b"ftyp" else []
    start, stop = small[rng.integers(len(small))] if small else (4, min(600, len(content) - 4))
    for at in rng.integers(start + 8 if small else start, stop - 3, int(rng.integers(1, 5))):
        struct.pack_into(">I", content, int(at), int(_WILD[rng.integers(len(_WILD))]))
    return bytes(content)


def _double(content: bytearray, rng: np.random.Generator) -> bytes:
    """A box, or else a block, stands there twice."""
    if content[4:8] == b"ftyp":
        boxes = boxes_of(content)
        start, stop = boxes[rng.integers(len(boxes))]
    else:
        start, length = _block(content, rng)
        stop = start + length
    return bytes(content[:stop] + content[start:stop] + content[stop:])


KINDS: dict[str, Kind] = {
    "bits": _bits,
    "head": _head,
    "cut": _cut,
    "hole": _hole,
    "swap": _swap,
    "wipe": _wipe,
    "length": _length,
    "table": _table,
    "double": _double,
}


def mutated(content: bytes, kind: str, seed: int) -> bytes:
    """The same content, kind and seed always give the same damage."""
    return KINDS[kind](bytearray(content), np.random.default_rng([seed, list(KINDS).index(kind)]))
