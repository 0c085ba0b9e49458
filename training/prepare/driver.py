"""All videos of a raw corpus, in processes of their own, into one prepared corpus; a stopped run goes on.

What is on disk while it runs: the folders of finished videos, their records in `.unfinished/`, and there `plan.json`
with all that decides the bytes. `corpus.json` comes last. A finished video is never made again while its raw file has
the same size and its folder is sound.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import AffectError, UsageError, listed

from ..prepared import PreparedCorpus
from ..prepared_check import folder_problems
from ..prepared_record import (
    CORPUS_FILE,
    FORMAT,
    NAME_PATTERN,
    VIDEOS,
    Clock,
    ContractParts,
    CorpusRecord,
    LeftOut,
    MadeBy,
    VideoRecord,
)
from ..progress import Progress
from .faces_from import FacesWish, chosen_faces
from .one_video import UNFINISHED, Job, record_path
from .raw import RawCorpus, RawVideo
from .workers import each_video
from .writer import write_text

__all__ = ["Options", "Prepared", "prepare"]

PLAN = "plan.json"


@dataclass(frozen=True)
class Options:
    """`detector`: YuNet's file; None takes the one that `affectrt assets pull yunet` brought."""

    contract: Contract
    faces: FacesWish = "auto"
    clock: Clock = "steps"
    workers: int = 1
    allow_failures: bool = False
    detector: Path | None = None


@dataclass(frozen=True)
class Prepared:
    corpus: PreparedCorpus
    made_now: int


def prepare(raw: RawCorpus, out: Path, options: Options, progress: Progress | None = None) -> Prepared:
    """Makes the corpus at `out`, or what is missing of it.

    Raises `UsageError` where `out` holds something else, and `AffectError` with every video that could not be read,
    unless `allow_failures`: then they are left out, and the record says so. What was finished stays either way.
    """
    progress = progress or Progress(quiet=True)
    if not raw.videos:
        raise UsageError(
            listed(f"{raw.root} has no video that can be prepared", [f"{o.name}: {o.reason}" for o in raw.left_out])
        )
    if wrong := [video.name for video in raw.videos if not re.match(NAME_PATTERN, video.name)]:
        raise UsageError(
            listed("names that cannot be a folder's everywhere", wrong),
            expected="letters, digits and . , ( ) + @ - _, not beginning with a dot",
            fix="rename these videos",
        )
    faces, contract, detector, digest = chosen_faces(raw, options.contract, options.faces, options.detector)
    plan = _plan(raw, options.clock, faces, ContractParts.of(contract), digest)
    with _held(out):
        _check_place(out, plan)
        write_text(out / UNFINISHED / PLAN, json.dumps(plan, indent=1))
        for stale in (out / VIDEOS).glob(".*.part"):  # what a killed run left
            shutil.rmtree(stale)
        made = _finished(out, raw, ContractParts.of(contract))
        todo = [video for video in raw.videos if video.name not in made]
        job = Job(contract, faces, options.clock, detector, raw.root, out)
        with progress.bar("preparing", len(todo)) as done:
            for result in each_video(todo, job, options.workers):
                made[result.name] = result
                if isinstance(result, LeftOut):
                    progress.say(f"left out {result.name}: {result.reason}")
                done()
        left_out = [*raw.left_out, *(m for v in raw.videos if isinstance(m := made[v.name], LeftOut))]
        failed = [f"{one.name}: {one.reason}" for one in left_out if one.failed]
        if failed and not options.allow_failures:
            raise AffectError(
                listed(f"{len(failed)} of {len(raw.videos) + len(raw.left_out)} could not be prepared", failed),
                fix="mend them and give the same command again, which makes only these; or leave them out with "
                "--allow-failures",
            )
        videos = tuple(m for v in raw.videos if isinstance(m := made[v.name], VideoRecord))
        if not videos:
            raise AffectError(listed("nothing is left", [f"{one.name}: {one.reason}" for one in left_out]))
        record = CorpusRecord.model_validate({**plan, "videos": videos, "left_out": tuple(left_out)})
        _finish(out, record)
    return Prepared(PreparedCorpus.open(out), len(todo))


def _plan(raw: RawCorpus, clock: Clock, faces: str, parts: ContractParts, detector: str | None) -> dict[str, object]:
    """Everything but the raw files that decides the bytes of the corpus."""
    from importlib.metadata import version

    import cv2

    from affectrt.runtime.sources.gst import gst

    made_by = MadeBy(
        affectrt=version("affectrt"), opencv=cv2.__version__, gstreamer=gst().version_string(), detector=detector
    )
    return {
        "format": FORMAT,
        "kind": raw.kind,
        "clock": clock,
        "faces": faces,
        "contract": parts.model_dump(mode="json"),
        "made_by": made_by.model_dump(mode="json"),
        "licence": raw.licence,
    }


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """`out` for this process alone: two at once would take each other's unfinished folders for old ones."""
    try:
        if out.exists() and any(out.iterdir()) and not ((out / CORPUS_FILE).is_file() or (out / UNFINISHED).is_dir()):
            raise UsageError(
                f"{out} holds something that is not a prepared corpus",
                expected="a new or empty folder, or one that prepare began",
                fix="--out ANOTHER",
            )
        (out / VIDEOS).mkdir(parents=True, exist_ok=True)
        lock = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror or error}", fix="--out ANOTHER") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another prepare writes to {out}", fix="wait for it, or stop it") from None
        yield
    finally:
        os.close(lock)


def _check_place(out: Path, plan: dict[str, object]) -> None:
    """UsageError where the folder was begun with anything else."""
    for path in (out / CORPUS_FILE, out / UNFINISHED / PLAN):
        if not path.is_file():
            continue
        try:
            found = json.loads(path.read_text("utf-8"))
            different = list(_differences({key: found.get(key) for key in plan}, plan))
        except (ValueError, AttributeError):
            different = [f"{path.name} cannot be read"]
        if different:
            raise UsageError(
                listed(f"{out} was prepared otherwise", different),
                expected="the same command as before, or a new folder",
                fix="--out ANOTHER, or remove this one",
            )


def _differences(there: object, now: object, path: str = "") -> Iterator[str]:
    if isinstance(there, dict) and isinstance(now, dict):
        for key in sorted(set(there) | set(now)):
            yield from _differences(there.get(key), now.get(key), f"{path}.{key}".lstrip("."))
    elif there != now:
        yield f"{path}: {there} there, {now} now"


def _finished(out: Path, raw: RawCorpus, parts: ContractParts) -> dict[str, VideoRecord | LeftOut]:
    """Records of the videos that are there and sound, by name. UsageError for videos that the raw corpus has not."""
    known: dict[str, VideoRecord] = {}
    for path in [out / CORPUS_FILE, *(record_path(out, video.name) for video in raw.videos)]:
        try:
            content = path.read_text("utf-8")
            if path.name == CORPUS_FILE and path.parent == out:
                known |= {video.name: video for video in CorpusRecord.model_validate_json(content).videos}
            else:
                video = VideoRecord.model_validate_json(content)
                known[video.name] = video
        except (OSError, ValidationError):
            continue  # it is made again
    if gone := sorted(set(known) - {video.name for video in raw.videos}):
        raise UsageError(
            listed(f"{out} holds videos that {raw.root} has no more", gone), fix="--out ANOTHER, or bring them back"
        )
    return {
        video.name: known[video.name]
        for video in raw.videos
        if video.name in known and _is_sound(known[video.name], video, out, parts)
    }


def _is_sound(record: VideoRecord, raw: RawVideo, out: Path, parts: ContractParts) -> bool:
    try:
        same = raw.media.stat().st_size == record.media_bytes and raw.split == record.split
    except OSError:
        return False
    return same and not folder_problems(out / VIDEOS / record.name, record, parts)


def _finish(out: Path, record: CorpusRecord) -> None:
    content = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    write_text(out / CORPUS_FILE, content)
    _remove_strangers(out / VIDEOS, [video.name for video in record.videos])
    shutil.rmtree(out / UNFINISHED)


def _remove_strangers(folder: Path, names: Sequence[str]) -> None:
    """A folder without a record is that of a video which came out otherwise before."""
    for path in folder.iterdir():
        if path.name not in names:
            shutil.rmtree(path)
