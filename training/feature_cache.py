"""Features of a prepared corpus by encoders that do not learn: computed once, read by every fusion through memory maps.

    <cache>/<modality>-<key>/decides.json       everything that decides the features; `key` is its SHA-256
    <cache>/<modality>-<key>/<video>.npy        float32 (steps, feature_dim), zeros at steps without the modality;
                                                words' vectors are as they come out, for their reader to scale
    <cache>/<modality>-<key>/<video>.json       its bytes and SHA-256, written last

Each file is one video's, so that whoever was stopped goes on with the next; nothing that is incomplete or was changed
is read. One cache serves every fold, seed and fusion over the same encoders, side by side with others' features.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from affectrt.bundle.contract import Contract, ModalityName
from affectrt.bundle.errors import UsageError
from affectrt.runtime import Request, Scheduler
from affectrt.runtime.scheduler import batch_rows

from .frozen_encoders import FrozenEncoders
from .prepare.writer import GrowingArray, recorded, write_text
from .prepared import PreparedCorpus, PreparedVideo
from .prepared_record import FileRecord
from .progress import Progress

__all__ = ["MAX_BATCH", "FeatureCache", "cache_features"]

FORMAT = 1  # raise it with every change that makes other features from the same corpus and encoders
MAX_BATCH = 8  # the scheduler's own: a run computes as many rows a call
DECIDES = "decides.json"
Features = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Series:
    """One row of features for each step: `name` is the modality, or `video-mirrored`."""

    name: str
    modality: ModalityName
    mirrored: bool
    folder: Path
    key: str
    dim: int


@dataclass(frozen=True, eq=False)
class FeatureCache:
    """Checked features of some videos. `made_now` counts the files that had to be computed."""

    key: str
    made_now: int
    _series: tuple[_Series, ...]

    def rows(self, video: str) -> dict[str, Features]:
        """(steps, feature_dim) memory maps: one for each modality, and `video-mirrored` where asked for."""
        return {one.name: np.load(_file(one, video), mmap_mode="r", allow_pickle=False) for one in self._series}


def cache_features(
    encoders: FrozenEncoders,
    corpus: PreparedCorpus,
    cache: Path,
    videos: Sequence[PreparedVideo],
    *,
    mirrored: bool = False,
    progress: Progress | None = None,
) -> FeatureCache:
    """The features of `videos`, each computed unless a sound file of it lies in `cache` already.

    With `mirrored` those of the mirrored face as well. Spans are batched as a run batches them, so ONNX Runtime gives
    the session's bits; the middle `crop_px` of each crop is seen, as in a run. A second process that wants the same
    waits for the first. UsageError where `cache` cannot be written.
    """
    progress = progress or Progress(quiet=True)
    series = _all_series(encoders, corpus, cache, mirrored)
    scheduler = Scheduler(encoders.contract, encoders.engines, MAX_BATCH)
    made = 0
    with _held(cache):
        for one in series:
            one.folder.mkdir(exist_ok=True)
            for stale in one.folder.glob(".*.part"):
                stale.unlink()
            if not (one.folder / DECIDES).exists():
                write_text(one.folder / DECIDES, _decides(encoders, corpus, one.modality, one.mirrored))
        todo = [(one, video) for one in series for video in videos if not _is_sound(one, video)]
        with progress.bar("encoding", sum(video.steps for _, video in todo)) as done:
            for one, video in todo:
                _write(one, video, encoders, scheduler, done)
                made += 1
    key = hashlib.sha256(" ".join(f"{one.name} {one.key}" for one in series).encode()).hexdigest()
    return FeatureCache(key, made, series)


def _all_series(encoders: FrozenEncoders, corpus: PreparedCorpus, cache: Path, mirrored: bool) -> tuple[_Series, ...]:
    found = []
    for modality, record in encoders.contract.modalities.items():
        if modality not in encoders.identity:
            continue
        for way in (False, True) if mirrored and modality == "video" else (False,):
            name = f"{modality}-mirrored" if way else modality
            key = hashlib.sha256(_decides(encoders, corpus, modality, way).encode()).hexdigest()
            found.append(_Series(name, modality, way, cache / f"{name}-{key[:16]}", key, record.feature_dim))
    return tuple(found)


def _decides(encoders: FrozenEncoders, corpus: PreparedCorpus, modality: ModalityName, mirrored: bool) -> str:
    told = {
        "format": FORMAT,
        "corpus": corpus.fingerprint,
        "clock": corpus.record.clock,
        "step_hz": encoders.contract.step_hz,
        "modality": encoders.contract.modalities[modality].model_dump(mode="json"),
        "mirrored": mirrored,
        "max_batch": MAX_BATCH,
        "encoder": dict(encoders.identity[modality]),
    }
    return json.dumps(told, indent=1, sort_keys=True) + "\n"


@contextmanager
def _held(cache: Path) -> Iterator[None]:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = os.open(cache, os.O_RDONLY)
    except OSError as error:
        raise UsageError(f"{cache} cannot be written: {error.strerror or error}", fix="--cache ANOTHER") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _file(one: _Series, video: str) -> Path:
    return one.folder / f"{video}.npy"


def _is_sound(one: _Series, video: PreparedVideo) -> bool:
    """Whether the video's file is there and has its recorded bytes."""
    path = _file(one, video.name)
    try:
        wanted = FileRecord.model_validate_json(path.with_suffix(".json").read_text("utf-8"))
        if path.is_symlink() or path.stat().st_size != wanted.bytes or recorded(path) != wanted:
            return False
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, ValidationError):
        return False
    return bool(rows.shape == (video.steps, one.dim) and rows.dtype == np.float32)


def _write(
    one: _Series, video: PreparedVideo, encoders: FrozenEncoders, scheduler: Scheduler, done: Callable[[], None]
) -> None:
    path = _file(one, video.name)
    path.with_suffix(".json").unlink(missing_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    array = GrowingArray(unfinished, np.float32, (one.dim,))
    try:
        if one.modality == "text":
            array.append(encoders.text_rows(video, scheduler))
            for _ in range(video.steps):
                done()
        else:
            _write_spans(array, one, video, encoders.contract, scheduler, done)
        array.close()
    except BaseException:
        array.abandon()
        unfinished.unlink(missing_ok=True)
        raise
    unfinished.replace(path)
    write_text(path.with_suffix(".json"), recorded(path).model_dump_json() + "\n")


def _write_spans(
    array: GrowingArray,
    one: _Series,
    video: PreparedVideo,
    contract: Contract,
    scheduler: Scheduler,
    done: Callable[[], None],
) -> None:
    spans = video.spans(contract.video.span_frames if contract.video is not None else 1)
    seen = one.modality == "video"
    record = contract.video if seen else contract.audio
    assert record is not None and record.stage is not None
    present = spans.present("video" if seen else "audio")
    fresh = _fresh(spans.crops_of_step, present) if seen else present

    def feeds(step: int) -> dict[str, npt.NDArray[np.generic]]:
        if seen:
            assert contract.video is not None
            return {record.input.name: _cut(spans.video_span(step), contract.video.crop_px, one.mirrored)}
        return {record.input.name: np.ascontiguousarray(spans.audio_span(step))}

    firsts = np.flatnonzero(fresh)
    ends = [*firsts.tolist(), video.steps]
    size = batch_rows(record.input.nbytes, MAX_BATCH)
    for _ in range(ends[0]):
        array.append(np.zeros((1, one.dim), np.float32))
        done()
    for at in range(0, len(firsts), size):
        asked = firsts[at : at + size]
        found = scheduler.infer([Request(record.stage, 0, int(step), feeds(int(step))) for step in asked])
        covered = np.arange(asked[0], ends[min(at + size, len(firsts))])
        rows = np.stack(found).astype(np.float32)[np.searchsorted(asked, covered, side="right") - 1]
        rows[~present[covered]] = 0
        array.append(rows)
        for _ in covered:
            done()


def _fresh(rows: npt.NDArray[np.int32], present: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(steps,): where a span begins that differs from the one before it. A picture that is held on is computed once."""
    fresh: npt.NDArray[np.bool_] = present.copy()
    seen = np.flatnonzero(present)
    fresh[seen[1:]] = (rows[seen[1:]] != rows[seen[:-1]]).any(axis=1)
    return fresh


def _cut(span: npt.NDArray[np.uint8], px: int, mirrored: bool) -> npt.NDArray[np.uint8]:
    """The middle `px` square of (…, side, side, 3), as `runtime.faces.crop_face` keeps it."""
    edge = (span.shape[-2] - px) // 2
    cut = span[..., edge : edge + px, edge : edge + px, :]
    return np.ascontiguousarray(cut[..., ::-1, :] if mirrored else cut)
