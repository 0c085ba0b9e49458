"""Vosk, the recogniser of RCMA's authors: Kaldi with a model directory of the user's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import MissingDependency, UsageError

from .hearing import LONGEST_S, Hearing, pcm_from_samples
from .word import Word, WordsChunk

__all__ = ["Vosk"]

_MODELS = (
    "https://alphacephei.com/vosk/models/vosk-model-small-en-us-0.15.zip (40 MB), or there vosk-model-en-us-0.22.zip "
    "(1.8 GB), which the authors used; unpack it and name its directory: --words vosk:DIR"
)


class Vosk:
    """Words with their times from a model directory; 16 kHz. One model is loaded once, however many streams use it.

    Vosk ends utterances itself, at pauses, and after 20 s it is made to. A version that gives no times for partial
    words gives final ones alone. MissingDependency without the package, UsageError for what is no model.
    """

    sample_rate_hz = 16_000

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.name = f"vosk:{Path(directory).name}"
        self._recogniser: Any = None
        self._model = _model(str(Path(directory).absolute()))
        self._hearing = Hearing(self.sample_rate_hz)
        self._begin()

    def hear(self, samples: npt.NDArray[np.float32], pts_s: float) -> Sequence[WordsChunk]:
        told = [] if self._hearing.follows(pts_s) else list(self.lose())
        self._hearing.push(len(samples), pts_s, idle=False)
        over = self._recogniser.AcceptWaveform(pcm_from_samples(samples))
        if over:
            told += self._final(self._recogniser.Result())
        elif self._hearing.heard_s - self._hearing.since_s >= LONGEST_S:
            told += self._final(self._recogniser.FinalResult())
        elif self._hearing.partial_is_due():
            words = self._words(json.loads(self._recogniser.PartialResult()).get("partial_result", ()))
            told += self._hearing.partial(words, self._hearing.heard_s)
        return told

    def lose(self) -> Sequence[WordsChunk]:
        told = self._final(self._recogniser.FinalResult())
        self._begin()
        return told

    def end(self) -> Sequence[WordsChunk]:
        return [*self.lose(), *self._hearing.end()]

    def close(self) -> None:
        self._recogniser = self._model = None

    def _begin(self) -> None:
        from vosk import KaldiRecognizer

        # It counts seconds from its making on, over all utterances.
        self._recogniser = KaldiRecognizer(self._model, self.sample_rate_hz)
        self._recogniser.SetWords(True)
        if hasattr(self._recogniser, "SetPartialWords"):
            self._recogniser.SetPartialWords(True)
        self._hearing.restart()

    def _final(self, result: str) -> list[WordsChunk]:
        return self._hearing.final(self._words(json.loads(result).get("result", ())), self._hearing.heard_s)

    def _words(self, entries: Sequence[dict[str, Any]]) -> Iterator[Word]:
        for entry in entries:
            start_s, end_s = self._hearing.at(float(entry["start"])), self._hearing.at(float(entry["end"]))
            if not entry["word"].startswith(("<", "[")):
                yield Word(entry["word"], start_s, end_s)


@lru_cache(maxsize=1)
def _model(directory: str) -> Any:
    try:
        from vosk import Model, SetLogLevel
    except ImportError:
        raise MissingDependency(
            "the recogniser Vosk is not installed", expected="the package vosk", fix="pip install 'affectrt[vosk]'"
        ) from None
    if not Path(directory).is_dir():
        raise UsageError(f"{directory} is no directory", expected="a model of Vosk", fix=_MODELS)
    SetLogLevel(-1)
    try:
        return Model(directory)
    except Exception as error:  # Vosk raises nothing more precise
        raise UsageError(
            f"Vosk finds no model in {directory}: {error}", expected="am, conf, graph …", fix=_MODELS
        ) from None
