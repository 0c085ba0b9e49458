"""Front ends against the papers' formulas, computed here anew in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from affectrt.models import ImageFrontEnd, LogMelFrontEnd

Array = npt.NDArray[np.float64]
RATE, SPAN = 16_000, 15_600


def log_mel(waveform: Array) -> Array:
    """(15 600,) → (96, 64): 25 ms frames every 10 ms, periodic Hann, |FFT 512|, HTK mel 125–7500 Hz, ln(x + 0.01)."""
    window = np.hanning(401)[:-1]
    frames = np.stack([waveform[at : at + 400] * window for at in range(0, SPAN - 400 + 1, 160)])
    magnitude = np.abs(np.fft.rfft(frames, n=512, axis=1))

    def mel(hz: float) -> float:
        return 1127.0 * np.log(1.0 + hz / 700.0)

    edges = [mel(125.0) + i * (mel(7500.0) - mel(125.0)) / 65 for i in range(66)]
    bands = np.zeros((len(frames), 64))
    for band in range(64):
        low, centre, high = edges[band : band + 3]
        for k in range(1, 257):
            at = mel(k * RATE / 512)
            if low < at < high:
                slope = (at - low) / (centre - low) if at <= centre else (high - at) / (high - centre)
                bands[:, band] += slope * magnitude[:, k]
    return np.asarray(np.log(bands + 0.01))


def sounds() -> dict[str, Array]:
    random = np.random.default_rng(7)
    t = np.arange(SPAN) / RATE
    pitch = 120 + 30 * np.sin(2 * np.pi * 3 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voiced = sum(np.sin(n * phase) / n for n in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 4 * t), 0, None)
    return {
        "noise": random.uniform(-1, 1, SPAN),
        "faint noise": random.normal(0, 1e-3, SPAN),
        "tone": 0.5 * np.sin(2 * np.pi * 1000 * t),
        "low tone": 0.5 * np.sin(2 * np.pi * 150 * t),
        "speech-like": 0.3 * voiced * syllables + random.normal(0, 1e-3, SPAN),
        "silence": np.zeros(SPAN),
        "click": np.eye(1, SPAN, 7800)[0],
    }


@pytest.mark.parametrize("sound", list(sounds()))
def test_log_mel_is_what_the_formula_says(sound: str) -> None:
    waveform = sounds()[sound].astype(np.float32)
    found = LogMelFrontEnd()(torch.from_numpy(waveform)[None])
    assert found.shape == (1, 96, 64)
    assert np.abs(found[0].double().numpy() - log_mel(waveform.astype(np.float64))).max() <= 1e-4


def test_silence_is_the_logarithm_of_the_offset() -> None:
    patch = LogMelFrontEnd()(torch.zeros(2, SPAN))
    assert torch.allclose(patch, torch.full_like(patch, np.log(0.01)), atol=1e-6)


def test_a_tone_lights_its_own_band() -> None:
    mel = 1127.0 * np.log(1.0 + np.array([125.0, 1000.0, 7500.0]) / 700.0)
    band = round((mel[1] - mel[0]) / (mel[2] - mel[0]) * 65) - 1
    patch = LogMelFrontEnd()(torch.from_numpy(sounds()["tone"].astype(np.float32))[None])
    assert set(patch[0].argmax(dim=1).tolist()) == {band}


def test_spans_of_a_batch_do_not_mix() -> None:
    front_end = LogMelFrontEnd()
    both = torch.from_numpy(np.stack([sounds()["noise"], sounds()["tone"]]).astype(np.float32))
    assert torch.allclose(front_end(both)[1:], front_end(both[1:]), atol=1e-4)


def test_gradient_of_silence_is_finite() -> None:
    waveform = torch.zeros(1, SPAN, requires_grad=True)
    LogMelFrontEnd()(waveform).sum().backward()
    assert waveform.grad is not None
    assert torch.isfinite(waveform.grad).all()


def test_front_ends_add_nothing_to_a_checkpoint() -> None:
    assert not LogMelFrontEnd().state_dict()
    assert not ImageFrontEnd().state_dict()


def test_black_is_minus_one_and_white_is_one() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).repeat_interleave(4 * 4 * 3).view(2, 4, 4, 3)
    found = ImageFrontEnd()(images)
    assert found.shape == (2, 3, 4, 4)
    assert found[0].eq(-1).all()
    assert found[1].eq(1).all()


def test_every_byte_is_normalised_as_in_the_papers() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    found = ImageFrontEnd()(values.view(1, 16, 16, 1).expand(1, 16, 16, 3))
    wanted = (values.double() / 255 - 0.5) / 0.5
    assert (found[0, 0].flatten().double() - wanted).abs().max() < 1e-7


def test_colours_and_axes_keep_their_places() -> None:
    images = torch.zeros(1, 5, 6, 3, dtype=torch.uint8)
    images[0, 2, 4, 1] = 255
    assert ImageFrontEnd()(images).eq(1).nonzero().tolist() == [[0, 1, 2, 4]]
