"""WebVTT and SRT → words: their cues' times, and where a cue has times of its own inside, those."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from affectrt.bundle.errors import MissingDependency

from .word import Word

__all__ = ["spread", "words_from_subtitles"]

_TIME = r"(?:(\d{1,10}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_INSIDE = re.compile(rf"<{_TIME}>")
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
_NOISE = re.compile(r"\[[^\[\]]*\]")


def words_from_subtitles(text: str, form: str) -> tuple[list[Word], list[str]]:
    """The words of `form` "vtt" or "srt", and what is wrong with it. MissingDependency without webvtt-py.

    A cue's words share its time in proportion to their letters; with times inside a cue, the words between two of them
    share what lies between (times that do not advance, or leave the cue, are not looked at). Tags, what stands in
    [square brackets] and signs without a letter or digit are no words. In a file with times inside its cues a line that
    repeats one of the cue before is not said again: captions that roll up show it a second time.
    """
    try:
        import webvtt
        from webvtt.errors import MalformedCaptionError, MalformedFileError
    except ImportError:
        raise MissingDependency(
            "subtitles need the package webvtt-py, which is not installed", fix="pip install 'affectrt[text]'"
        ) from None
    try:
        captions = webvtt.WebVTT.from_buffer(io.StringIO(text.lstrip()), format=form).captions
    except (MalformedFileError, MalformedCaptionError) as error:
        return [], [f"not read as {form.upper()}: {error}"]
    if not captions and "-->" in text:
        return [], ["none of its cues could be read"]
    rolling = form == "vtt" and _INSIDE.search(text) is not None
    words: list[Word] = []
    wrong: list[str] = []
    before: list[str] = []
    for caption in captions:
        start_s, end_s = _seconds(caption.start), _seconds(caption.end)
        if end_s < start_s:
            wrong.append(f"the cue at {caption.start} ends before it begins, at {caption.end}")
            continue
        lines = caption.raw_text.split("\n")
        plain = [" ".join(_plain(line)) for line in lines]
        said = [line for line, bare in zip(lines, plain, strict=True) if not (rolling and bare and bare in before)]
        words += _words_of_cue("\n".join(said), start_s, end_s)
        before = plain
    return words, wrong


def spread(texts: Sequence[str], start_s: float, end_s: float) -> Iterator[Word]:
    """Words that share a stretch of time in proportion to their letters."""
    total = sum(map(len, texts))
    done = 0
    for text in texts:
        first = start_s + (end_s - start_s) * done / total
        done += len(text)
        yield Word(text, first, start_s + (end_s - start_s) * done / total)


def _words_of_cue(raw: str, start_s: float, end_s: float) -> Iterator[Word]:
    since_s, at = start_s, 0
    for match in _INSIDE.finditer(raw):
        until_s = _seconds(match[0][1:-1])
        if not since_s <= until_s <= end_s:
            continue
        yield from spread(_plain(raw[at : match.start()]), since_s, until_s)
        since_s, at = until_s, match.end()
    yield from spread(_plain(raw[at:]), since_s, end_s)


def _plain(raw: str) -> list[str]:
    bare = _NOISE.sub(" ", html.unescape(_TAG.sub("", raw)))
    return [token for token in bare.split() if any(sign.isalnum() for sign in token)]


def _seconds(stamp: Any) -> float:
    match = re.fullmatch(_TIME, str(stamp))
    assert match is not None  # webvtt writes them so
    hours, minutes, seconds, fraction = match.groups()
    return 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds) + int(fraction.ljust(3, "0")) / 1000
