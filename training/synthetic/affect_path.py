"""Where a clip goes in the valence-arousal plane, and how much of it face, voice and words each show.

The truth is a smooth random path. The face shows the truth plus a slow error, the voice the truth plus another one, and
so do the words of a spoken clip; each error is as slow as the truth itself, so that smoothing over time cannot remove
it: only the other modalities can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..metrics import ccc

__all__ = ["RATE_HZ", "AffectPath", "ideal_ccc", "make_path", "slow_noise"]

Floats = npt.NDArray[np.float64]

RATE_HZ = 25.0

# The truth: tanh(gain · z) of a unit-variance Gaussian mixture z; gain 0.57 gives a standard deviation of 0.45.
# A `slow_noise` of time constant T has lost half its correlation after 1.68 T: the mixture varies over 0.8 ... 6 s.
TRUTH_GAIN = 0.57
TRUTH_TIMESCALES_S = (0.5, 1.3, 3.6)
TRUTH_WEIGHTS = (0.2, 0.4, 0.4)  # shares of the variance
TRUTH_OFFSET = 0.35  # standard deviation, in z, of a clip's own mean

# Over a path of at least BALANCED_S the errors are exactly uncorrelated with the truth, of zero mean and of their
# stated size, so that a corpus of a dozen clips already has the ceilings stated here and not some lucky other ones.
BALANCED_S = 24.0

# The errors, as standard deviations (valence, arousal); half-correlation 1.5 ... 4 s; the bias is constant per
# identity. With k = error variance / truth variance the best linear reading has CCC 2 / (2 + k): 0.80 for k = 0.5,
# 0.65 for k = 1.08, 0.60 for k = 1.33. Face and voice errors correlate by REGULATION (what the face overstates,
# the voice rather understates); at 0 the best fusion of 0.80 and 0.60 would end at 0.85, at -0.32 it reaches 0.88.
FACE_ERROR = (0.30, 0.475)
VOICE_ERROR = (0.51, 0.30)
ERROR_TIMESCALE_S = (0.9, 2.4)
BIAS = 0.10
REGULATION = -0.32
# What is said is chosen, so it errs less, and of valence least; uncorrelated with the other two.
WORDS_ERROR = (0.20, 0.36)

CONTEXT_STRIDE_S = 0.4  # the ideal reading looks at instants so far apart


def slow_noise(rng: np.random.Generator, n: int, timescale_s: float, rate_hz: float = RATE_HZ) -> Floats:
    """`n` samples of a stationary, once differentiable Gaussian process of unit variance and zero mean.

    Two Ornstein-Uhlenbeck filters in a row (autocorrelation (1 + t/T)·exp(-t/T)), applied in the Fourier domain to a
    stretch of white noise long enough that the circular end does not reach the part returned.
    """
    padded = n + int(np.ceil(12 * timescale_s * rate_hz))
    spectrum = np.fft.rfft(rng.standard_normal(padded))
    omega = 2 * np.pi * np.fft.rfftfreq(padded, 1 / rate_hz)
    shape = 1 / (1 + (omega * timescale_s) ** 2)
    mirror = np.full(shape.size, 2.0)
    mirror[0] = 1.0
    if padded % 2 == 0:
        mirror[-1] = 1.0
    shape /= np.sqrt(np.sum(mirror * shape**2) / padded)
    return np.fft.irfft(spectrum * shape, padded)[:n]


@dataclass(frozen=True, eq=False)
class AffectPath:
    """Column 0 is valence, column 1 arousal; one row per step at `RATE_HZ`.

    `truth` lies in [-1, 1]. `face`, `voice` and, of a spoken clip, `words` are what each modality shows: truth plus
    error, not clipped.
    """

    truth: Floats
    face: Floats
    voice: Floats
    words: Floats | None = None

    @property
    def steps(self) -> int:
        return len(self.truth)


def _truth(rng: np.random.Generator, steps: int) -> Floats:
    parts = zip(TRUTH_TIMESCALES_S, TRUTH_WEIGHTS, strict=True)
    z = np.zeros(steps)
    for scale, weight in parts:
        z += np.sqrt(weight) * slow_noise(rng, steps, scale)
    z = np.sqrt(1 - TRUTH_OFFSET**2) * (z - z.mean()) / z.std() + TRUTH_OFFSET * rng.standard_normal()
    truth: Floats = np.tanh(TRUTH_GAIN * z)
    return truth


def _balance(errors: Sequence[Floats], against: Sequence[Floats]) -> list[Floats]:
    """The errors made uncorrelated with `against` and with each other, zero mean, unit variance."""
    known = [np.ones_like(errors[0])]
    balanced = []
    for column in (*against, *errors):
        rest = column.copy()
        for other in known:
            rest -= other * (rest @ other) / (other @ other)
        known.append(rest)
        balanced.append(rest / rest.std())
    return balanced[len(against) :]


def make_path(rng: np.random.Generator, steps: int, words_rng: np.random.Generator | None = None) -> AffectPath:
    """A path of `steps`; one shorter than `BALANCED_S` is the beginning of one that long.

    `words_rng` gives it words; everything else stays as it is without.
    """
    wanted, steps = steps, max(steps, round(BALANCED_S * RATE_HZ))
    truth = np.stack([_truth(rng, steps) for _ in range(2)], axis=1)
    face, voice = truth.copy(), truth.copy()
    for axis in range(2):
        drawn = [slow_noise(rng, steps, rng.uniform(*ERROR_TIMESCALE_S)) for _ in range(2)]
        own, other = _balance(drawn, [truth[:, 0], truth[:, 1]])
        opposed = REGULATION * own + np.sqrt(1 - REGULATION**2) * other
        face[:, axis] += FACE_ERROR[axis] * own + BIAS * rng.standard_normal()
        voice[:, axis] += VOICE_ERROR[axis] * opposed + BIAS * rng.standard_normal()
    words = None if words_rng is None else _words(words_rng, truth, face, voice)[:wanted]
    return AffectPath(truth[:wanted], face[:wanted], voice[:wanted], words)


def _words(rng: np.random.Generator, truth: Floats, face: Floats, voice: Floats) -> Floats:
    words: Floats = truth.copy()
    for axis in range(2):
        drawn = slow_noise(rng, len(truth), rng.uniform(*ERROR_TIMESCALE_S))
        (own,) = _balance([drawn], [*truth.T, face[:, axis], voice[:, axis]])
        words[:, axis] += WORDS_ERROR[axis] * own + BIAS * rng.standard_normal()
    return words


Shown = Literal["face", "voice", "both", "words", "all"]


def _features(path: AffectPath, shown: Shown, context_s: float) -> Floats:
    signals: dict[Shown, list[Floats | None]] = {
        "face": [path.face],
        "voice": [path.voice],
        "both": [path.face, path.voice],
        "words": [path.words],
        "all": [path.face, path.voice, path.words],
    }
    signal = np.hstack([s for s in signals[shown] if s is not None])
    stride = round(CONTEXT_STRIDE_S * RATE_HZ)
    reach = round(context_s * RATE_HZ) // stride
    lags = [lag * stride for lag in range(-reach, reach + 1)]
    index = np.arange(path.steps)
    columns = [signal[np.clip(index + lag, 0, path.steps - 1)] for lag in lags]
    return np.hstack([*columns, np.ones((path.steps, 1))])


def ideal_ccc(
    fit: Sequence[AffectPath], held_out: Sequence[AffectPath], *, context_s: float = 0.0
) -> dict[Shown, tuple[float, float]]:
    """CCC (valence, arousal) of the best linear reading of the shown signals: a ceiling for any decoder of that form.

    `words` and `all`, face and voice and words, are among them where the paths have words.

    Least squares on `fit`, scored on the concatenation of `held_out`; `context_s` lets the reading see that far into
    past and future as well.
    """
    ceilings: dict[Shown, tuple[float, float]] = {}
    truth = np.vstack([path.truth for path in fit])
    target = np.vstack([path.truth for path in held_out])
    modalities: list[Shown] = ["face", "voice", "both"]
    if all(path.words is not None for path in (*fit, *held_out)):
        modalities += ["words", "all"]
    for shown in modalities:
        rows = np.vstack([_features(path, shown, context_s) for path in fit])
        weights = np.linalg.lstsq(rows, truth, rcond=None)[0]
        read = np.vstack([_features(path, shown, context_s) for path in held_out]) @ weights
        ceilings[shown] = (ccc(read[:, 0], target[:, 0]), ccc(read[:, 1], target[:, 1]))
    return ceilings
