"""A judge without media: a video is an array of crops, and the truth is what FP32 says with some noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from affectrt.calibration.judging import Comparison, Played, Rows
from affectrt.runtime.engines.base import Engine
from affectrt.training.metrics import paired_bootstrap_over_videos

__all__ = ["ArrayJudge"]


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
        return {
            name: paired_bootstrap_over_videos(
                *([rows[:, index] for rows in played] for played in (reference, candidate, self._truth)), resamples=200
            )
            for index, name in enumerate(self.outputs)
        }
