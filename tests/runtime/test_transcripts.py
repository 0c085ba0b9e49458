"""Transcripts of every form: what is read of them, what is left out, and what is refused in one sentence."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from affectrt.bundle.errors import UsageError
from affectrt.runtime.words import Word, WordsChunk
from affectrt.runtime.words.transcript import TranscriptFile, read_transcript, write_transcript

pytest.importorskip("webvtt")


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rounded(words: tuple[Word, ...]) -> list[tuple[str, float, float]]:
    return [(word.text, round(word.start_s, 3), round(word.end_s, 3)) for word in words]


def test_words_of_a_cue_share_its_time_by_their_letters(tmp_path: Path) -> None:
    vtt = "WEBVTT\n\n00:01.000 --> 00:03.000\n<v Ann>It's <i>ab</i>,\nabcd\n\n1:00:00.000 --> 1:00:01.000\nlate\n"
    words = read_transcript(written(tmp_path / "a.vtt", vtt))
    # 4, 3 (its comma counts) and 4 signs of 11
    assert rounded(words) == [
        ("It's", 1.0, 1.727),
        ("ab,", 1.727, 2.273),
        ("abcd", 2.273, 3.0),
        ("late", 3600.0, 3601.0),
    ]
    srt = (
        "1\r\n00:00:01,000 --> 00:00:02,000\r\n- Don't [laughs] {\\an8}go ♪ &amp;\r\n\r\n"
        "2\r\n00:00:03,500 --> 00:00:04,000\r\nJosé Ärger\r\n"
    )
    assert rounded(read_transcript(written(tmp_path / "a.srt", srt))) == [
        ("Don't", 1.0, 1.714),
        ("go", 1.714, 2.0),
        ("José", 3.5, 3.722),
        ("Ärger", 3.722, 4.0),
    ]


def test_times_inside_a_cue_are_kept_and_captions_that_roll_up_are_said_once(tmp_path: Path) -> None:
    vtt = """WEBVTT

00:00:00.160 --> 00:00:02.389 align:start position:0%
{blank}
hello<00:00:00.480><c> world</c><00:00:00.800><c> no</c>

00:00:02.389 --> 00:00:02.399
hello world no

00:00:02.399 --> 00:00:04.000
hello world no
are<00:00:03.000><c> you</c><00:00:02.000><c> here</c>
""".replace("{blank}", " ")
    assert rounded(read_transcript(written(tmp_path / "a.vtt", vtt))) == [
        ("hello", 0.16, 0.48),
        ("world", 0.48, 0.8),
        ("no", 0.8, 2.389),
        ("are", 2.399, 3.0),
        # 2.0 s lies behind 3.0 s: such a time is not looked at
        ("you", 3.0, 3.429),
        ("here", 3.429, 4.0),
    ]
    said_twice = "WEBVTT\n\n00:00.000 --> 00:01.000\nNo.\n\n00:01.000 --> 00:02.000\nNo.\n"
    assert [word.text for word in read_transcript(written(tmp_path / "b.vtt", said_twice))] == ["No.", "No."]


def test_json_is_read_as_whisper_and_vosk_write_it(tmp_path: Path) -> None:
    words = [
        {"word": " Hello,", "start": 0.5, "end": 0.9, "probability": 0.9},
        {"word": "naïve 世界", "start": 1, "end": 2},
    ]
    expected = [("Hello,", 0.5, 0.9), ("naïve", 1.0, 1.714), ("世界", 1.714, 2.0)]
    forms: list[object] = [
        {"words": words},
        words,
        {"result": words, "text": "hello naïve 世界"},
        {"segments": [{"words": words[:1], "text": "x"}, {"words": words[1:]}], "text": "y"},
        [{"result": words[:1]}, {"text": ""}, {"result": words[1:]}],
    ]
    for number, form in enumerate(forms):
        path = written(tmp_path / f"{number}.json", json.dumps(form))
        assert rounded(read_transcript(path)) == expected, form
    assert read_transcript(written(tmp_path / "silent.json", '{"words": []}')) == ()


def test_ctm_is_start_and_duration_in_order_of_time(tmp_path: Path) -> None:
    ctm = ";; NIST\nclip A 1.50 0.40 world 0.98\nclip A 0.5 0.25 hello\nclip A 2.0 0.1 <eps>\nclip A 2.1 0.0 gone\n"
    assert rounded(read_transcript(written(tmp_path / "x.ctm", ctm))) == [("hello", 0.5, 0.75), ("world", 1.5, 1.9)]
    two = "one 1 0.0 0.5 here\ntwo 1 0.0 0.5 there\n"
    assert [word.text for word in read_transcript(written(tmp_path / "two.ctm", two))] == ["there"]
    with pytest.raises(UsageError, match="2 recordings, and none of them is called other"):
        read_transcript(written(tmp_path / "other.ctm", two))


def test_all_times_that_are_no_times_are_told_at_once(tmp_path: Path) -> None:
    rows = [
        '{"word": "nan", "start": NaN, "end": 1}',
        '{"word": "early", "start": -0.5, "end": 1}',
        '{"word": "back", "start": 3, "end": 2}',
        '{"word": "never", "start": 1, "end": 1e300}',
        '{"word": "huge", "start": 1, "end": ' + "9" * 400 + "}",
        '{"word": "text", "start": "1", "end": 2}',
        '{"start": 1, "end": 2}',
        '{"word": "good", "start": 1, "end": 2}',
    ]
    with pytest.raises(UsageError) as told:
        read_transcript(written(tmp_path / "a.json", f"[{','.join(rows)}]"))
    for name in ("nan", "early", "back", "never", "huge", "text", "entry 7"):
        assert name in told.value.found
    assert "good" not in told.value.found and "from 3 to 2 s" in told.value.found
    with pytest.raises(UsageError, match=r"ends before it begins.*00:00:01"):
        read_transcript(written(tmp_path / "a.srt", "1\n00:00:02,000 --> 00:00:01,000\nx\n"))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", b'{"words": [', "not read as JSON"),
        ("a.json", b"[" * 200_000, "not read as JSON"),
        ("a.json", b'{"text": "no times"}', "entry 1 is no object"),
        ("a.json", b'{"segments": [{"start": 0, "end": 1, "text": "hi"}]}', "entry 1 is no object"),
        ("a.vtt", b"hello", "not read as VTT"),
        ("a.vtt", b"WEBVTT\n\n99:99 --> what\nx\n", "none of its cues"),
        ("a.srt", b"", "not read as SRT"),
        ("a.ctm", b"clip A one 0.5 word\nclip\n", "line 1"),
        ("a.vtt", "WEBVTT\n\nüm".encode("latin-1"), "not UTF-8"),
        ("a.json", "[]".encode("utf-16"), "not UTF-8"),
        ("a.txt", b"hello", "is no form of transcript"),
    ],
)
def test_what_is_no_transcript_is_refused_with_its_reason(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    with pytest.raises(UsageError) as error:
        read_transcript(written(tmp_path / name, content))
    assert told in error.value.found and error.value.expected


def test_a_missing_a_huge_and_an_unreadable_file_are_refused_unread(tmp_path: Path) -> None:
    huge = tmp_path / "a.json"
    with huge.open("wb") as file:
        file.truncate(40 << 20)
    with pytest.raises(UsageError, match="40 MiB"):
        read_transcript(huge)
    for path in (tmp_path / "none.vtt", tmp_path / "folder.vtt"):
        (tmp_path / "folder.vtt").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match="is not a file"):
            read_transcript(path)


def test_a_byte_order_mark_is_no_letter(tmp_path: Path) -> None:
    marked = b"\xef\xbb\xbf"
    assert (
        read_transcript(written(tmp_path / "a.json", marked + b'[{"word": "a", "start": 0, "end": 1}]'))[0].text == "a"
    )
    vtt = marked + b"WEBVTT\n\n00:00.000 --> 00:01.000\na\n"
    assert len(read_transcript(written(tmp_path / "a.vtt", vtt))) == 1


def test_what_is_written_is_read_again_and_nothing_half_is_left(tmp_path: Path) -> None:
    words = [Word("don't", 0.1234567, 0.5), Word('"世界"\n', 0.5, 1.0)]
    path = tmp_path / "clip.words.json"
    write_transcript(path, words)
    assert rounded(read_transcript(path)) == [("don't", 0.123, 0.5), ('"世界"', 0.5, 1.0)]
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        write_transcript(path, [Word("nan", math.nan, 1.0)])
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]
    write_transcript(path, [])
    assert read_transcript(path) == ()


def test_a_hundred_thousand_words_are_read_in_seconds(tmp_path: Path) -> None:
    words = [Word(f"word{n}", 0.3 * n, 0.3 * n + 0.25) for n in range(100_000)]
    path = tmp_path / "long.json"
    write_transcript(path, words)
    began = time.process_time()
    assert len(read_transcript(path)) == 100_000
    assert time.process_time() - began < 10


def test_a_transcript_is_told_whole_once_and_needs_no_sound(tmp_path: Path) -> None:
    path = written(tmp_path / "clip.ctm", "clip A 0.5 0.5 hello\n")
    transcript = TranscriptFile(path)
    assert transcript.name == "clip.ctm" and transcript.sample_rate_hz is None
    (chunk,) = transcript.hear(np.zeros(0, np.float32), 0.0)
    assert chunk == WordsChunk((Word("hello", 0.5, 1.0),), 0.0, math.inf, math.inf)
    assert not [*transcript.hear(np.zeros(9, np.float32), 0.0), *transcript.lose(), *transcript.end()]
