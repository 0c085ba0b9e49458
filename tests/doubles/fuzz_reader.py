"""Reads media files, each in a process of its own: a path a line on standard input, a line of JSON on standard output.

Started as a program. It loads GStreamer once and forks for every file, so that a crash, a hang or memory that is not
given back is told of that file alone.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Reader", "Verdict", "readers"]

LIMIT_S = 10.0
RATE_HZ = 16_000


@dataclass(frozen=True)
class Verdict:
    """`end`: "read" with the kinds of the outcome, "refused" with the error's class, "raised", "crashed" or "hung"."""

    path: str
    end: str
    detail: str
    seconds: float
    peak_mb: float

    @property
    def good(self) -> bool:
        return self.end in {"read", "refused"}


class Reader:
    """One of the programs."""

    def __init__(self) -> None:
        here = str(Path(__file__).parent.parent)
        self._program = subprocess.Popen(
            [sys.executable, "-m", "doubles.fuzz_reader"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": here, "OMP_NUM_THREADS": "1"},
            text=True,
        )

    def read(self, path: Path) -> Verdict:
        assert self._program.stdin is not None and self._program.stdout is not None
        print(path, file=self._program.stdin, flush=True)
        return Verdict(**json.loads(self._program.stdout.readline()))

    def close(self) -> None:
        self._program.communicate()


@contextmanager
def readers(count: int) -> Iterator[list[Reader]]:
    made = [Reader() for _ in range(count)]
    try:
        yield made
    finally:
        for reader in made:
            reader.close()


def outcome_of(path: str) -> tuple[str, str]:
    """What reading a file to its end comes to."""
    from affectrt.bundle.errors import AffectError
    from affectrt.runtime.sources import FileSource, VideoWish

    try:
        with FileSource(path, video=VideoWish(), audio_rate_hz=RATE_HZ) as source:
            for _ in source:
                pass
        return "read", "+".join(source.outcome.kinds)
    except AffectError as error:
        return "refused", type(error).__name__
    except BaseException as error:
        return "raised", f"{type(error).__name__}: {error}"


def _read_apart(path: str) -> dict[str, Any]:
    """In a forked child, killed after LIMIT_S."""
    began = time.monotonic()
    inward, outward = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(outward, json.dumps(outcome_of(path)).encode()[:4000])
        os._exit(0)
    os.close(outward)
    ready, _, _ = select.select([inward], [], [], LIMIT_S)
    answer = os.read(inward, 65536) if ready else b""
    os.close(inward)
    if not ready:
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    if not ready:
        end, detail = "hung", f"{LIMIT_S:g} s"
    elif os.WIFSIGNALED(status):
        end, detail = "crashed", signal.Signals(os.WTERMSIG(status)).name
    elif not answer:
        end, detail = "crashed", f"exit code {os.waitstatus_to_exitcode(status)}"
    else:
        end, detail = json.loads(answer)
    seconds = time.monotonic() - began
    return {"path": path, "end": end, "detail": detail, "seconds": seconds, "peak_mb": usage.ru_maxrss / 1024}


def serve(paths: Iterable[str]) -> None:
    from affectrt.runtime.sources.gst import gst

    gst()
    for line in paths:
        print(json.dumps(_read_apart(line.rstrip("\n"))), flush=True)


if __name__ == "__main__":
    serve(sys.stdin)
