"""A prepared corpus: what a run would compute from raw recordings, on disk once, read through memory maps.

    <root>/corpus.json                      `CorpusRecord`: what it is, how it was made, its videos, each file's SHA-256
    <root>/videos/<name>/crops.npy          uint8 (rows, resize_px, resize_px, 3), a row a picture that shows the face
    <root>/videos/<name>/crop_of_step.npy   int32 (steps,), a row of the crops, -1: the face is not seen
    <root>/videos/<name>/waveform.npy       float32 (samples,), mono at the contract's rate, padded as a run pads it
    <root>/videos/<name>/start_of_step.npy  int64 (steps,), first sample of the step's span, -1: no sound
    <root>/videos/<name>/labels.npy         float32 (steps, 2) valence, arousal in [-1, 1]; NaN: not annotated
    <root>/videos/<name>/times.npy          float64 (steps,), media time of the step in seconds
    <root>/videos/<name>/words.json         optional: {"words": [{"word", "start", "end"}, ...]}, seconds of media time

Files are NumPy's own, opened without pickle; a handful for each video, none for each frame.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import UsageError, listed
from affectrt.bundle.plain_files import chunks, open_plain, os_reason
from affectrt.bundle.strict_json import problems_from_validation, value_from_json
from affectrt.runtime.words.word import Word

from .corpus import Split
from .prepared_check import content_problems, folder_problems
from .prepared_record import CORPUS_FILE, VIDEOS, ContractParts, CorpusRecord, VideoRecord
from .recordings import Spans

__all__ = ["PreparedCorpus", "PreparedVideo", "is_prepared"]

MAX_RECORD_BYTES = 256 << 20
_FIX = "prepare the corpus again: affectrt prepare KIND RAW --out {root}"


@dataclass(frozen=True, eq=False)
class PreparedVideo:
    """One video of a prepared corpus; `spans` holds two open files for as long as it is held."""

    name: str
    split: Split
    subject: str | None
    steps: int
    step_hz: float
    folder: Path
    parts: ContractParts
    record: VideoRecord

    def spans(self, frames: int | None = None) -> Spans:
        """The spans of every step, as the session would ask for them; crops and waveform are memory maps.

        `frames` are those of a video span, where they are not as many as of the contract it was prepared for.
        """
        frames = frames or (self.parts.video.span_frames if self.parts.video is not None else 1)
        rows = crops_of_step(self._array("crop_of_step"), frames, self.record.restarts)
        samples = self.parts.audio.span_samples if self.parts.audio is not None else 0
        return Spans(self._mapped("crops"), rows, self._mapped("waveform"), self._array("start_of_step"), samples)

    def truth(self) -> npt.NDArray[np.float32]:
        """(steps, 2) valence and arousal, NaN where not annotated (RECOLA: its last 0.4 s have valence alone); a memory
        map."""
        truth: npt.NDArray[np.float32] = self._mapped("labels")
        return truth

    def times_s(self) -> npt.NDArray[np.float64]:
        """(steps,) media time of each step in seconds."""
        times: npt.NDArray[np.float64] = self._mapped("times")
        return times

    @property
    def gaps(self) -> tuple[range, ...]:
        """Steps that no media reaches; a session begins anew after each."""
        return tuple(range(*gap) for gap in self.record.gaps)

    def words(self) -> tuple[Word, ...]:
        """In order of time; () where nothing was said, or nobody listened."""
        path = self.folder / "words.json"
        if "words.json" not in self.record.files:
            return ()
        told = value_from_json(path.read_bytes())["words"]
        return tuple(Word(str(word["word"]), float(word["start"]), float(word["end"])) for word in told)

    def _mapped(self, what: str) -> npt.NDArray[Any]:
        # NumPy cannot map what is empty.
        empty = what in {"crops", "waveform"} and self.record.is_empty(what)
        array: npt.NDArray[Any]
        array = np.load(self.folder / f"{what}.npy", mmap_mode=None if empty else "r", allow_pickle=False)
        return array

    def _array(self, what: str) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = np.load(self.folder / f"{what}.npy", allow_pickle=False)
        return array


def crops_of_step(
    crop_of_step: npt.NDArray[np.integer], frames: int, restarts: tuple[int, ...]
) -> npt.NDArray[np.int32]:
    """(steps, frames): the rows that make the span of each step, oldest first, all -1 where the step shows nothing.

    A span holds the newest `frames` steps that show the face; it never looks back over one of the steps `restarts`,
    and the first row after those stands for what would lie before it.
    """
    spans = np.full((len(crop_of_step), frames), -1, np.int32)
    seen = np.flatnonzero(crop_of_step >= 0)
    first = np.searchsorted(seen, np.asarray(restarts, np.int64))
    starts = np.zeros(len(seen), np.int64)
    inside = first[first < len(seen)]
    starts[inside] = inside
    oldest = np.maximum.accumulate(starts) if len(seen) else starts
    at = np.arange(len(seen))[:, None] - np.arange(frames - 1, -1, -1)[None, :]
    spans[seen] = crop_of_step[seen][np.maximum(at, oldest[:, None])]
    return spans


@dataclass(frozen=True, eq=False)
class PreparedCorpus:
    """A checked prepared corpus.

    `open` checks the record, that every file is there, plain, of its recorded size, type and shape, and all of the
    small ones to their last value and their SHA-256; crops and waveforms are read through only if `thorough`.
    """

    root: Path
    record: CorpusRecord
    fingerprint: str
    """SHA-256 of `corpus.json`, which holds the hash of every other file."""

    @classmethod
    def open(cls, root: Path, *, thorough: bool = False) -> PreparedCorpus:
        """Raises `UsageError` with all that is wrong in one list."""
        content, problems = _content(root)
        record = None
        if not problems:
            try:
                record = CorpusRecord.model_validate(value_from_json(content))
            except ValidationError as error:
                problems = problems_from_validation(error, CORPUS_FILE)
            except ValueError as error:
                problems = [f"{CORPUS_FILE}: {error}"]
        if record is not None:
            for video in record.videos:
                problems += folder_problems(root / VIDEOS / video.name, video, record.contract)
            if thorough and not problems:
                for video in record.videos:
                    problems += content_problems(root / VIDEOS / video.name, video)
        if record is None or problems:
            raise UsageError(
                listed(f"{root} is not a prepared corpus that can be trusted", problems),
                expected="a folder that affectrt prepare wrote, complete and unchanged",
                fix=_FIX.format(root=root),
            )
        return cls(root, record, hashlib.sha256(content).hexdigest())

    @property
    def name(self) -> str:
        return self.root.resolve().name

    @property
    def kind(self) -> str:
        """affwild2, recola, folder or synthetic."""
        return self.record.kind

    @property
    def contract_parts(self) -> ContractParts:
        """Clock, video, audio and text of the contract that it was prepared for."""
        return self.record.contract

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those that have videos, in the order train, validation, test."""
        order: tuple[Split, ...] = ("train", "validation", "test")
        return tuple(split for split in order if any(video.split == split for video in self.record.videos))

    @cached_property
    def all_videos(self) -> tuple[PreparedVideo, ...]:
        """Every video, in the record's order."""
        parts = self.record.contract
        return tuple(
            PreparedVideo(v.name, v.split, v.subject, v.steps, v.step_hz, self.root / VIDEOS / v.name, parts, v)
            for v in self.record.videos
        )

    def videos(self, split: str) -> list[PreparedVideo]:
        """The split's videos in the record's order. Raises `UsageError` where it has none."""
        chosen = [video for video in self.all_videos if video.split == split]
        if not chosen:
            raise UsageError(
                f"{self.root} has no videos in the split {split!r}",
                expected=" or ".join(repr(known) for known in self.splits),
                fix="choose one of these",
            )
        return chosen

    def check_fits(self, contract: Contract) -> None:
        """Raises `UsageError` that names each difference if a network of this contract cannot be trained on it.

        The size that is cut from a crop and how many crops make a span may differ, and modalities may be left over;
        which part of a frame the face is (`contract_parts.video.face`) is the corpus's to say.
        """
        if problems := self.record.contract.differences(contract):
            raise UsageError(
                listed(f"{self.root} was prepared for another contract", problems),
                expected="a corpus whose clock, crops and sound are those of the network",
                fix=f"affectrt prepare {self.kind} RAW --out ANOTHER --for {contract.system}",
            )


def is_prepared(root: Path) -> bool:
    """Whether a folder says that it is a prepared corpus; nothing of it is checked."""
    content, problems = _content(root)
    return not problems and b'"affectrt-corpus/' in content[:4096]


def _content(root: Path) -> tuple[bytes, list[str]]:
    try:
        with open_plain(root / CORPUS_FILE) as (descriptor, size):
            if size > MAX_RECORD_BYTES:
                return b"", [f"{CORPUS_FILE} is {size >> 20} MiB"]
            return b"".join(chunks(descriptor, size)), []
    except OSError as error:
        return b"", [f"{CORPUS_FILE} {os_reason(error)}"]
