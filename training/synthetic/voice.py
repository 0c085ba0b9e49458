"""A synthetic voice: a source-filter model whose source and filter say what is shown.

A glottal pulse train and breath noise (the source) pass a vocal tract of four formants (the filter), frame by frame in
the Fourier domain. The talk is made of random syllables, so no language is spoken.

    arousal   pitch, loudness, flatter spectral tilt, faster syllables
    valence   shorter vocal tract (spread lips), clear instead of breathy, brighter "ring" near 2.8 kHz, vibrato,
              phrases that rise instead of fall
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .affect_path import RATE_HZ, slow_noise
from .identity import VoiceIdentity

__all__ = ["SAMPLE_RATE_HZ", "Voice", "synthesise_voice"]

Floats = npt.NDArray[np.float64]

SAMPLE_RATE_HZ = 16_000
CONTROL_HZ = 100  # rate of the slow quantities
FRAME, FRAME_HOP = 512, 128  # filter frames: 32 ms, every 8 ms; Hann² at a quarter hop sums to 3/2
SHOWN_LIMIT = 1.5

# Cues per unit of shown arousal.
PITCH_OCTAVES = 0.42
LOUDNESS_DB = 5.0
TILT_DB_PER_OCTAVE = 3.0
SYLLABLE_RATE = 0.22  # share

# Cues per unit of shown valence.
TRACT_SHORTENING = 0.09  # share by which all formants rise
BREATH_DB = 9.0  # breath noise falls by so much
RING_DB = 8.0
VIBRATO_OCTAVES = 0.030
INFLECTION_OCTAVES = 0.16  # from a phrase's beginning to its end

NEUTRAL_TILT_DB_PER_OCTAVE = -2.5
NEUTRAL_BREATH_DB = -20.0
NEUTRAL_VIBRATO_OCTAVES = 0.045
VIBRATO_HZ = 5.6
SPEECH_RMS = 0.07
HISS_LEVEL = 0.008

VOWELS_HZ = np.array(  # first two formants of an average adult: a, e, i, o, u, schwa
    [(760, 1250), (530, 1850), (310, 2250), (500, 950), (350, 900), (520, 1450)], dtype=float
)
UPPER_FORMANTS_HZ = (2600.0, 3550.0)
BANDWIDTHS_HZ = (80.0, 100.0, 150.0, 220.0)


@dataclass(frozen=True, eq=False)
class Voice:
    """`samples`: float32 mono at `SAMPLE_RATE_HZ`, within (-1, 1). `mouth`: (steps,) at 25 Hz, 0 closed ... 1 open."""

    samples: npt.NDArray[np.float32]
    mouth: Floats


@dataclass(frozen=True, eq=False)
class _Talk:
    """The plan of what is said, at `CONTROL_HZ`."""

    voiced: Floats  # 0 ... 1
    hiss: Floats  # consonants, 0 ... 1
    formants: Floats  # (n, 2) Hz
    phrase: Floats  # -0.5 at a phrase's beginning ... 0.5 at its end


def _smooth(x: Floats, seconds: float) -> Floats:
    n = max(1, round(seconds * CONTROL_HZ))
    window = np.hanning(n + 2)[1:-1]
    padded = np.pad(x, (n // 2, n - 1 - n // 2), mode="edge")
    return np.convolve(padded, window / window.sum(), mode="valid")


def _plan_talk(identity: VoiceIdentity, arousal: Floats, rng: np.random.Generator) -> _Talk:
    n = arousal.size
    time = np.arange(n) / CONTROL_HZ
    voiced, hiss, phrase = np.zeros(n), np.zeros(n), np.zeros(n)
    target = np.tile(VOWELS_HZ[-1], (n, 1))
    at = rng.uniform(0.0, 0.25)
    while at < time[-1]:
        begin = at
        for _ in range(int(rng.integers(4, 11))):
            a = arousal[min(n - 1, int(at * CONTROL_HZ))]
            length = identity.syllable_s / (1 + SYLLABLE_RATE * a) * rng.uniform(0.75, 1.35)
            here = (time >= at) & (time < at + length)
            u = (time[here] - at) / length
            voiced[here] = rng.uniform(0.75, 1.0) * (0.35 + 0.65 * np.sin(np.pi * np.clip(u * 1.1 - 0.05, 0, 1)) ** 0.7)
            if rng.random() < 0.45:
                hiss[here] = rng.uniform(0.3, 1.0) * np.clip(1 - u / 0.3, 0, 1)
                voiced[here] *= np.clip(u / 0.25, 0.15, 1)
            target[here] = VOWELS_HZ[int(rng.integers(len(VOWELS_HZ)))]
            at += length
        said = (time >= begin) & (time < at)
        phrase[said] = (time[said] - begin) / (at - begin) - 0.5
        at += rng.uniform(0.15, 0.6)
    formants = np.stack([_smooth(target[:, 0], 0.09), _smooth(target[:, 1], 0.09)], axis=1)
    return _Talk(_smooth(voiced, 0.04), _smooth(hiss, 0.02), formants, phrase)


def _glottis(phase: Floats) -> Floats:
    """Derivative of Rosenberg's flow pulse, one per cycle, open for 0.6 of it; unit root mean square over a cycle."""
    t = (phase % 1.0) / 0.6
    pulse = np.where(t < 1, 2 * t - 3 * t**2, 0.0)
    even: Floats = (pulse - pulse.mean()) / pulse.std()
    return even


def _tract(formants: Floats, scale: Floats, tilt: Floats, ring_db: Floats) -> Floats:
    """Magnitude response (frames, bins) of the vocal tract and the source's tilt, 1 near 500 Hz."""
    hz = np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE_HZ)[None, :]
    response = np.ones((formants.shape[0], hz.shape[1]))
    upper = np.tile(UPPER_FORMANTS_HZ, (formants.shape[0], 1))
    centres = np.hstack([formants, upper]) * scale[:, None]
    for index, width in enumerate(BANDWIDTHS_HZ):
        centre = centres[:, index : index + 1]
        response *= centre**2 / np.sqrt((centre**2 - hz**2) ** 2 + (width * hz) ** 2)
    octaves = np.log2(np.maximum(hz, 60.0) / 500.0)
    ring = ring_db[:, None] * np.exp(-(((hz - 2800.0) / 700.0) ** 2))
    response *= 10 ** ((tilt[:, None] * octaves + ring) / 20)
    # four resonances alone fall by 48 dB an octave above the last; real tracts have more of them
    response *= 1 + (hz / 2200.0) ** 4
    return response


def filtered(source: Floats, response: Floats) -> Floats:
    """Zero-phase filtering by overlap-add; frame i of `response` is centred at sample i·FRAME_HOP."""
    window = np.hanning(FRAME + 1)[:-1]
    padded = np.pad(source, (FRAME // 2, FRAME))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::FRAME_HOP][: response.shape[0]] * window
    frames = np.fft.irfft(np.fft.rfft(frames) * response, FRAME) * window / 1.5
    filtered = np.zeros(response.shape[0] * FRAME_HOP + FRAME)
    for part in range(FRAME // FRAME_HOP):
        piece = frames[:, part * FRAME_HOP : (part + 1) * FRAME_HOP].ravel()
        filtered[part * FRAME_HOP : part * FRAME_HOP + piece.size] += piece
    return filtered[FRAME // 2 : FRAME // 2 + source.size]


def synthesise_voice(identity: VoiceIdentity, shown: Floats, rng: np.random.Generator) -> Voice:
    """`shown`: (steps, 2) valence and arousal at 25 Hz, clipped at ±1.5. The samples last steps / 25 s."""
    steps = shown.shape[0]
    n = round(steps / RATE_HZ * SAMPLE_RATE_HZ)
    control = np.arange(round(steps / RATE_HZ * CONTROL_HZ)) / CONTROL_HZ
    at_steps, at_samples = np.arange(steps) / RATE_HZ, np.arange(n) / SAMPLE_RATE_HZ
    valence, arousal = (np.interp(control, at_steps, np.clip(shown[:, i], -SHOWN_LIMIT, SHOWN_LIMIT)) for i in range(2))
    talk = _plan_talk(identity, arousal, rng)

    vibrato = np.maximum(NEUTRAL_VIBRATO_OCTAVES + VIBRATO_OCTAVES * valence, 0) * np.sin(
        2 * np.pi * VIBRATO_HZ * control + rng.uniform(0, 2 * np.pi)
    )
    pitch = PITCH_OCTAVES * arousal + INFLECTION_OCTAVES * valence * talk.phrase + vibrato
    pitch += 0.02 * slow_noise(rng, control.size, 0.15, CONTROL_HZ)
    f0 = identity.base_f0_hz * 2 ** np.interp(at_samples, control, pitch)
    pulses = _glottis(np.cumsum(f0) / SAMPLE_RATE_HZ + rng.random())
    noise = rng.standard_normal(n)

    loudness = 10 ** (LOUDNESS_DB * arousal / 20)
    breath = 10 ** ((NEUTRAL_BREATH_DB + identity.breath_level_db - BREATH_DB * valence) / 20)
    voiced = np.interp(at_samples, control, talk.voiced * loudness)
    breathy = np.interp(at_samples, control, (talk.voiced * loudness + 0.03) * np.minimum(breath, 0.9))
    source = pulses * voiced + noise * breathy

    frames = np.arange(n // FRAME_HOP + 1) * FRAME_HOP / SAMPLE_RATE_HZ
    response = _tract(
        np.stack([np.interp(frames, control, talk.formants[:, i]) for i in range(2)], axis=1),
        np.interp(frames, control, identity.formant_scale * (1 + TRACT_SHORTENING * valence)),
        np.interp(
            frames,
            control,
            NEUTRAL_TILT_DB_PER_OCTAVE + identity.tilt_db_per_octave + TILT_DB_PER_OCTAVE * arousal,
        ),
        np.interp(frames, control, RING_DB * valence),
    )
    voice = filtered(source, response)
    level = SPEECH_RMS / np.sqrt(np.mean(voice**2)) * np.sqrt(np.mean(voiced**2))
    hissing = np.diff(rng.standard_normal(n), prepend=0.0) * np.interp(at_samples, control, talk.hiss * loudness)
    room = slow_noise(rng, n, 0.0006, SAMPLE_RATE_HZ) + 0.3 * rng.standard_normal(n)
    mixed = level * voice + HISS_LEVEL * hissing
    mixed = 10 ** (identity.microphone_gain_db / 20) * mixed + 10 ** (identity.background_level_db / 20) * room
    mouth = np.interp(at_steps, control, _smooth(talk.voiced, 0.06))
    return Voice(np.tanh(mixed).astype(np.float32), np.clip(mouth, 0, 1))
