"""sherpa-onnx: streaming transducers on ONNX Runtime from a model directory of the user's; wheels for Jetson too."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import MissingDependency, UsageError

from .hearing import LONGEST_S, Hearing
from .word import Word, WordsChunk

__all__ = ["Sherpa", "model_files"]

_MODEL = (
    "https://github.com/k2-fsa/sherpa-onnx/releases/download/asr-models/"
    "sherpa-onnx-streaming-zipformer-en-2023-06-26.tar.bz2; unpack it and name its directory: --words sherpa:DIR"
)
# A transducer says when a piece begins, never when it ends.
_LAST_PIECE_S = 0.3
# What a transducer wants to see behind the last word before it lets go of it.
_TAIL_S = 0.7


class Sherpa:
    """Words from a streaming transducer; 16 kHz. Its pieces have the time at which they were recognised: a word lasts
    from its first piece to the next word's, at most 0.3 s beyond its last one. Words all in capitals become small.

    Utterances end at pauses of 1.2 s or after 20 s. MissingDependency without the package, UsageError for a directory
    without encoder, decoder, joiner and tokens.
    """

    sample_rate_hz = 16_000

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.name = f"sherpa:{Path(directory).name}"
        try:
            from sherpa_onnx import OnlineRecognizer
        except ImportError:
            raise MissingDependency(
                "the recogniser sherpa-onnx is not installed",
                expected="the package sherpa-onnx",
                fix="pip install 'affectrt[sherpa]'",
            ) from None
        files = model_files(directory)
        self._recogniser: Any = OnlineRecognizer.from_transducer(
            **{name: str(path) for name, path in files.items()},
            num_threads=1,
            sample_rate=self.sample_rate_hz,
            enable_endpoint_detection=True,
            rule3_min_utterance_length=LONGEST_S,
        )
        self._stream: Any = None
        self._hearing = Hearing(self.sample_rate_hz)
        self._begin()

    def hear(self, samples: npt.NDArray[np.float32], pts_s: float) -> Sequence[WordsChunk]:
        told = [] if self._hearing.follows(pts_s) else list(self.lose())
        self._hearing.push(len(samples), pts_s, idle=False)
        self._decode(np.ascontiguousarray(samples, np.float32))
        if self._recogniser.is_endpoint(self._stream):
            told += self._hearing.final(self._words(), self._hearing.heard_s)
            self._recogniser.reset(self._stream)
        elif self._hearing.partial_is_due():
            told += self._hearing.partial(self._words(), self._hearing.heard_s)
        return told

    def lose(self) -> Sequence[WordsChunk]:
        self._stream.accept_waveform(self.sample_rate_hz, np.zeros(int(_TAIL_S * self.sample_rate_hz), np.float32))
        self._stream.input_finished()
        self._decode(None)
        told = self._hearing.final(self._words(), self._hearing.heard_s)
        self._begin()
        return told

    def end(self) -> Sequence[WordsChunk]:
        return [*self.lose(), *self._hearing.end()]

    def close(self) -> None:
        self._stream = self._recogniser = None

    def _begin(self) -> None:
        self._stream = self._recogniser.create_stream()
        self._hearing.restart()

    def _decode(self, samples: npt.NDArray[np.float32] | None) -> None:
        if samples is not None:
            self._stream.accept_waveform(self.sample_rate_hz, samples)
        while self._recogniser.is_ready(self._stream):
            self._recogniser.decode_stream(self._stream)

    def _words(self) -> Iterator[Word]:
        """Pieces → words: one begins with a space, or SentencePiece's sign for it."""
        result = self._recogniser.get_result_all(self._stream)
        base_s = self._hearing.at(result.start_time)
        texts: list[str] = []
        times: list[tuple[float, float]] = []
        for token, second in zip(result.tokens, result.timestamps, strict=True):
            piece, at_s = token.lstrip(" ▁"), base_s + second
            if piece == token and texts:
                texts[-1] += piece
                times[-1] = times[-1][0], at_s
            else:
                texts.append(piece)
                times.append((at_s, at_s))
        for number, (text, (first_s, last_s)) in enumerate(zip(texts, times, strict=True)):
            next_s = times[number + 1][0] if number + 1 < len(times) else last_s + _LAST_PIECE_S
            if text and not text.startswith("<"):
                yield Word(text.lower() if text.isupper() else text, first_s, min(next_s, last_s + _LAST_PIECE_S))


def model_files(directory: str | os.PathLike[str]) -> dict[str, Path]:
    """Encoder, decoder, joiner and tokens of a release; of several, the INT8 encoder and joiner and the FP32 decoder.

    UsageError for what lacks.
    """
    folder = Path(directory)
    found = {
        "encoder": _first(folder, "encoder*.onnx", int8=True),
        "decoder": _first(folder, "decoder*.onnx", int8=False),
        "joiner": _first(folder, "joiner*.onnx", int8=True),
        "tokens": _first(folder, "tokens.txt", int8=False),
    }
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise UsageError(
            f"{folder} has no {', '.join(missing)}",
            expected="encoder*.onnx, decoder*.onnx, joiner*.onnx and tokens.txt of a streaming transducer",
            fix=_MODEL,
        )
    return {name: path for name, path in found.items() if path is not None}


def _first(folder: Path, pattern: str, *, int8: bool) -> Path | None:
    files = sorted(folder.glob(pattern), key=lambda path: ((".int8." in path.name) != int8, path.name))
    return files[0] if files else None
