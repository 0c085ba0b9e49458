"""Recordings that tell their own annotation: a level in the picture is valence, a tone's pitch is arousal.

Of every picture the upper half has the grey 128 + 110 · valence and the lower half is black, so that a picture on its
side cannot be read. While a picture is shown, a tone of 2000 + 1500 · arousal Hz is heard. A number word, `zero` …
`nine`, is said while arousal stays in one of ten bins. Values leap from row to row, those of rows near each other most:
what is read belongs to one row in its neighbourhood, and to no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from affectrt.runtime.words.word import Word
from affectrt.training.prepared import PreparedVideo

__all__ = [
    "NUMBERS",
    "RATE_HZ",
    "Told",
    "disagreeing",
    "level_of",
    "levels",
    "picture",
    "pitch_of",
    "pitches",
    "tone",
    "truth",
    "unsaid",
    "words_of",
]

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GREY, CONTRAST = 128, 110
MIDDLE_HZ, HALF_RANGE_HZ = 2000.0, 1500.0
RATE_HZ = 16_000
TOLERANCE = 0.06
_GOLDEN = 0.6180339887498949

Values = npt.NDArray[np.float64]


def truth(rows: int, seed: int, hold: int = 1) -> Values:
    """(rows, 2) in [-0.9, 0.9]; valence leaps with every row, arousal with every `hold` rows."""
    index = np.arange(rows)
    valence = (seed * 0.137 + index * _GOLDEN) % 1
    arousal = (seed * 0.291 + 0.5 + index // hold * _GOLDEN) % 1
    return np.stack([valence, arousal], axis=1) * 1.8 - 0.9


def picture(valence: float, height: int = 112, width: int = 112) -> npt.NDArray[np.uint8]:
    """RGB."""
    drawn = np.zeros((height, width, 3), np.uint8)
    drawn[: height // 2] = round(GREY + CONTRAST * valence)
    return drawn


def level_of(crop: npt.NDArray[np.generic]) -> float:
    """The valence that a picture shows; NaN for one that is not upright."""
    shown = np.asarray(crop, np.float64)
    height = len(shown)
    upper, lower = shown[height // 8 : 3 * height // 8], shown[5 * height // 8 : 7 * height // 8]
    if lower.max() > 60 or upper.std() > 8:
        return float("nan")
    return float((upper.mean() - GREY) / CONTRAST)


def levels(video: PreparedVideo) -> Values:
    """(steps,) valence as it is seen at every step; NaN where no face is."""
    spans = video.spans()
    rows = spans.crops_of_step[:, -1]
    return np.array([level_of(spans.crops[row]) if row >= 0 else np.nan for row in rows])


def tone(times_s: Sequence[float] | Values, arousal: Values, end_s: float, rate_hz: int = RATE_HZ) -> Values:
    """float32 samples from 0 to `end_s`; the pitch is of row i from its time on. The phase never leaps."""
    at = np.arange(round(end_s * rate_hz)) / rate_hz
    row = np.clip(np.searchsorted(np.asarray(times_s), at + 1e-9, side="right") - 1, 0, len(arousal) - 1)
    pitch = MIDDLE_HZ + HALF_RANGE_HZ * arousal[row]
    return (0.5 * np.sin(2 * np.pi * np.cumsum(pitch) / rate_hz)).astype(np.float32)


def pitch_of(samples: npt.NDArray[np.generic], rate_hz: int = RATE_HZ) -> float:
    """The arousal that is heard in the middle half of `samples`; NaN in silence."""
    quarter = len(samples) // 4
    piece = np.asarray(samples[quarter : len(samples) - quarter], np.float64)
    if len(piece) < 16 or np.abs(piece).max() < 0.05:
        return float("nan")
    size = 8192
    spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece)), size))
    return float((np.argmax(spectrum) * rate_hz / size - MIDDLE_HZ) / HALF_RANGE_HZ)


def pitches(video: PreparedVideo) -> Values:
    """(steps,) arousal as it is heard while the step lasts; NaN where there is no sound."""
    spans = video.spans()
    lasts = round(RATE_HZ / video.step_hz)
    return np.array(
        [pitch_of(spans.audio_span(k)[:lasts]) if spans.start_of_step[k] >= 0 else np.nan for k in range(video.steps)]
    )


def bin_of(arousal: float) -> int:
    return int((arousal + 1) * 5)


def words_of(times_s: Values, arousal: Values, end_s: float) -> list[Word]:
    """A number word for every run of rows of one arousal."""
    first = np.flatnonzero(np.diff(arousal, prepend=np.nan) != 0)
    ends = np.append(times_s[first[1:]], end_s)
    return [
        Word(NUMBERS[bin_of(arousal[row])], float(times_s[row]), float(end))
        for row, end in zip(first, ends, strict=True)
    ]


def near(at_s: float, times_s: Values, within_s: float) -> npt.NDArray[np.bool_]:
    """(rows,): the rows that are shown within `within_s` of a time; of 0, the one that is shown then."""
    until = np.append(times_s[1:], times_s[-1] + 0.1)
    return (times_s <= at_s + within_s + 1e-6) & (at_s < until + within_s - 1e-6)


def disagreeing(
    read: Values, at_s: Values, times_s: Values, rows: Values, within_s: float = 0.0, tolerance: float = TOLERANCE
) -> list[int]:
    """Indices of `read` whose value is of no row shown within `within_s` of its time; NaN is not looked at."""
    return [
        int(index)
        for index in np.flatnonzero(~np.isnan(read))
        if not (np.abs(rows[near(at_s[index], times_s, within_s)] - read[index]) <= tolerance).any()
    ]


def unsaid(words: Sequence[Word], at_s: Values, times_s: Values, arousal: Values, within_s: float) -> list[int]:
    """Indices of `at_s` where the word with start < t <= end is not the number of a row near by, or there is none."""
    wrong = []
    for index, at in enumerate(at_s):
        said = next((word.text for word in words if word.start_s < at <= word.end_s), None)
        if said not in {NUMBERS[bin_of(value)] for value in arousal[near(float(at), times_s, within_s)]}:
            wrong.append(index)
    return wrong


@dataclass(frozen=True, eq=False)
class Told:
    """What was drawn and played: row i of `values` (rows, 2), as it should be annotated (NaN: not), from `times_s[i]`.

    `drawn` (rows, 2) is what picture and sound tell, annotated or not; `unseen` are rows without a face.
    """

    times_s: Values
    drawn: Values
    values: Values
    unseen: tuple[int, ...] = ()
    sound: bool = True

    def problems(self, video: PreparedVideo, *, within_s: float) -> dict[str, list[int]]:
        """Modality → the steps at which it is of no row within `within_s`, sound and words of none within a step."""
        at, step_s = np.asarray(video.times_s()), 1 / video.step_hz
        labels = np.asarray(video.truth(), np.float64)
        drawn, values = self.drawn.T, self.values.T
        found = {
            "picture": disagreeing(levels(video), at, self.times_s, drawn[0], within_s),
            "sound": disagreeing(pitches(video), at, self.times_s, drawn[1], max(within_s, step_s)),
            "valence": disagreeing(labels[:, 0], at, self.times_s, values[0], within_s, 1e-3),
            "arousal": disagreeing(labels[:, 1], at, self.times_s, values[1], within_s, 1e-3),
        }
        if words := video.words():
            inside = at[(at > 0) & (at <= self.times_s[-1])]
            found["words"] = unsaid(words, inside, self.times_s, drawn[1], max(within_s, step_s))
        return {what: steps for what, steps in found.items() if steps}
