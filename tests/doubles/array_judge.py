"""A judge without media: a video is an array of crops, and the truth is what FP32 says with some noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from affectrt.bundle.manifest import Interval
from affectrt.calibration.judging import Comparison, Played, Rows
from affectrt.runtime.engines.base import Engine
from affectrt.training.metrics import ccc

__all__ = ["ArrayJudge"]

RESAMPLES = 100


class ArrayJudge:
    """Of a model of video alone whose fusion sees `window` steps. `plays` counts finished plays.

    `before_play` is called with the number of the play before anything is computed.
    """

    kind: Literal["truth"] = "truth"
    corpus = "arrays"
    outputs = ("valence", "arousal")

    def __init__(
        self,
        videos: Sequence[np.ndarray],
        fp32: Mapping[str, Engine],
        *,
        window: int = 10,
        noise: float = 0.2,
        before_play: Callable[[int], None] = lambda number: None,
    ) -> None:
        self._videos, self._window = videos, window
        self._before_play: Callable[[int], None] = lambda number: None
        self.plays = 0
        rng = np.random.default_rng(0)
        self.reference = self.play(fp32)
        spread = np.concatenate(self.reference).std(axis=0)
        self._truth = [rows + noise * spread * rng.standard_normal(rows.shape) for rows in self.reference]
        self._before_play, self.plays = before_play, 0

    @property
    def videos(self) -> int:
        return len(self._videos)

    def play(self, engines: Mapping[str, Engine]) -> Played:
        self._before_play(self.plays + 1)
        played = [self._play_one(engines, frames) for frames in self._videos]
        self.plays += 1
        return played

    def _play_one(self, engines: Mapping[str, Engine], frames: np.ndarray) -> Rows:
        features = engines["video"].infer({"frames": frames})["features"]
        windows = features.reshape(-1, self._window, features.shape[-1])
        return engines["fusion"].infer({"video": windows})["estimates"].reshape(len(frames), -1).astype(np.float64)

    def compare(self, reference: Played, candidate: Played) -> Mapping[str, Comparison]:
        drawn = np.random.default_rng(1).integers(0, self.videos, (RESAMPLES, self.videos))
        return {name: self._compare(reference, candidate, index, drawn) for index, name in enumerate(self.outputs)}

    def _compare(self, reference: Played, candidate: Played, index: int, drawn: np.ndarray) -> Comparison:
        def scored(played: Played, which: Sequence[int] | np.ndarray) -> float:
            return ccc(
                np.concatenate([played[v][:, index] for v in which]),
                np.concatenate([self._truth[v][:, index] for v in which]),
            )

        every = range(self.videos)
        values = np.array([scored(reference, every), scored(candidate, every)])
        resampled = np.array([[scored(reference, draw), scored(candidate, draw)] for draw in drawn])
        lost = _interval(values[0] - values[1], resampled[:, 0] - resampled[:, 1])
        return Comparison(_interval(values[0], resampled[:, 0]), _interval(values[1], resampled[:, 1]), lost)


def _interval(value: float, resampled: np.ndarray) -> Interval:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(value=float(value), low=float(low), high=float(high))
