"""Stand-ins for Vosk and sherpa-onnx without models: what they were told is recognised at the times of a script.

They have the methods that the adapters use, and `same_signatures` compares them with the installed packages.
"""

# ruff: noqa: N802 - the names are Vosk's
from __future__ import annotations

import inspect
import json
from types import SimpleNamespace
from typing import Any

__all__ = ["Kaldi", "Transducer", "VoskModel", "same_signatures"]

Said = tuple[str, float, float]


def same_signatures(double: type, real: type) -> None:
    """Every public method of the double is one of the real class, with the same parameters."""
    for name, method in vars(double).items():
        if callable(method) and not name.startswith("_"):
            parameters = list(inspect.signature(getattr(real, name)).parameters)
            assert list(inspect.signature(method).parameters) == parameters, name


class VoskModel:
    """Takes any directory that has a file `am`."""

    loaded = 0

    def __init__(self, model_path: str | None = None, model_name: str | None = None, lang: str | None = None) -> None:
        if "broken" in str(model_path):
            raise Exception("Failed to create a model")  # as Vosk does
        VoskModel.loaded += 1


class Kaldi:
    """KaldiRecognizer: times in seconds since its making; the utterances of `script` end half a second after them."""

    script: tuple[tuple[Said, ...], ...] = ()
    made = 0

    def __init__(self, *args: Any) -> None:
        _, self._rate = args
        self._seconds = 0.0
        self._done = 0
        self._words = self._partial_words = False
        Kaldi.made += 1

    def SetWords(self, enable_words: bool) -> None:
        self._words = enable_words

    def SetPartialWords(self, enable_partial_words: bool) -> None:
        self._partial_words = enable_partial_words

    def AcceptWaveform(self, data: bytes) -> int:
        self._seconds += len(data) / 2 / self._rate
        return int(self._done < len(self.script) and self._seconds >= self.script[self._done][-1][2] + 0.5)

    def Result(self) -> str:
        said = self.script[self._done] if self._done < len(self.script) else ()
        self._done += 1
        return self._told(said, "result", "text", self._words)

    def PartialResult(self) -> str:
        said = self.script[self._done] if self._done < len(self.script) else ()
        heard = tuple(word for word in said if word[1] < self._seconds)
        return self._told(heard, "partial_result", "partial", self._partial_words)

    def FinalResult(self) -> str:
        said = self.script[self._done] if self._done < len(self.script) else ()
        heard = tuple(word for word in said if word[1] < self._seconds)
        self._done += bool(heard)
        return self._told(heard, "result", "text", self._words)

    @staticmethod
    def _told(said: tuple[Said, ...], name: str, text: str, timed: bool) -> str:
        record: dict[str, Any] = {text: " ".join(word for word, _, _ in said)}
        if timed and said:
            record[name] = [{"conf": 1.0, "word": word, "start": start, "end": end} for word, start, end in said]
        return json.dumps(record)


class Transducer:
    """OnlineRecognizer: pieces at times of the stream, decoded in chunks of 0.32 s; pauses of 1.2 s end a segment."""

    script: tuple[tuple[str, float], ...] = ()
    asked: dict[str, Any] = {}  # noqa: RUF012 - what the last one was made with

    @classmethod
    def from_transducer(cls, **options: Any) -> Transducer:
        cls.asked = options
        return cls()

    def create_stream(self, hotwords: str | None = None) -> SimpleNamespace:
        stream = SimpleNamespace(heard_s=0.0, decoded_s=0.0, start_s=0.0, over=False)

        def accept_waveform(sample_rate: int, waveform: Any) -> None:
            stream.heard_s += len(waveform) / sample_rate

        def input_finished() -> None:
            stream.over = True

        stream.accept_waveform, stream.input_finished = accept_waveform, input_finished
        return stream

    def is_ready(self, s: Any) -> bool:
        return bool(s.heard_s - s.decoded_s >= (0.32 if not s.over else 1e-6))

    def decode_stream(self, s: Any) -> None:
        s.decoded_s = min(s.decoded_s + 0.32, s.heard_s)

    def get_result_all(self, s: Any) -> SimpleNamespace:
        heard = [(piece, at) for piece, at in self.script if s.start_s <= at < s.decoded_s]
        return SimpleNamespace(
            text="".join(piece for piece, _ in heard),
            tokens=[piece for piece, _ in heard],
            timestamps=[at - s.start_s for _, at in heard],
            start_time=s.start_s,
        )

    def is_endpoint(self, s: Any) -> bool:
        heard = self.get_result_all(s).timestamps
        return bool(heard) and s.decoded_s - s.start_s - heard[-1] >= 1.2

    def reset(self, s: Any) -> bool:
        s.start_s = s.decoded_s
        return True
