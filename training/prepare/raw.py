"""What a reader of a raw layout gives: videos with their annotation, and what it leaves out. No media is read yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import MediaError
from affectrt.bundle.plain_files import chunks, open_plain, os_reason
from affectrt.runtime.faces import Frame

from ..corpus import Split, Truth
from ..prepared_record import Kind, LeftOut
from .stills import Stills

__all__ = ["GivenCrops", "RawCorpus", "RawVideo", "Side", "transcript_in"]

Side = Literal["left", "right"]
MAX_CROP_BYTES = 16 << 20
MAX_CROP_PX = 4096


@dataclass(frozen=True)
class GivenCrops:
    """Faces that came with a corpus, one file a picture, named by the picture's number from 1: `00001.jpg`.

    `first` is the number in the name of picture 1's file.
    """

    folder: Path
    pattern: str = "{:05d}.jpg"
    first: int = 1

    def __call__(self, number: int) -> Frame | None:
        """uint8 RGB of picture `number`; None where there is no file: no face there. MediaError for a damaged one."""
        path = self.folder / self.pattern.format(number - 1 + self.first)
        try:
            with open_plain(path) as (descriptor, size):
                content = b"".join(chunks(descriptor, min(size, MAX_CROP_BYTES + 1)))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _bad_crop(path, os_reason(error)) from None
        if len(content) > MAX_CROP_BYTES:
            raise _bad_crop(path, f"has more than {MAX_CROP_BYTES >> 20} MiB")
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
        if picture is None or max(picture.shape[:2]) > MAX_CROP_PX:
            raise _bad_crop(path, "is no picture that can be read")
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)

    def numbers(self) -> set[int]:
        """Of all files that are there."""
        prefix, suffix = self.pattern.partition("{")[0], self.pattern.rpartition("}")[2]
        stems = (path.name.removeprefix(prefix).removesuffix(suffix) for path in self.folder.glob(f"{prefix}*{suffix}"))
        return {int(stem) + 1 - self.first for stem in stems if stem.isdecimal()}


def _bad_crop(path: Path, reason: str) -> MediaError:
    return MediaError(f"{path} {reason}", fix="take the crops from the release again, or give --faces found")


@dataclass(frozen=True, eq=False)
class RawVideo:
    """One person in one recording. It travels to other processes, so all of it must be picklable.

    `labels` (rows, 2): valence and arousal in [-1, 1]; NaN where not annotated. Row i belongs to picture i of the
    media, or to the media time `label_times_s[i]` (seconds, increasing). `audio`: the file that holds the sound, or the
    folder of its windows, where the media does not. `stills`: no media holds the pictures; then `media` is the list of
    them, and `crops` are all there is to see. `side`: which of two people in the picture it is. `words`: a transcript
    in the form of `words.json`. `dropped`: why → how many rows or pictures the reader has left out itself.
    """

    name: str
    split: Split
    media: Path
    labels: Truth
    subject: str | None = None
    label_times_s: npt.NDArray[np.float64] | None = None
    audio: Path | None = None
    crops: GivenCrops | None = None
    side: Side | None = None
    words: Path | None = None
    stills: Stills | None = None
    notes: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class RawCorpus:
    """`videos` in the order that the corpus keeps; `left_out` is what the reader could not or would not take."""

    root: Path
    kind: Kind
    licence: str
    videos: tuple[RawVideo, ...]
    left_out: tuple[LeftOut, ...] = ()


def transcript_in(folder: Path | None, name: str) -> Path | None:
    """The transcript of a video, `<name>.words.json` as `affectrt transcribe` writes it, or `<name>.json`."""
    if folder is None:
        return None
    return next((path for suffix in (".words.json", ".json") if (path := folder / f"{name}{suffix}").exists()), None)
