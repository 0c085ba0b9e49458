"""Videos in processes of their own, one thread each: GStreamer, OpenCV and the session of one never meet another's."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

from affectrt.bundle.errors import AffectError

from ..prepared_record import LeftOut, VideoRecord
from .one_video import Job, prepare_video
from .raw import RawVideo

__all__ = ["each_video"]


def each_video(videos: Sequence[RawVideo], job: Job, workers: int) -> Iterator[VideoRecord | LeftOut]:
    """Results as they come. One worker works in this process.

    Raises `AffectError` when a worker dies, as for lack of memory. When the caller stops, or is killed, workers end.
    """
    if workers <= 1 or len(videos) <= 1:
        yield from _here(videos, job)
        return
    # Longest first, so that no process is left with the longest alone at the end.
    order = sorted(videos, key=lambda video: (-_size(video), video.name))
    # Whoever waits on the one end sees the other end go, by whatever way this process ends.
    theirs, ours = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(
        min(workers, len(videos)), mp_context=context, initializer=_begin, initargs=(theirs,)
    )
    try:
        with _one_thread_each():
            results = [executor.submit(prepare_video, video, job) for video in order]
        for result in as_completed(results):
            yield result.result()
        executor.shutdown()
    except BrokenProcessPool:
        raise AffectError(
            "a worker was ended from outside, perhaps for lack of memory",
            fix=f"give the same command with --workers {max(1, workers // 2)}: what is finished stays",
        ) from None
    finally:
        ours.close()
        executor.shutdown(wait=False, cancel_futures=True)


def _here(videos: Sequence[RawVideo], job: Job) -> Iterator[VideoRecord | LeftOut]:
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for video in videos:
            yield prepare_video(video, job)
    finally:
        cv2.setNumThreads(threads)


class _one_thread_each:  # noqa: N801 - reads as a phrase in a `with` line
    """Libraries read these when they are loaded, so they must be there before a process begins."""

    NAMES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in self.NAMES}
        os.environ.update(dict.fromkeys(self.NAMES, "1"))

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _begin(parent: Connection) -> None:
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Connection) -> None:
    parent.poll(None)
    os._exit(1)


def _size(video: RawVideo) -> int:
    try:
        return video.media.stat().st_size
    except OSError:
        return 0
