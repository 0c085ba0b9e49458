"""One raw video to its folder in a prepared corpus, and what the corpus's record says of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import AffectError
from affectrt.bundle.plain_files import chunks, open_plain, os_reason
from affectrt.bundle.strict_json import plain_text, value_from_json
from affectrt.runtime.words.word import Word

from ..annotation import annotation_of_steps
from ..corpus import CorpusVideo
from ..prepared_record import VIDEOS, Clock, FacesFrom, FileRecord, LeftOut, VideoRecord
from .raw import RawVideo
from .reading import RawSource, View, faces_of_person, given_view, picture_rate, whole_view
from .recording import Recorded, record_into
from .writer import VideoFolder, write_text

__all__ = ["Job", "labels_at", "prepare_video", "record_path"]

UNFINISHED = ".unfinished"
MAX_WORDS_BYTES = 64 << 20
# Rows of an annotation with times of its own are joined by a line if they are no further apart.
_JOINED_S = 1.0
_NEAR_S = 0.1


@dataclass(frozen=True)
class Job:
    """How every video of a corpus is prepared; `raw_root` is what paths are told relative to."""

    contract: Contract
    faces: FacesFrom
    clock: Clock
    detector: Path | None
    raw_root: Path
    out: Path


def record_path(out: Path, name: str) -> Path:
    """Where the record of a finished video waits for the corpus's own."""
    return out / UNFINISHED / f"{name}.json"


def prepare_video(raw: RawVideo, job: Job) -> VideoRecord | LeftOut:
    """Writes the folder and, before it is there, its record. What cannot be read is told as `LeftOut`, never raised."""
    try:
        with VideoFolder(job.out / VIDEOS / raw.name, str(os.getpid())) as folder:
            made = _made(raw, job, folder)
            if isinstance(made, VideoRecord):
                write_text(record_path(job.out, raw.name), made.model_dump_json(indent=1))
                folder.finish()
            return made
    except AffectError as error:
        return LeftOut(name=raw.name, split=raw.split, reason=told(error.found, job.raw_root), failed=True)


def told(text: str, root: Path) -> str:
    """Paths relative to the corpus, so that the record is the same wherever it lies."""
    return plain_text(text.replace(f"{root}{os.sep}", ""))[:2000]


def _made(raw: RawVideo, job: Job, folder: VideoFolder) -> VideoRecord | LeftOut:
    picture_hz = _picture_hz(raw) if job.clock == "pictures" else None
    contract = job.contract
    if picture_hz is not None:
        contract = contract.model_copy(update={"step_hz": picture_hz})
    words = _words(raw.words) if raw.words is not None else None
    view = _view(raw, job)
    with RawSource(raw, contract, shrunk=job.faces == "given") as source:
        recorded = record_into(
            folder, source, contract, view, picture_hz=picture_hz, faces_come_and_go=job.faces != "whole"
        )
        notes = source.notes
    labels = _labels(raw, recorded, contract.step_hz, job.clock)
    if (reason := _useless(raw, recorded, labels)) is not None:
        return LeftOut(name=raw.name, split=raw.split, reason=reason)
    folder.array("crop_of_step", recorded.crop_of_step)
    folder.array("start_of_step", recorded.start_of_step)
    folder.array("labels", labels)
    folder.array("times", np.arange(recorded.steps) / contract.step_hz)
    if words is not None:
        folder.words(words)
    notes = (*raw.notes, *notes, *recorded.notes)
    return _record(raw, job, recorded, labels, contract.step_hz, notes, len(words or ()), folder.files())


def _picture_hz(raw: RawVideo) -> float:
    return raw.stills.hz if raw.stills is not None else CorpusVideo(raw.name, raw.media, raw.labels).label_hz


def _view(raw: RawVideo, job: Job) -> View:
    if raw.stills is not None and job.faces != "given" and job.contract.video is not None:
        raise AffectError(f"of {raw.name} there are only crops, no recording", fix="give --faces given")
    if job.contract.video is None or job.faces == "whole":
        return whole_view
    if job.faces == "given":
        if raw.crops is None or not raw.crops.folder.is_dir():
            raise AffectError(f"{raw.name} has no given crops", fix="give --faces found")
        return given_view(raw.crops)
    from affectrt.runtime.finders import YuNet, YuNetFinder

    assert job.detector is not None
    return faces_of_person(raw, YuNetFinder(YuNet(job.detector)))


def _labels(raw: RawVideo, recorded: Recorded, step_hz: float, clock: Clock) -> npt.NDArray[np.float32]:
    """(steps, 2): of the picture of the step, or of the picture or the row that is nearest in time."""
    steps = recorded.steps
    if raw.label_times_s is not None:
        return labels_at(raw.labels, raw.label_times_s, np.arange(steps) / step_hz)
    if clock == "pictures":
        labels = np.full((steps, 2), np.nan, np.float32)
        rows = min(steps, len(raw.labels))
        labels[:rows] = raw.labels[:rows]
        return labels
    return annotation_of_steps(raw.labels, recorded.times_s, steps, step_hz)


def labels_at(
    rows: npt.NDArray[np.float32], times_s: npt.NDArray[np.float64], at_s: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """(len(at_s), 2) on the line between the rows before and after; NaN where these are more than 1 s apart, or one of
    them is not annotated. Before the first row and after the last one, that row, for 0.1 s."""
    labels = np.full((len(at_s), 2), np.nan, np.float32)
    if len(rows) == 0:
        return labels
    after = np.clip(np.searchsorted(times_s, at_s), 0, len(rows) - 1)
    before = np.where((after > 0) & (times_s[after] > at_s), after - 1, after)
    apart = times_s[after] - times_s[before]
    outside = np.maximum(times_s[before] - at_s, at_s - times_s[after])
    part = np.divide(at_s - times_s[before], apart, out=np.zeros(len(at_s)), where=apart > 0)[:, None]
    line = rows[before].astype(np.float64) * (1 - part) + rows[after].astype(np.float64) * part
    known = (apart <= _JOINED_S) & (outside <= _NEAR_S)
    labels[known] = line[known]
    # A step on a row has that row, whatever lies beside it.
    exact = times_s[after] == at_s
    labels[exact] = rows[after[exact]]
    return labels


def _useless(raw: RawVideo, recorded: Recorded, labels: npt.NDArray[np.float32]) -> str | None:
    if recorded.steps == 0:
        return "there is no picture and no sound in it"
    if (recorded.crop_of_step < 0).all() and (recorded.start_of_step < 0).all():
        return "at no step there is a face or sound"
    if raw.split != "test" and np.isnan(labels).all():
        return "no step of it is annotated"
    return None


def _record(
    raw: RawVideo,
    job: Job,
    recorded: Recorded,
    labels: npt.NDArray[np.float32],
    step_hz: float,
    notes: tuple[str, ...],
    words: int,
    files: dict[str, FileRecord],
) -> VideoRecord:
    pictures = len(recorded.times_s)
    dropped = dict(raw.dropped)
    if raw.label_times_s is None:
        dropped["annotated rows beyond the last picture"] = int((~np.isnan(raw.labels[pictures:])).any(axis=1).sum())
        dropped["pictures beyond the last row"] = max(0, pictures - len(raw.labels)) if len(raw.labels) else 0
    dropped["rows that are not annotated"] = int(np.isnan(raw.labels).all(axis=1).sum())
    dropped["pictures without the face"] = recorded.faceless
    if job.faces == "given" and raw.crops is not None:
        dropped["given crops beyond the last picture"] = sum(n > pictures for n in raw.crops.numbers())
    hz, pause = picture_rate(recorded.times_s.tolist())
    media = told(f"{raw.media}", job.raw_root)
    return VideoRecord.model_validate(
        {
            "name": raw.name,
            "split": raw.split,
            "subject": raw.subject,
            "steps": recorded.steps,
            "step_hz": step_hz,
            "media": media,
            "media_bytes": raw.media.stat().st_size,
            "pictures": pictures,
            "picture_hz": hz,
            "longest_pause_s": pause,
            "seconds": recorded.steps / step_hz,
            "crops": recorded.crops,
            "crop_px": job.contract.video.resize_px if job.contract.video is not None else 0,
            "samples": recorded.samples,
            "seen": int((recorded.crop_of_step >= 0).sum()),
            "heard": int((recorded.start_of_step >= 0).sum()),
            "annotated": int((~np.isnan(labels)).any(axis=1).sum()),
            "words": words,
            "restarts": recorded.restarts,
            "gaps": recorded.gaps,
            "dropped": {why: count for why, count in dropped.items() if count},
            "notes": tuple(told(note, job.raw_root) for note in notes),
            "files": files,
        }
    )


def _words(path: Path) -> list[Word]:
    """A transcript in the form of `words.json`. Raises `AffectError` for any other."""
    try:
        with open_plain(path) as (descriptor, size):
            content = value_from_json(b"".join(chunks(descriptor, min(size, MAX_WORDS_BYTES))))
        words = [Word(str(word["word"]), float(word["start"]), float(word["end"])) for word in content["words"]]
        if not all(0 <= word.start_s <= word.end_s for word in words):
            raise ValueError("a word ends before it begins")
    except OSError as error:
        raise AffectError(f"{path} {os_reason(error)}", fix="leave --words out, or put the transcript there") from None
    except (ValueError, KeyError, TypeError) as error:
        raise AffectError(
            f"{path}: {error}",
            expected='{"words": [{"word": "so", "start": 0.2, "end": 0.4}]}, in seconds',
            fix="write it again, or leave --words out",
        ) from None
    return sorted(words, key=lambda word: (word.start_s, word.end_s))
