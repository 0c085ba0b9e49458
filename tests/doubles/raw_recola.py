"""A small RECOLA that tells its own annotation, in each of the three ways in which it is found on disk.

People annotate late: row i of the gold standard is of what was seen and heard 58 (valence) or 68 (arousal) rows before,
and now and then one row is an outlier that the median filter takes away. For the filter to leave the others alone,
values stand still for five rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from doubles.legible import Told, picture, tone, truth
from doubles.media import write_media

from affectrt.training.synthetic.encode import write_clip

__all__ = ["DELAYS", "FPS", "WINDOW", "write_recola"]

FPS, WINDOW = 25, 128
DELAYS = (58, 68)
HOLD = 5
OUTLIERS = (80, 120)  # rows of the file; each in the middle of a run of both dimensions
Layout = Literal["avec", "own", "authors"]
SUBJECTS: dict[Layout, tuple[str, ...]] = {
    "avec": ("train_1", "dev_2"),
    "own": ("P16", "P19", "P13"),
    "authors": ("train_1", "train_2", "dev_1"),
}


def write_recola(root: Path, layout: Layout, *, rows: int = 300, subjects: Sequence[str] = ()) -> dict[str, Told]:
    """Subject → what it should tell. `rows`: of each gold standard, one every 40 ms, as many as pictures.

    `avec`: mp4 and wav, .arff. `own`: mp4 with its sound, CSV of time and value. `authors`: pictures as files with some
    missing, windows of sound, CSV of numbers with the gold standard first.
    """
    told = {}
    for number, subject in enumerate(subjects or SUBJECTS[layout]):
        drawn = held(rows, number + 1)
        times = np.arange(rows) / FPS
        unseen: tuple[int, ...] = (30, 31, 140) if layout == "authors" else ()
        {"avec": _avec, "own": _own, "authors": _authors}[layout](root, subject, drawn, unseen)
        values = drawn.copy()
        for column, delay in enumerate(DELAYS):
            values[rows - delay :, column] = np.nan
        told[subject] = Told(times, drawn, values, unseen)
    return told


def held(rows: int, seed: int) -> np.ndarray:
    """(rows, 2): both dimensions stand still for five rows, so that a median of three changes nothing."""
    return np.round(np.repeat(truth(-(-rows // HOLD), seed), HOLD, axis=0)[:rows], 4)


def annotated_late(drawn: np.ndarray, column: int) -> np.ndarray:
    """(rows,) of the file: the delay first, for which the annotation rests at 0, and outliers."""
    late = np.concatenate([np.zeros(DELAYS[column]), drawn[:, column]])[: len(drawn)]
    for row in OUTLIERS:
        if row < len(late):
            late[row] = -late[row] / 2
    return late


def _columns(drawn: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [(name, annotated_late(drawn, column)) for column, name in enumerate(("valence", "arousal"))]


def _text(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def _pictures(drawn: np.ndarray) -> np.ndarray:
    return np.stack([picture(float(value), 96, 96) for value in drawn[:, 0]])


def _sound(drawn: np.ndarray) -> np.ndarray:
    return tone(np.arange(len(drawn)) / FPS, drawn[:, 1], len(drawn) / FPS)


def _avec(root: Path, subject: str, drawn: np.ndarray, unseen: tuple[int, ...]) -> None:
    for folder in ("recordings_video", "recordings_audio"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    write_media(root / f"recordings_video/{subject}.mp4", frames=_pictures(drawn))
    write_clip(root / f"recordings_audio/{subject}.wav", None, samples=_sound(drawn))
    head = ["@relation gold", "@attribute name string", "@attribute frametime numeric", "@attribute gold numeric", ""]
    for name, late in _columns(drawn):
        rows = [f"'{subject}',{at / FPS:.2f},{value:.4f}" for at, value in enumerate(late)]
        _text(root / f"ratings_gold_standard/{name}/{subject}.arff", [*head, "@data", *rows])


def _own(root: Path, subject: str, drawn: np.ndarray, unseen: tuple[int, ...]) -> None:
    for folder in ("Video_recordings_MP4", "Audio_recordings_WAV"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    write_media(root / f"Video_recordings_MP4/{subject}.mp4", frames=_pictures(drawn))
    write_clip(root / f"Audio_recordings_WAV/{subject}.wav", None, samples=_sound(drawn))
    if subject == "P13":
        return  # of the test partition nobody has the gold standard
    for name, late in _columns(drawn):
        rows = [f"{at / FPS:.2f};{value:.4f}" for at, value in enumerate(late)]
        _text(root / f"Ratings_affective_behaviour_CCC_centred/{name}/{subject}.csv", ["time;GS", *rows])


def _authors(root: Path, subject: str, drawn: np.ndarray, unseen: tuple[int, ...]) -> None:
    part = subject.partition("_")[0]
    pictures = root / "faces" / part / subject
    pictures.mkdir(parents=True)
    lines = []
    for row, (valence, _) in enumerate(drawn):
        if row not in unseen:
            cv2.imwrite(str(pictures / f"frame{row + 1}.jpg"), picture(float(valence))[..., ::-1])
            lines.append(f"faces/{part}/{subject}/frame{row + 1}.jpg 0")
    with (root / f"{part}.txt").open("a") as file:
        file.write("\n".join(lines) + "\n")
    sound, window = _sound(drawn), round(WINDOW / FPS * 16_000)
    folder = root / f"audio_shift_1_window_{WINDOW}" / part / subject
    folder.mkdir(parents=True)
    count = len(drawn) - WINDOW + 1
    for k in {1, 2, count, *range(1, count + 1, WINDOW)}:  # the others are never read
        begin = round((k - 1) * 16_000 / FPS)
        write_clip(folder / f"{k}.wav", None, samples=sound[begin : begin + window])
    for name, late in _columns(drawn):
        rows = [f"{value:.4f},{value / 2:.4f}" for value in late]  # another column, which is not the gold standard
        _text(root / f"ratings_gold_standard/{name}/{subject}.csv", rows)
