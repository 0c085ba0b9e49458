"""Where windows begin: RCMA's series with a last window at the end, CAV's clips as its authors count them and whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

__all__ = ["CAV_FRAMES", "ClipWindow", "Window", "Windows", "author_clip_windows", "clip_windows", "series_windows"]

CAV_FRAMES = 128  # 8 clips of 16 frames


def series_windows(rows: int, window: int = 300, hop: int = 200) -> list[int]:
    """First rows of RCMA's windows (C2 base/dataset.py:123-140), [] of no rows.

    ⌊(rows − window) / hop⌋ + 1 windows, and one that ends at the last row where those do not reach it: 700 rows begin
    at 0, 200, 400; 650 at 0, 200, 350. Fewer rows than a window holds are one window, whose end is padded.
    """
    if rows <= 0:
        return []
    if rows <= window:
        return [0]
    starts = list(range(0, rows - window + 1, hop))
    if starts[-1] + window < rows:
        starts.append(rows - window)
    return starts


@dataclass(frozen=True)
class ClipWindow:
    """First frame, first frame of the sound, first label of one CAV window, all counted from 0."""

    video: int
    audio: int
    label: int


def clip_windows(labels: int, window: int = CAV_FRAMES, hop: int = 1) -> list[ClipWindow]:
    """Every window of `labels` labels, aligned; 7 443 labels, a RECOLA recording of 5 minutes less the valence's
    annotation delay of 58, give 7 316."""
    return [ClipWindow(start, start, start) for start in range(0, labels - window + 1, hop)]


def author_clip_windows(
    labels: int, window: int = CAV_FRAMES, hop: int = 1, *, first_number: int = 1
) -> list[ClipWindow]:
    """The windows that survive the CAV authors' enumeration (C1 audiovisualdataset_new.py:109-137).

    Their frame *numbers* s … s + 127 are paired with the sound from frame s + 1 and the labels s … s + 127, s counted
    from 1. Where pictures are numbered from 1, as on disk, the frame of number s lies at s − 1: the picture lags one
    frame behind sound and labels, and one window of all is lost: 7 315 a subject. Where they are numbered from 0, the
    slice of every window but the first is one frame short, so that one window is left.
    """
    if labels < window:
        return []
    if first_number == 0:
        return [ClipWindow(0, 0, 0)]
    return [ClipWindow(start - 1, start, start) for start in range(1, labels - window + 1, hop)]


@dataclass(frozen=True)
class Window:
    """`start` and `rows` of the labels it is read as; `video_start`, `audio_start` of what it shows, same count."""

    video: int
    start: int
    rows: int
    video_start: int
    audio_start: int


class Windows(Sequence[Window]):
    """Windows by their number. Each takes 20 bytes, since CAV has one for every frame of a corpus."""

    def __init__(self, parts: Sequence[npt.NDArray[np.int32]]) -> None:
        """`parts`: (windows, 5) each, the columns as the fields of `Window`."""
        self._rows = np.concatenate([np.zeros((0, 5), np.int32), *parts])

    def __len__(self) -> int:
        return len(self._rows)

    def starts(self, video: int) -> npt.NDArray[np.int32]:
        """(windows,): `start` of those of one video."""
        found: npt.NDArray[np.int32] = self._rows[self._rows[:, 0] == video, 1]
        return found

    @overload
    def __getitem__(self, index: int) -> Window: ...

    @overload
    def __getitem__(self, index: slice) -> Windows: ...

    def __getitem__(self, index: int | slice) -> Window | Windows:
        if isinstance(index, slice):
            return Windows([self._rows[index]])
        return Window(*self._rows[index].tolist())
