"""Sources that carry words: in step of a file, late of a live one, and never the reason that a run ends."""

from __future__ import annotations

import gc
import logging
import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.live_source import Clock, LiveDouble
from doubles.transcribers import Parrot

from affectrt.runtime.sources import AudioChunk, Event, Gap, MemorySource, StreamEnd, VideoChunk, WordsChunk
from affectrt.runtime.stream import is_live
from affectrt.runtime.words import Word, recognition
from affectrt.runtime.words.recognition import Threaded
from affectrt.runtime.words.spoken import with_words
from affectrt.runtime.words.transcript import TranscriptFile

RATE = 16_000


def clip(seconds: float = 3.0, *, audio: bool = True) -> MemorySource:
    frames = np.zeros((round(10 * seconds), 8, 8, 3), np.uint8)
    sound = np.zeros(round(RATE * seconds), np.float32) if audio else None
    return MemorySource.from_arrays(frames=frames, pts_s=np.arange(len(frames)) / 10, samples=sound)


def texts(events: Sequence[Event]) -> list[str]:
    return [word.text for event in events if isinstance(event, WordsChunk) for word in event.words]


def ends(events: Sequence[Event]) -> list[str]:
    return [event.modality for event in events if isinstance(event, StreamEnd)]


def read(source: Any, *, pause_s: float = 0.0, limit_s: float = 20.0) -> list[Event]:
    """Everything of a live source, as a run reads it."""
    events: list[Event] = []
    until = time.monotonic() + limit_s
    while not source.ended:
        assert time.monotonic() < until, "the source never ends"
        event = source.next_event(0.01)
        if event is not None:
            events.append(event)
            time.sleep(pause_s if isinstance(event, AudioChunk) else 0)
    return events


def test_a_file_s_words_come_in_step_with_its_sound_and_nothing_is_lost() -> None:
    plain = list(clip())
    parrot = Parrot()
    with with_words(clip(), parrot) as source:
        assert not is_live(source) and source.name == "memory"
        assert source.modalities == {"video", "audio", "text"}
        assert source.duration_s == clip().duration_s
        events = list(source)
    others = [e for e in events if not isinstance(e, WordsChunk) and e != StreamEnd("text")]
    assert len(others) == len(plain) and [type(e) for e in others] == [type(e) for e in plain]
    assert texts(events) == ["word0", "word1", "word2"]
    assert sorted(ends(events)) == ["audio", "text", "video"]
    assert parrot.threads == {threading.get_ident()} and parrot.closed == 1 and parrot.losses == 0
    for at, event in enumerate(events):
        if isinstance(event, WordsChunk) and event.final_s < math.inf:
            heard = max(e.pts_s + len(e.samples) / RATE for e in events[:at] if isinstance(e, AudioChunk))
            assert event.final_s <= heard < event.final_s + 0.1
    final = [event for event in events if isinstance(event, WordsChunk)][-1]
    assert final.until_s == final.final_s == math.inf


def test_a_source_without_sound_has_words_of_a_transcript_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parrot = Parrot()
    with with_words(clip(audio=False), parrot) as source:
        assert source.modalities == {"video"}
        assert ends(list(source)) == ["video"]
    assert "no sound for parrot" in caplog.text and parrot.closed == 1
    # longer than the clip: all of it is told, and the session takes what lies in the media
    path = tmp_path / "x.ctm"
    path.write_text("x 1 0.5 0.5 hello\nx 1 3600 1 later\n")
    with with_words(clip(audio=False), TranscriptFile(path)) as source:
        assert source.modalities == {"video", "text"}
        events = list(source)
    assert texts(events[:1]) == ["hello", "later"] and sorted(ends(events)) == ["text", "video"]


def test_a_stopped_file_ends_without_waiting_for_the_recogniser() -> None:
    with with_words(clip(), Parrot()) as source:
        events = []
        for event in source:
            events.append(event)
            source.stop()
    assert "text" not in ends(events) and source.outcome.kinds == ("stopped",)


def misbehaving(kind: str, released: threading.Event) -> Parrot:
    """Fails at the 20th piece of sound, of half a second or so."""

    def on_hear(number: int) -> Any:
        if number < 20:
            return None
        if kind == "crash":
            raise RuntimeError("the decoder is broken")
        if kind == "stall":
            released.wait(60)
        return {
            "garbage": [None],
            "no words": [WordsChunk(["x"], 0, 1, 1)],
            "nan": [WordsChunk((), math.nan, 1, 1)],
        }.get(kind)  # type: ignore[list-item]

    return Parrot(on_hear=on_hear)


@pytest.mark.parametrize("kind", ["crash", "garbage", "no words", "nan", "stall"])
@pytest.mark.parametrize("live", [False, True])
def test_a_recogniser_that_fails_ends_text_alone_and_is_told_once(
    kind: str, live: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "stall" and not live:
        pytest.skip("a file waits for its recogniser, however long that takes")
    monkeypatch.setattr(recognition, "STALL_S", 0.3)
    released = threading.Event()
    before = threading.active_count()
    parrot = misbehaving(kind, released)
    clock = Clock()
    inner: Any = LiveDouble(clock, seconds=6, name="live") if live else clip(20.0)
    with caplog.at_level(logging.WARNING), with_words(inner, parrot) as source:
        events = read(source, pause_s=0.001) if live else list(source)
        counted = source.counters() if live else {}
    assert sorted(ends(events)) == ["audio", "text", "video"]
    assert sum(isinstance(e, VideoChunk) for e in events) > 100 or live
    if live:
        assert counted["words_failed"] == 1
    told = [record.message for record in caplog.records if "no more words of parrot" in record.message]
    assert len(told) == 1, caplog.text
    released.set()
    until = time.monotonic() + 3
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == before and parrot.closed == 1


def test_words_of_a_live_source_come_from_a_thread_that_ends_with_it() -> None:
    before = threading.active_count()
    parrot = Parrot(text="größe-")
    clock = Clock()
    inner = LiveDouble(clock, seconds=6, name="camera")
    with with_words(inner, parrot) as source:
        assert is_live(source) and source.epoch_s == inner.epoch_s and source.name == "camera"
        assert source.modalities == {"video", "audio", "text"} and source.duration_s is None
        events = read(source, pause_s=0.001)
        assert {"words_audio_dropped_s": 0.0, "words_failed": 0}.items() <= source.counters().items()
        assert "frames_in" in source.counters()
    assert texts(events) == [f"größe-{n}" for n in range(6)]
    assert sorted(ends(events)) == ["audio", "text", "video"] and source.ended
    assert threading.get_ident() not in parrot.threads and parrot.closed == 1
    assert threading.active_count() == before and (inner.entered, inner.left) == (1, 1)


def test_a_recogniser_that_falls_behind_skips_sound_and_is_told_so() -> None:
    released = threading.Event()
    began = threading.Event()

    def on_hear(number: int) -> None:
        began.set()
        released.wait(30)

    parrot = Parrot(on_hear=on_hear)
    heard = Threaded(parrot, RATE)
    second = np.zeros(RATE, np.float32)
    heard.hear(second, 0.0)
    assert began.wait(5)
    for at in range(1, 13):
        heard.hear(second, float(at))
    # the first is being heard; 5 s were skipped, then 5 s again, 2 s wait
    assert heard.dropped_s == 10.0 and heard._waiting_s == 2.0
    released.set()
    heard.finish()
    said: list[str] = []
    until = time.monotonic() + 5
    while not heard.over and time.monotonic() < until:
        chunk = heard.take()
        said += [word.text for word in chunk.words] if chunk is not None else []
        time.sleep(0.001)
    heard.close()
    assert parrot.losses == 1 and not heard.failed
    assert said[0] == "word0" and said[-1] == "word12"


def test_what_the_recogniser_is_not_done_with_at_the_end_is_given_five_seconds() -> None:
    released = threading.Event()
    clock = Clock()
    heard = Threaded(Parrot(on_hear=lambda number: released.wait(30) and None), RATE, clock)
    heard.hear(np.zeros(RATE, np.float32), 0.0)
    heard.finish()
    clock.spend(4.9)
    assert heard.take() is None and not heard.over
    clock.spend(0.2)
    assert heard.take() is None and heard.over and heard.failed
    began = time.monotonic()
    heard.close()
    assert time.monotonic() - began < 1, "what hangs is left behind"
    released.set()


def test_fifty_gaps_leave_no_threads_and_no_sound_behind() -> None:
    clock = Clock()
    gaps = [(2.0 * n + 1, 2.0 * n + 1.5, "lost") for n in range(50)]
    parrot = Parrot()
    before = threading.active_count()
    with with_words(LiveDouble(clock, seconds=104, gaps=gaps, video=False), parrot) as source:
        most, count, sizes = 0, 0, []
        while not source.ended:
            event = source.next_event(0.01)
            most = max(most, threading.active_count())
            count += isinstance(event, Gap)
            if isinstance(event, Gap) and count in (10, 50):
                gc.collect()
                sizes.append(len(gc.get_objects()))
    assert most == before + 1 and threading.active_count() == before
    # gaps that come while it is busy are one to it
    assert count == 50 and 0 < parrot.losses <= 50
    assert sizes[1] < sizes[0] + 2000


def test_the_times_of_words_are_the_session_s_affair() -> None:
    """Nonsense in a word's times is no fault of the source: every rule about it is the session's."""
    words = [Word("nan", math.nan, 1.0), Word("back", 3.0, 2.0), Word("far", 1e12, 1e13)]
    parrot = Parrot(on_hear=lambda number: [WordsChunk(words, 0.0, 1.0, 1.0)] if number == 1 else None)
    with with_words(clip(1.0), parrot) as source:
        assert texts(list(source))[:3] == ["nan", "back", "far"]
