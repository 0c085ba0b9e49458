"""What is wrong with the folder of one video of a prepared corpus: hostile until checked."""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
from pathlib import Path

import numpy as np
import numpy.typing as npt

from affectrt.bundle.plain_files import chunks, open_plain, os_reason
from affectrt.bundle.strict_json import value_from_json

from .prepared_record import ContractParts, VideoRecord

__all__ = ["content_problems", "folder_problems"]

DTYPES = {
    "crops": "|u1",
    "crop_of_step": "<i4",
    "waveform": "<f4",
    "start_of_step": "<i8",
    "labels": "<f4",
    "times": "<f8",
}
LARGE = ("crops", "waveform")
_BLOCK = 1 << 20


def folder_problems(folder: Path, video: VideoRecord, parts: ContractParts) -> list[str]:
    """Everything but the content of crops and waveform."""
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return [f"{video.name} is not a plain folder"]
    except OSError as error:
        return [f"the folder of {video.name} {os_reason(error)}"]
    shapes = _shapes(video, parts)
    problems: list[str] = []
    small: dict[str, npt.NDArray[np.generic]] = {}
    for name, recorded in video.files.items():
        what, path = name.removesuffix(".npy"), f"{video.name}/{name}"
        try:
            with open_plain(folder / name) as (descriptor, size):
                if size != recorded.bytes:
                    problems.append(f"{path} has {size} bytes, {recorded.bytes} are recorded")
                elif what in LARGE:
                    _check_header(os.read(descriptor, 4096), DTYPES[what], shapes[what], size)
                else:
                    content = b"".join(chunks(descriptor, size))
                    if hashlib.sha256(content).hexdigest() != recorded.sha256:
                        problems.append(f"{path} does not have its recorded SHA-256")
                    elif name == "words.json":
                        problems += [f"{path}: {reason}" for reason in _wrong_words(content, video)]
                    else:
                        _check_header(content[:4096], DTYPES[what], shapes[what], size)
                        small[what] = np.load(io.BytesIO(content), allow_pickle=False)
        except OSError as error:
            problems.append(f"{path} {os_reason(error)}")
        except ValueError as error:
            problems.append(f"{path} {error}")
    return problems or [f"{video.name}/{reason}" for reason in _wrong_values(small, video, parts)]


def content_problems(folder: Path, video: VideoRecord) -> list[str]:
    """SHA-256 of crops and waveform, and whether every sample is a number."""
    problems = []
    for what in LARGE:
        name = f"{what}.npy"
        digest = hashlib.sha256()
        try:
            with open_plain(folder / name) as (descriptor, size):
                for chunk in chunks(descriptor, size):
                    digest.update(chunk)
        except OSError as error:
            problems.append(f"{video.name}/{name} {os_reason(error)}")
            continue
        if digest.hexdigest() != video.files[name].sha256:  # type: ignore[index]
            problems.append(f"{video.name}/{name} does not have its recorded SHA-256")
    if not problems and video.samples:
        samples = np.load(folder / "waveform.npy", mmap_mode="r", allow_pickle=False)
        if not all(np.isfinite(samples[at : at + _BLOCK]).all() for at in range(0, len(samples), _BLOCK)):
            problems.append(f"{video.name}/waveform.npy holds samples that are not numbers")
    return problems


def _shapes(video: VideoRecord, parts: ContractParts) -> dict[str, tuple[int, ...]]:
    px = parts.video.resize_px if parts.video is not None else 0
    return {
        "crops": (video.crops, px, px, 3),
        "crop_of_step": (video.steps,),
        "waveform": (video.samples,),
        "start_of_step": (video.steps,),
        "labels": (video.steps, 2),
        "times": (video.steps,),
    }


def _check_header(beginning: bytes, dtype: str, shape: tuple[int, ...], size: int) -> None:
    """ValueError unless an .npy file has this type and shape, in C order, and as many bytes as these need."""
    stream = io.BytesIO(beginning)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("is of another .npy version than 1.0")
        found_shape, fortran, found = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"is no .npy file: {error}") from None
    if found.hasobject:
        raise ValueError("holds pickled objects")
    if found != np.dtype(dtype) or found_shape != shape or fortran:
        order = ", in Fortran's order" if fortran else ""
        raise ValueError(f"holds {found} {found_shape}{order}; {np.dtype(dtype)} {shape} is expected")
    if size != stream.tell() + math.prod(shape) * found.itemsize:
        raise ValueError("is longer or shorter than its header says")


def _wrong_values(small: dict[str, npt.NDArray[np.generic]], video: VideoRecord, parts: ContractParts) -> list[str]:
    wrong = []
    crop = np.asarray(small["crop_of_step"], np.int64)
    start = np.asarray(small["start_of_step"], np.int64)
    labels, times = np.asarray(small["labels"], np.float64), np.asarray(small["times"], np.float64)
    span = parts.audio.span_samples if parts.audio is not None else 0
    if ((crop < -1) | (crop >= video.crops)).any():
        wrong.append(f"crop_of_step.npy names rows outside -1 … {video.crops - 1}")
    if (start < -1).any() or (start[start >= 0] + span > video.samples).any():
        wrong.append("start_of_step.npy names spans beyond the waveform")
    nothing = np.isnan(labels)
    if (np.abs(labels[~nothing]) > 1).any():
        wrong.append("labels.npy holds values that are neither in [-1, 1] nor NaN")
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        wrong.append("times.npy does not increase")
    counts = (("seen", crop >= 0), ("heard", start >= 0), ("annotated", ~nothing.all(axis=1)))
    for what, flags in counts:
        if int(flags.sum()) != getattr(video, what):
            wrong.append(f"{what} steps are {int(flags.sum())}, {getattr(video, what)} are recorded")
    return wrong


def _wrong_words(content: bytes, video: VideoRecord) -> list[str]:
    told = value_from_json(content)
    words = told.get("words") if isinstance(told, dict) and set(told) == {"words"} else None
    if not isinstance(words, list):
        return ["expected is one object with a list of words"]
    for number, word in enumerate(words):
        if not (isinstance(word, dict) and set(word) == {"word", "start", "end"} and isinstance(word["word"], str)):
            return [f"word {number} is not word, start and end"]
        start, end = word["start"], word["end"]
        if not (_is_number(start) and _is_number(end) and 0 <= start <= end):
            return [f"word {number} lasts from {start!r} to {end!r}"]
    return [] if len(words) == video.words else [f"{len(words)} words, {video.words} are recorded"]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
