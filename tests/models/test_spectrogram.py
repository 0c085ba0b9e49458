"""CAV's front ends against the published formulas, computed here anew in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from affectrt.models import ClipFrontEnd, Log2MelFrontEnd, SpectrogramCnn

Array = npt.NDArray[np.float64]
RATE, PIECE = 16_000, 10_240


def mel_filters() -> Array:
    """(513, 128), bin by bin and band by band: corners even in 2595 log₁₀(1 + f / 700), straight in Hz between."""
    top = 2595 * np.log10(1 + 8000 / 700)
    corners = [700 * (10 ** (i * top / 129 / 2595) - 1) for i in range(130)]
    filters = np.zeros((513, 128))
    for band in range(128):
        low, centre, high = corners[band : band + 3]
        for k in range(513):
            hz = k * RATE / 1024
            if low < hz < high:
                filters[k, band] = (hz - low) / (centre - low) if hz <= centre else (high - hz) / (high - centre)
    return filters


FILTERS = mel_filters()


def published(waveform: npt.NDArray[np.floating]) -> Array:
    """(N,) → (128, 1 + N // 160), step by step as the released code has it; the transform in the input's type."""
    hann = np.zeros(1024)
    hann[312:712] = np.hanning(401)[:-1]
    mirrored = np.pad(waveform, 512, mode="reflect")
    frames = np.stack([mirrored[at : at + 1024] for at in range(0, len(waveform) + 1, 160)])
    spectrum = np.fft.rfft(frames * hann.astype(waveform.dtype), axis=1)
    power = np.abs(spectrum / np.sqrt((hann**2).sum())) ** 2
    mel = (power @ FILTERS).T
    mel[mel == 0] = 1e-19
    logarithm = np.log2(mel)
    z = (logarithm - logarithm.mean()) / (logarithm.std(ddof=1) + 1e-11)
    return np.asarray(z / z.max() * 2 - 1)


def front_end(waveform: Array) -> Array:
    with torch.no_grad():
        return Log2MelFrontEnd()(torch.from_numpy(waveform.astype(np.float32))[None])[0].double().numpy()


def sounds() -> dict[str, Array]:
    random = np.random.default_rng(7)
    t = np.arange(PIECE) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 3 * t)) / RATE
    voiced = sum(np.sin(n * phase) / n for n in range(1, 25)) * np.clip(np.sin(2 * np.pi * 4 * t), 0, None)
    return {
        "noise": random.uniform(-1, 1, PIECE),
        "faint noise": random.normal(0, 1e-3, PIECE),
        "speech-like": 0.3 * voiced + random.normal(0, 1e-3, PIECE),
        "speech-like in 16 bit": np.round((0.3 * voiced + random.normal(0, 1e-4, PIECE)) * 32768) / 32768,
        "noise after silence": np.where(t > 0.3, random.normal(0, 0.1, PIECE), 0),
        "click": np.eye(1, PIECE, 5000)[0],
        "click on the first sample": np.eye(1, PIECE, 0)[0],
        "click on the last sample": np.eye(1, PIECE, PIECE - 1)[0],
    }


@pytest.mark.parametrize("sound", list(sounds()))
def test_spectrogram_is_what_the_formula_says(sound: str) -> None:
    waveform = sounds()[sound].astype(np.float32).astype(np.float64)
    found, wanted = front_end(waveform), published(waveform)
    assert found.shape == wanted.shape == (128, 65)
    assert np.abs(found - wanted).max() <= 1e-4


def test_a_pure_tone_lights_its_band_and_rounding_the_empty_ones() -> None:
    """Far from the tone there is nothing but float32 rounding, 30 octaves down: no float32 program has it exactly."""
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(PIECE) / RATE)).astype(np.float32).astype(np.float64)
    found, wanted = front_end(tone), published(tone)
    near = wanted > 0  # what is less than 15 or so octaves below the peak
    assert near[40:60].any()
    assert np.abs(found - wanted)[near].max() <= 1e-3
    assert np.abs(found - wanted).max() <= 1e-2
    band = int(np.argmax(FILTERS[64]))  # bin 64 of 1024 is 1000 Hz
    assert set(found[:, 2:-2].argmax(axis=0).tolist()) == {band}


@pytest.mark.parametrize("samples", [9_920, 10_240, 12_479])
def test_pieces_of_every_allowed_length(samples: int) -> None:
    waveform = np.random.default_rng(3).normal(0, 0.1, samples).astype(np.float32).astype(np.float64)
    found, wanted = front_end(waveform), published(waveform)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-4
    with torch.device("meta"):
        network = SpectrogramCnn((2, 2, 2, 2, 2))
        assert network(torch.empty(1, *found.shape)).shape == (1, 2)


def test_peak_is_one_and_mean_minus_one() -> None:
    for waveform in sounds().values():
        found = front_end(waveform)
        assert abs(found.max() - 1) < 1e-6
        assert abs(found.mean() + 1) < 1e-5


def test_silence_is_minus_one_everywhere_and_alone_in_its_batch() -> None:
    both = np.stack([np.zeros(PIECE), sounds()["speech-like"]]).astype(np.float32)
    found = Log2MelFrontEnd()(torch.from_numpy(both))
    assert found[0].eq(-1).all()
    assert np.abs(found[1].numpy() - published(both[1].astype(np.float64))).max() <= 1e-4


def test_loudness_does_not_matter_where_nothing_is_silent() -> None:
    waveform = sounds()["speech-like"]
    assert np.abs(front_end(waveform) - front_end(waveform / 64)).max() < 1e-4


def test_gradients_are_finite_also_of_silence() -> None:
    waveforms = torch.from_numpy(np.stack([np.zeros(PIECE), sounds()["click"], sounds()["noise"]]).astype(np.float32))
    waveforms.requires_grad_()
    Log2MelFrontEnd()(waveforms).square().sum().backward()
    assert waveforms.grad is not None
    assert torch.isfinite(waveforms.grad).all()
    assert waveforms.grad[2].abs().sum() > 0


def test_clips_keep_their_axes_and_reach_from_minus_one_to_one() -> None:
    clips = torch.zeros(2, 4, 5, 6, 3, dtype=torch.uint8)
    clips[1, 3, 2, 4, 1] = 255
    found = ClipFrontEnd()(clips)
    assert found.shape == (2, 3, 4, 5, 6)
    assert found.dtype == torch.float32
    assert found.eq(1).nonzero().tolist() == [[1, 1, 3, 2, 4]]
    assert found.eq(-1).sum() == found.numel() - 1


def test_front_ends_add_nothing_to_a_checkpoint() -> None:
    assert not Log2MelFrontEnd().state_dict()
    assert not ClipFrontEnd().state_dict()
