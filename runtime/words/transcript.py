"""Transcripts that are known already: subtitles, CTM and word-timed JSON, read, written, and as a transcriber."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from affectrt.bundle.errors import UsageError, listed

from .subtitles import spread, words_from_subtitles
from .word import Word, WordsChunk

__all__ = ["SUFFIXES", "TranscriptFile", "read_transcript", "write_transcript"]

SUFFIXES = (".json", ".ctm", ".vtt", ".srt")
_MAX_BYTES = 32 << 20
# A year: what lies beyond is no time of a recording, and floats get coarse there.
_MAX_S = 366 * 86400.0
_JSON = '{"words": [{"word": "hello", "start": 0.5, "end": 0.9}, …]}'
_FORMS = f"WebVTT, SRT, CTM, or JSON such as {_JSON}"


def read_transcript(path: str | os.PathLike[str]) -> tuple[Word, ...]:
    """The words of a file in order of their start; the suffix names the form: .json, .ctm, .vtt or .srt.

    JSON has words as Whisper and Vosk write them: objects with `word`, `start` and `end`, in a list or under `words`,
    `result` or `segments`. A CTM line is NIST's `file channel start duration word [confidence]`; of several recordings
    in one file, the one named like it counts. Of subtitles see `words_from_subtitles`.

    An entry of several words shares its time among them, by letters. What has no text, stands in <angle> or [square]
    brackets or lasts no time is left out. UsageError, with all that is wrong, for times that are no number, negative,
    beyond a year or reversed, and for a file that is missing, above 32 MiB, not UTF-8 or not of its form.
    """
    path = Path(path)
    text = _text_of(path)
    form = path.suffix.lower()
    if form == ".json":
        words, wrong = _from_json(text)
    elif form == ".ctm":
        words, wrong = _from_ctm(text, path.stem)
    else:
        words, wrong = words_from_subtitles(text, form[1:])
    for word in words:
        if not (math.isfinite(word.start_s) and math.isfinite(word.end_s)):
            wrong.append(f"{_shown(word.text)}: from {word.start_s} to {word.end_s} is no time")
        elif not 0 <= word.start_s <= word.end_s <= _MAX_S:
            wrong.append(f"{_shown(word.text)}: from {word.start_s:g} to {word.end_s:g} s")
    if wrong:
        expected = "seconds from 0 to a year, the end not before the start"
        raise UsageError(listed(f"{path} is no transcript that can be used", wrong), expected=f"{_FORMS}; {expected}")
    kept = [one for word in words for one in spread(_tokens(word.text), word.start_s, word.end_s)]
    return tuple(sorted((word for word in kept if word.end_s > word.start_s), key=lambda word: word.start_s))


def write_transcript(path: str | os.PathLike[str], words: Iterable[Word]) -> None:
    """Write the JSON form, times to the millisecond, whole or not at all."""
    rows = [{"word": w.text, "start": round(w.start_s, 3), "end": round(w.end_s, 3)} for w in words]
    body = ",\n  ".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        partial.write_text(f'{{"words": [\n  {body}\n]}}\n' if rows else '{"words": []}\n', encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


class TranscriptFile:
    """A transcriber that needs no sound: the whole of a file at once."""

    sample_rate_hz = None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = Path(path).name
        self._words = read_transcript(path)
        self._told = False

    def hear(self, samples: npt.NDArray[np.float32], pts_s: float) -> Sequence[WordsChunk]:
        return self._whole()

    def lose(self) -> Sequence[WordsChunk]:
        return ()

    def end(self) -> Sequence[WordsChunk]:
        return self._whole()

    def close(self) -> None:
        pass

    def _whole(self) -> Sequence[WordsChunk]:
        if self._told:
            return ()
        self._told = True
        return (WordsChunk(self._words, 0.0, math.inf, math.inf),)


def _text_of(path: Path) -> str:
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{path.name} is no form of transcript that is known", expected=f"one of {', '.join(SUFFIXES)}"
        )
    try:
        if not path.is_file():
            raise UsageError(f"{path} is not a file", expected=_FORMS, fix="check the path")
        if path.stat().st_size > _MAX_BYTES:
            raise UsageError(
                f"{path} has {path.stat().st_size >> 20} MiB",
                expected=f"a transcript of at most {_MAX_BYTES >> 20} MiB",
            )
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}", expected=_FORMS) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not UTF-8: byte {error.start}",
            expected="UTF-8, with or without a byte order mark",
            fix=f"iconv -f LATIN1 -t UTF-8 {path}   (or whatever it was written in, such as UTF-16)",
        ) from None


def _tokens(text: str) -> list[str]:
    text = text.strip()
    if (text.startswith("<") and text.endswith(">")) or (text.startswith("[") and text.endswith("]")):
        return []
    return text.split()


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")


# -- JSON ----------------------------------------------------------------------------------------------------------


def _from_json(text: str) -> tuple[list[Word], list[str]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        return [], [f"not read as JSON: {error}"]
    words: list[Word] = []
    wrong: list[str] = []
    for number, entry in enumerate(_entries(document, 0), start=1):
        if not isinstance(entry, dict) or not isinstance(entry.get("word"), str):
            wrong.append(f"entry {number} is no object with a word, a start and an end")
            continue
        start_s, end_s = _number(entry.get("start")), _number(entry.get("end"))
        words.append(Word(entry["word"], start_s, end_s))
    return words, wrong


def _entries(part: Any, depth: int) -> Iterator[Any]:
    """The entries of a list of words, or of an object that has one, or of a list of such objects."""
    if isinstance(part, list) and depth < 4:
        for entry in part:
            nested = isinstance(entry, dict) and "word" not in entry
            yield from _entries(entry, depth + 1) if nested else [entry]
    elif isinstance(part, dict) and depth < 4:
        name = next((name for name in ("words", "result", "segments") if isinstance(part.get(name), list)), None)
        # Vosk writes a stretch without words as {"text": ""}.
        if name is not None or part.get("text") != "":
            yield from _entries(part[name], depth + 1) if name is not None else [part]
    else:
        yield part


def _number(value: Any) -> float:
    """NaN for what is none."""
    try:
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.inf


# -- CTM -----------------------------------------------------------------------------------------------------------


def _from_ctm(text: str, stem: str) -> tuple[list[Word], list[str]]:
    rows: list[tuple[str, Word]] = []
    wrong: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0].startswith(";;"):
            continue
        try:
            start_s, duration_s = float(fields[2]), float(fields[3])
            rows.append((fields[0], Word(fields[4], start_s, start_s + duration_s)))
        except (IndexError, ValueError):
            wrong.append(f"line {number}, {_shown(line)}: not `file channel start duration word`")
    recordings = {name for name, _ in rows}
    if len(recordings) > 1 and stem not in recordings:
        wrong.append(f"{len(recordings)} recordings, and none of them is called {stem}")
    return [word for name, word in rows if len(recordings) == 1 or name == stem], wrong
