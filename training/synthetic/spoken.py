"""A voice that says words: espeak-ng's speech, on which the arousal and valence that are shown are put as well.

What is shown, and by what:

    arousal   pitch and speaking rate of each clause; loudness and flatter spectral tilt all the time
    valence   pitch range of each clause; clear instead of breathy and a brighter "ring" near 2.8 kHz all the time
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from affectrt.runtime.words import Word

from .affect_path import RATE_HZ, slow_noise
from .identity import VoiceIdentity
from .sentences import Writer
from .speech import Speaker
from .voice import (
    BREATH_DB,
    FRAME,
    FRAME_HOP,
    LOUDNESS_DB,
    NEUTRAL_BREATH_DB,
    PITCH_OCTAVES,
    RING_DB,
    SAMPLE_RATE_HZ,
    SHOWN_LIMIT,
    SPEECH_RMS,
    SYLLABLE_RATE,
    TILT_DB_PER_OCTAVE,
    filtered,
)

__all__ = ["SpokenVoice", "speak"]

Floats = npt.NDArray[np.float64]

# espeak-ng's American English in the shapes of other throats, low ones and high ones.
LOW_VOICES, HIGH_VOICES = ("en-us", "en-us+m3", "en-us+m7"), ("en-us+f2", "en-us+f4", "en-us+f1")
HIGH_FROM_HZ = 155.0
WORDS_A_MINUTE = 190.0  # of someone whose syllables last 0.2 s
PITCH_POINTS = 50.0  # of espeak-ng's scale make an octave
PITCH_RANGE_POINTS = 20.0  # per unit of valence
COMMA_S, FULL_STOP_S = (0.04, 0.12), (0.12, 0.3)
LONG_PAUSE_S, LONG_PAUSES = (0.5, 0.8), 0.12  # a pause and the share of sentences that it follows
MOUTH_S = 0.05


@dataclass(frozen=True, eq=False)
class SpokenVoice:
    """`samples` and `mouth` as of `Voice`; `words` with punctuation; `espeak`: the version that said them."""

    samples: npt.NDArray[np.float32]
    mouth: Floats
    words: tuple[Word, ...]
    espeak: str


@dataclass(frozen=True, eq=False)
class _Talk:
    samples: Floats  # at espeak-ng's own rate
    words: tuple[Word, ...]
    espeak: str
    rate_hz: int


def speak(identity: VoiceIdentity, voice: Floats, words: Floats, rng: np.random.Generator) -> SpokenVoice:
    """`voice` and `words`: (steps, 2) valence and arousal that the sound and the text show, at 25 Hz.

    Raises MissingDependency where espeak-ng is not installed.
    """
    steps = len(voice)
    at_steps = np.arange(steps) / RATE_HZ
    shown = np.clip(voice, -SHOWN_LIMIT, SHOWN_LIMIT)
    talk = _talk(identity, shown, words, rng)
    n = round(steps / RATE_HZ * SAMPLE_RATE_HZ)
    speech = _resampled(talk.samples, n)
    speech *= SPEECH_RMS / max(float(np.sqrt(np.mean(speech**2))), 1e-6)
    envelope = _envelope(speech)

    at_samples = np.arange(n) / SAMPLE_RATE_HZ
    valence, arousal = (np.interp(at_samples, at_steps, shown[:, axis]) for axis in range(2))
    breath = 10 ** ((NEUTRAL_BREATH_DB + identity.breath_level_db - BREATH_DB * valence) / 20)
    source = speech + envelope * np.minimum(breath, 0.9) * rng.standard_normal(n)
    source *= 10 ** (LOUDNESS_DB * arousal / 20)

    frames = np.arange(n // FRAME_HOP + 1) * FRAME_HOP / SAMPLE_RATE_HZ
    frame_valence, frame_arousal = (np.interp(frames, at_steps, shown[:, axis]) for axis in range(2))
    mixed = filtered(
        source,
        _response(identity.tilt_db_per_octave + TILT_DB_PER_OCTAVE * frame_arousal, RING_DB * frame_valence),
    )
    room = slow_noise(rng, n, 0.0006, SAMPLE_RATE_HZ) + 0.3 * rng.standard_normal(n)
    mixed = 10 ** (identity.microphone_gain_db / 20) * mixed + 10 ** (identity.background_level_db / 20) * room
    mouth = np.clip(np.interp(at_steps, at_samples, envelope) / (2 * SPEECH_RMS), 0, 1)
    return SpokenVoice(np.tanh(mixed).astype(np.float32), mouth, talk.words, talk.espeak)


def _talk(identity: VoiceIdentity, voice: Floats, text: Floats, rng: np.random.Generator) -> _Talk:
    """Clause after clause until the clip ends; one that would reach over its end is left out."""
    seconds = len(voice) / RATE_HZ

    def text_at(at_s: float) -> tuple[float, float]:
        valence, arousal = text[min(int(at_s * RATE_HZ), len(text) - 1)]
        return float(valence), float(arousal)

    writer = Writer(rng, text_at)
    high = identity.base_f0_hz > HIGH_FROM_HZ
    name = str(rng.choice(HIGH_VOICES if high else LOW_VOICES))
    # The throats bring most of the difference in pitch.
    own_pitch = 0.5 * np.log2(identity.base_f0_hz / HIGH_FROM_HZ) * PITCH_POINTS + (-8 if high else 8)
    words: list[Word] = []
    with Speaker(name) as speaker:
        samples = np.zeros(round(seconds * speaker.rate_hz))
        at = round(rng.uniform(0.05, 0.3) * speaker.rate_hz)
        while True:
            begin_s = at / speaker.rate_hz
            clause, ends = writer.clause(begin_s)
            first = min(int(begin_s * RATE_HZ), len(voice) - 1)
            valence, arousal = voice[first : first + round(0.35 * len(clause) * RATE_HZ)].mean(axis=0)
            said = speaker.say(
                [word.strip(".,!") for word in clause],
                rate=round(WORDS_A_MINUTE * 0.2 / identity.syllable_s * (1 + SYLLABLE_RATE * arousal)),
                pitch=round(np.clip(50 + own_pitch + PITCH_POINTS * PITCH_OCTAVES * arousal, 0, 99)),
                pitch_range=round(np.clip(50 + PITCH_RANGE_POINTS * valence, 0, 99)),
            )
            if at + said.samples.size > samples.size:
                break
            samples[at : at + said.samples.size] = said.samples
            bounds = [*said.starts, said.samples.size]
            words += [
                Word(word, round((at + start) / speaker.rate_hz, 4), round((at + end) / speaker.rate_hz, 4))
                for word, start, end in zip(clause, bounds, bounds[1:], strict=False)
            ]
            pause = FULL_STOP_S if ends else COMMA_S
            if ends and rng.random() < LONG_PAUSES:
                pause = LONG_PAUSE_S
            at += said.samples.size + round(rng.uniform(*pause) * speaker.rate_hz)
    return _Talk(samples, tuple(words), speaker.version, speaker.rate_hz)


def _resampled(samples: Floats, n: int) -> Floats:
    """The same stretch of time in `n` samples; it begins and ends in silence, so that the circle does not matter."""
    spectrum = np.fft.rfft(samples)
    return np.fft.irfft(spectrum[: n // 2 + 1], n) * (n / samples.size)


def _envelope(speech: Floats) -> Floats:
    """Root mean square over `MOUTH_S`, one value a sample."""
    width = round(MOUTH_S * SAMPLE_RATE_HZ)
    sums = np.cumsum(np.pad(speech**2, (width - width // 2, width // 2)))
    envelope: Floats = np.sqrt(np.maximum(sums[width:] - sums[:-width], 0) / width)
    return envelope


def _response(tilt: Floats, ring_db: Floats) -> Floats:
    """Magnitude (frames, bins), 1 at 500 Hz."""
    hz = np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE_HZ)[None, :]
    octaves = np.log2(np.maximum(hz, 60.0) / 500.0)
    ring = ring_db[:, None] * np.exp(-(((hz - 2800.0) / 700.0) ** 2))
    response: Floats = 10 ** ((tilt[:, None] * octaves + ring) / 20)
    return response
