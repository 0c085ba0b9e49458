"""Words → speech by espeak-ng, with the time of every word."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import MissingDependency

from . import espeak

__all__ = ["Said", "Speaker"]


@dataclass(frozen=True, eq=False)
class Said:
    """`samples`: float64 in [-1, 1]. `starts`: first sample of each word; one ends where the next begins."""

    samples: npt.NDArray[np.float64]
    starts: tuple[int, ...]


class Speaker:
    """One voice of espeak-ng. Use in a `with` block; the same words in the same order give the same samples.

    Raises MissingDependency on entering where espeak-ng is not installed.
    """

    def __init__(self, voice: str) -> None:
        self._voice = voice

    def __enter__(self) -> Speaker:
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(Path(espeak.__file__)), self._voice],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        about = self._answer()
        self.version: str = about["version"]
        self.rate_hz: int = about["rate_hz"]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def say(self, words: Sequence[str], *, rate: int, pitch: int, pitch_range: int) -> Said:
        """The words without a pause between or after them. `rate` in words a minute; the others 0 ... 99, 50 usual."""
        assert self._process.stdin is not None and self._process.stdout is not None
        asked = {"text": " ".join(words), "rate": rate, "pitch": pitch, "pitch_range": pitch_range}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        told = self._answer()
        samples = np.frombuffer(self._process.stdout.read(told["bytes"]), "<i2").astype(np.float64) / 32768
        return Said(samples, _starts(words, dict(told["words"]), samples.size))

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or b'{"failed": "espeak-ng crashed"}')
        if "failed" in answer:
            self._process.communicate()
            raise MissingDependency(
                f"no speech can be made: {answer['failed']}",
                expected="espeak-ng with its data and its library",
                fix="sudo apt-get install espeak-ng",
            )
        return answer


def _starts(words: Sequence[str], told: dict[int, int], end: int) -> tuple[int, ...]:
    """First samples. Words that espeak-ng says as one, such as `in the`, share its time by their letters."""
    characters = np.cumsum([0, *(len(word) + 1 for word in words)])
    known = {0: 0, **{at: sample for at, sample in told.items() if at in characters}, int(characters[-1]): end}
    places = sorted(known)
    starts = np.interp(characters[:-1], places, [known[place] for place in places])
    return tuple(int(start) for start in np.maximum.accumulate(starts))
