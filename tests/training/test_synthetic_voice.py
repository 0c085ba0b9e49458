import numpy as np
import pytest

from affectrt.training.metrics import ccc
from affectrt.training.synthetic import make_clip, make_identity, synthesise_voice
from affectrt.training.synthetic.voice import SAMPLE_RATE_HZ

SECONDS = 4
PATCH = round(0.96 * SAMPLE_RATE_HZ)


def speak(valence=0.0, arousal=0.0, person=3, seed=0):
    shown = np.tile([valence, arousal], (25 * SECONDS, 1)).astype(float)
    return synthesise_voice(make_identity(2024, person).voice, shown, np.random.default_rng(seed))


def spectrum(samples):
    frames = np.lib.stride_tricks.sliding_window_view(samples, 512)[::160] * np.hanning(512)
    return np.abs(np.fft.rfft(frames))


def band_db(samples, low_hz, high_hz):
    hz = np.fft.rfftfreq(512, 1 / SAMPLE_RATE_HZ)
    power = (spectrum(samples) ** 2)[:, (hz >= low_hz) & (hz < high_hz)].sum()
    return 10 * np.log10(power)


def log_mel(samples):
    """(frames, 40) natural logarithm of mel-like bands, 25 ms every 10 ms."""
    hz = np.fft.rfftfreq(512, 1 / SAMPLE_RATE_HZ)
    mel = 1127 * np.log1p(hz / 700)
    edges = np.linspace(1127 * np.log1p(125 / 700), 1127 * np.log1p(7500 / 700), 42)
    rising = (mel[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel[:, None]) / (edges[2:] - edges[1:-1])
    return np.log(spectrum(samples) @ np.clip(np.minimum(rising, falling), 0, None) + 0.01)


def test_the_same_seed_says_the_same():
    assert np.array_equal(speak().samples, speak().samples)
    assert not np.array_equal(speak().samples, speak(seed=1).samples)


@pytest.mark.parametrize("corner", [(-1.5, -1.5), (-1.5, 1.5), (1.5, -1.5), (1.5, 1.5), (9.0, 9.0)])
def test_a_voice_lasts_as_long_as_its_path_and_never_clips(corner):
    voice = speak(*corner)
    assert voice.samples.dtype == np.float32
    assert voice.samples.shape == (SECONDS * SAMPLE_RATE_HZ,)
    assert voice.mouth.shape == (25 * SECONDS,)
    assert np.isfinite(voice.samples).all()
    assert 0.01 < np.abs(voice.samples).max() < 1
    assert voice.mouth.min() >= 0
    assert voice.mouth.max() <= 1


def test_the_mouth_moves_with_the_sound():
    voice = speak(arousal=0.5)
    loudness = np.sqrt(np.square(voice.samples.reshape(25 * SECONDS, -1)).mean(axis=1))
    assert np.corrcoef(loudness, voice.mouth)[0, 1] > 0.6
    assert (voice.mouth < 0.05).any(), "there are pauses"
    assert loudness[voice.mouth < 0.05].mean() < 0.3 * loudness.mean()


def test_arousal_is_louder_higher_and_brighter():
    calm, excited = speak(arousal=-1).samples, speak(arousal=1).samples
    assert excited.std() > 1.5 * calm.std()
    tilt = [band_db(x, 2000, 6000) - band_db(x, 200, 1000) for x in (calm, excited)]
    assert tilt[1] > tilt[0] + 6


def test_valence_rings_instead_of_breathing():
    sad, glad = speak(valence=-1).samples, speak(valence=1).samples
    ring = [band_db(x, 2200, 3400) - band_db(x, 200, 1000) for x in (sad, glad)]
    assert ring[1] > ring[0] + 4


def test_linear_statistics_of_a_second_of_log_mel_read_voices_not_heard_before():
    rows, shown = [[], []], [[], []]
    for index in range(18):
        clip = make_clip(make_identity(7, index), index, seconds=16)
        mel = log_mel(clip.samples.astype(float))
        for step in range(0, clip.path.steps - 24, 6):
            patch = mel[step * 4 : step * 4 + 96]
            loud = patch[patch.mean(axis=1) > np.median(patch.mean(axis=1))]
            rows[index >= 13].append(np.hstack([loud.mean(axis=0), patch.std(axis=0), 1.0]))
            shown[index >= 13].append(np.clip(clip.path.voice[step : step + 24], -1.5, 1.5).mean(axis=0))
    fit, target = np.array(rows[0]), np.array(shown[0])
    weights = np.linalg.solve(fit.T @ fit + 30 * np.eye(fit.shape[1]), fit.T @ target)
    read, true = np.array(rows[1]) @ weights, np.array(shown[1])
    assert ccc(read[:, 0], true[:, 0]) > 0.65
    assert ccc(read[:, 1], true[:, 1]) > 0.75
