"""A sheet of crops with their annotation, for a look by eye: it shows faces, so it is made only when asked for."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import UsageError

from ..prepared import PreparedCorpus, PreparedVideo

__all__ = ["write_sheet"]

_PX = 112
_TEXT_PX = 34
MAX_VIDEOS = 200
_INK = (40, 40, 40)


def write_sheet(corpus: PreparedCorpus, path: Path, *, per_video: int = 8) -> Path:
    """A row of crops for each video (of the first 200), evenly over the steps that show the face.

    Below each: its step, then valence and arousal (`- -` where not annotated). Raises `UsageError` if nobody is seen.
    """
    rows = [_row(video, per_video) for video in corpus.all_videos[:MAX_VIDEOS] if video.record.seen]
    if not rows:
        raise UsageError(f"--sheet: no step of {corpus.root} shows a face", fix="leave --sheet out")
    ok, content = cv2.imencode(".png", cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))
    assert ok
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_bytes(content.tobytes())
    unfinished.replace(path)
    return path


def _row(video: PreparedVideo, count: int) -> npt.NDArray[np.uint8]:
    spans, truth = video.spans(), video.truth()
    newest = spans.crops_of_step[:, -1]
    seen = np.flatnonzero(newest >= 0)
    steps = seen[np.unique(np.linspace(0, len(seen) - 1, count).round().astype(int))]
    row = np.full((_PX + _TEXT_PX + 18, count * _PX, 3), 245, np.uint8)
    _write(row, f"{video.name}  {video.split}", 2, 13)
    for column, step in enumerate(steps.tolist()):
        crop = np.asarray(spans.crops[newest[step]])
        how = cv2.INTER_AREA if crop.shape[0] > _PX else cv2.INTER_NEAREST
        x = column * _PX
        row[18 : 18 + _PX, x : x + _PX] = cv2.resize(crop, (_PX, _PX), interpolation=how)
        valence, arousal = truth[step].tolist()
        told = "- -" if np.isnan(valence) else f"V {valence:+.2f} A {arousal:+.2f}"
        _write(row, f"step {step}", x + 2, 18 + _PX + 13)
        _write(row, told, x + 2, 18 + _PX + 28)
    return row


def _write(row: npt.NDArray[np.uint8], text: str, x: int, y: int) -> None:
    # OpenCV's own letters are ASCII.
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(row, plain, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.38, _INK, 1, cv2.LINE_AA)
