"""The seam where recognition begins: sound in, words on media time out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .word import WordsChunk

__all__ = ["Transcriber"]


class Transcriber(Protocol):
    """Recognises the speech of one stream. Used from one thread; times are those of the sound that it was given.

    Recognisers that cost time are put into a thread of their own by the source that uses them, never by themselves.
    """

    @property
    def name(self) -> str:
        """What a header and a summary call it, such as `pocketsphinx` or `clip.vtt`."""
        ...

    @property
    def sample_rate_hz(self) -> int | None:
        """The rate of the sound it wants; None when it needs none, as of a transcript that is known already."""
        ...

    def hear(self, samples: npt.NDArray[np.float32], pts_s: float) -> Sequence[WordsChunk]:
        """What is new after this sound (mono, in [-1, 1], first sample at media time `pts_s`, in order)."""
        ...

    def lose(self) -> Sequence[WordsChunk]:
        """Sound was lost here: what was said before is final, and what comes next is not its continuation."""
        ...

    def end(self) -> Sequence[WordsChunk]:
        """There is no more sound; the last of these chunks is final to infinity."""
        ...

    def close(self) -> None: ...
