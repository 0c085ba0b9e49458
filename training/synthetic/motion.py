"""What a face does over time besides showing affect: it talks, blinks, looks around, sways; the light drifts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .affect_path import RATE_HZ, slow_noise
from .face import FaceState

__all__ = ["face_states"]

Floats = npt.NDArray[np.float64]

BLINK_S = 0.24
BLINK_EVERY_S = (1.5, 5.5)


def _blinks(rng: np.random.Generator, steps: int) -> Floats:
    """0 open ... 1 shut."""
    time = np.arange(steps) / RATE_HZ
    shut = np.zeros(steps)
    at = rng.uniform(0.2, BLINK_EVERY_S[1])
    while at < steps / RATE_HZ:
        shut = np.maximum(shut, np.clip(1.25 - np.abs(time - at) / (BLINK_S / 2) * 1.25, 0, 1))
        at += rng.uniform(*BLINK_EVERY_S)
    return shut


def _gaze(rng: np.random.Generator, steps: int) -> Floats:
    """(steps, 2); fixations of 0.4 ... 2.5 s with sudden jumps."""
    gaze = np.zeros((steps, 2))
    at = 0
    while at < steps:
        until = at + round(rng.uniform(0.4, 2.5) * RATE_HZ)
        gaze[at:until] = np.clip(rng.normal(0, 0.45, 2), -1, 1)
        at = until
    return gaze


def face_states(shown: Floats, mouth: Floats, rng: np.random.Generator) -> list[FaceState]:
    """One state per step. `shown`: (steps, 2) valence and arousal; `mouth`: (steps,) opening by speech, 0 ... 1."""
    steps = shown.shape[0]
    lively = np.clip(0.65 + 0.35 * shown[:, 1], 0.15, 1.3)  # the head moves more when aroused
    yaw, pitch, roll, x, y = (slow_noise(rng, steps, rng.uniform(0.25, 0.7)) for _ in range(5))
    posture = rng.normal(0, 1, 5)
    drift = slow_noise(rng, steps, 2.0)
    distance = 0.03 * slow_noise(rng, steps, 1.5) + rng.normal(0, 0.03)
    blinks, gaze, noise_at = _blinks(rng, steps), _gaze(rng, steps), rng.random((steps, 2))
    beat = 0.02 * (mouth - mouth.mean())  # the head nods along with the syllables
    return [
        FaceState(
            valence=float(shown[i, 0]),
            arousal=float(shown[i, 1]),
            speech=float(mouth[i]),
            blink=float(blinks[i]),
            gaze=(float(gaze[i, 0]), float(gaze[i, 1])),
            yaw=float(np.clip(0.10 * lively[i] * yaw[i] + 0.06 * posture[0], -0.3, 0.3)),
            pitch=float(np.clip(0.06 * lively[i] * pitch[i] + 0.03 * posture[1] + beat[i], -0.2, 0.2)),
            roll=float(np.clip(0.06 * lively[i] * roll[i] + 0.04 * posture[2], -0.25, 0.25)),
            scale=float(np.clip(0.99 + distance[i], 0.85, 1.1)),
            shift=(
                float(np.clip(0.030 * lively[i] * x[i] + 0.02 * posture[3], -0.12, 0.12)),
                float(np.clip(0.022 * lively[i] * y[i] + 0.02 * posture[4] + beat[i], -0.1, 0.1)),
            ),
            light=float(np.clip(1 + 0.05 * drift[i], 0.8, 1.15)),
            noise_at=(float(noise_at[i, 0]), float(noise_at[i, 1])),
        )
        for i in range(steps)
    ]
