"""From what a person types to a source."""

from __future__ import annotations

import math
import os

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import UsageError

from .base import LiveSource, Source, VideoWish
from .file import FileSource
from .live import GstLiveSource
from .reconnect import Reconnect
from .uri import parse_source

__all__ = ["open_source", "wishes"]

# Of a camera a little more than a frame a step is taken, so that each step finds one near its time.
_FRAMES_A_STEP = 1.2
_CLOCK_HZ = 16_000


def open_source(
    text: str | os.PathLike[str],
    contract: Contract,
    *,
    realtime: bool = False,
    reconnect: Reconnect | None = None,
    words_rate_hz: int | None = None,
) -> Source | LiveSource:
    """A source, not yet entered, that gives what the contract takes. UsageError for what is not accepted.

    `uri.py` lists what is. A file is read as fast as it is asked and loses nothing; with `realtime` it is played
    like a camera, and what is not read in time is dropped. `words_rate_hz`: see `wishes`.
    """
    sources = parse_source(text)
    video, rate_hz = wishes(contract, words_rate_hz)
    if sources[0].kind == "file" and not realtime:
        return FileSource(sources[0].location, video=video, audio_rate_hz=rate_hz)
    return GstLiveSource(sources, video=video, audio_rate_hz=rate_hz, reconnect=reconnect)


def wishes(contract: Contract, words_rate_hz: int | None = None) -> tuple[VideoWish | None, int | None]:
    """How frames shall look and at which rate samples shall come.

    `words_rate_hz` is what a recogniser wants to hear, whether or not the model hears too. A model of text alone gets
    sound in any case: it is its clock. UsageError where model and recogniser want different rates.
    """
    rate_hz = contract.audio.sample_rate_hz if contract.audio is not None else None
    if rate_hz is not None and words_rate_hz is not None and rate_hz != words_rate_hz:
        raise UsageError(
            f"this model hears sound at {rate_hz} Hz, the recogniser at {words_rate_hz} Hz",
            expected="one rate for both",
            fix="give it a transcript, --words FILE, or --words none",
        )
    rate_hz = rate_hz or words_rate_hz
    if contract.video is None:
        return None, rate_hz or _CLOCK_HZ
    return VideoWish(max_rate_hz=math.ceil(_FRAMES_A_STEP * contract.step_hz)), rate_hz
