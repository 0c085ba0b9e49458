"""espeak-ng's C library behind a pipe: a line of JSON in, a line of JSON and 16-bit samples out.

A program of its own, started afresh for each clip, because the library's noise and flutter go on from one utterance to
the next: only then the same clip always has the same bytes. Nothing but the standard library is imported, so that it
starts at once.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any, BinaryIO

LIBRARIES = ("libespeak-ng.so.1", "libespeak-ng.so")

_SYNCHRONOUS, _DONT_EXIT = 2, 0x8000
_RATE, _PITCH, _RANGE = 1, 3, 4
_BY_CHARACTER, _UTF8 = 1, 1
_LIST_TERMINATED, _WORD = 0, 1


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Library:
    def __init__(self, voice: str) -> None:
        self._library = _load()
        self.rate_hz: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _DONT_EXIT)
        if self.rate_hz <= 0:
            raise OSError("espeak-ng does not find its voices (package espeak-ng-data)")
        self._library.espeak_Info.restype = ctypes.c_char_p
        self.version: str = self._library.espeak_Info(None).decode()
        self._samples = bytearray()
        self._words: list[tuple[int, int]] = []
        self._callback = _CALLBACK(self._take)
        self._library.espeak_SetSynthCallback(self._callback)
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise OSError(f"espeak-ng has no voice {voice}")

    def say(self, text: str, rate: int, pitch: int, pitch_range: int) -> tuple[bytes, list[tuple[int, int]]]:
        """Samples, and (first character, first sample) of each word that it tells of."""
        self._samples.clear()
        self._words.clear()
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        told = text.encode() + b"\0"
        if self._library.espeak_Synth(told, len(told), 0, _BY_CHARACTER, 0, _UTF8, None, None) != 0:
            raise OSError(f"espeak-ng does not say {text!r}")
        self._library.espeak_Synchronize()
        return bytes(self._samples), [(at, sample) for at, sample in self._words if at >= 0]

    def _take(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._samples += ctypes.string_at(samples, 2 * count)
        at = 0
        while events[at].type != _LIST_TERMINATED:
            event = events[at]
            # The last one of some utterances stands behind the text and has no length.
            if event.type == _WORD and event.length > 0:
                self._words.append((event.text_position - 1, event.sample))
            at += 1
        return 0


def _load() -> ctypes.CDLL:
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise OSError("espeak-ng's library is not installed")


def serve(voice: str, asked: BinaryIO, told: BinaryIO) -> int:
    """Answers until `asked` ends; 1 where the library is missing or fails, with the reason in a last line."""
    try:
        library = _Library(voice)
        told.write(json.dumps({"version": library.version, "rate_hz": library.rate_hz}).encode() + b"\n")
        told.flush()
        for line in asked:
            samples, words = library.say(**json.loads(line))
            told.write(json.dumps({"bytes": len(samples), "words": words}).encode() + b"\n" + samples)
            told.flush()
    except OSError as error:
        told.write(json.dumps({"failed": str(error)}).encode() + b"\n")
        told.flush()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer))
