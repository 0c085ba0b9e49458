"""What a session does with words that are missing, wrong, late, far too many, or beyond a gap."""

from __future__ import annotations

import math
import time
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from doubles.numpy_model import RATE, STEP_HZ
from doubles.text_session import CrcPieces, TextScheduler, clip, text_contract, text_window

from affectrt.bundle.errors import MediaError
from affectrt.runtime.session import Session
from affectrt.runtime.words import Word, WordsChunk

INF, NAN = math.inf, math.nan


def session_of(modalities: Sequence[str] = ("video", "audio", "text"), *, window: int = 30, **more: object) -> Session:
    c = text_contract(modalities, window=window)
    given = {"hop_steps": 5, "pieces": CrcPieces(), "await_words": True, **more}
    return Session(c, modalities=("video", "audio", "text"), **given)  # type: ignore[arg-type]


def push_media(session: Session, begin_s: float, end_s: float) -> None:
    frames, _, sound = clip(end_s - begin_s)
    session.push_video(frames, begin_s + np.arange(len(frames)) / STEP_HZ)
    session.push_audio(sound, begin_s)


def compute(session: Session) -> dict[int, np.ndarray]:
    """Answers everything; gives the text windows of the runs by step."""
    windows, scheduler = {}, TextScheduler(session.contract)
    while requests := session.pending():
        windows.update({r.step: r.feeds["text"] for r in requests if r.stage == "fusion"})
        session.resolve(requests, scheduler.infer(requests))
    return windows


def whole(words: Sequence[Word]) -> WordsChunk:
    return WordsChunk(words, 0.0, INF, INF)


def steps(last: int, window: int = 30, begin: int = 0) -> range:
    return range(max(begin, last - window + 1), last + 1)


GOOD = [Word("yes", 0.1, 0.3), Word("no.", 0.5, 0.9), Word("so", 1.2, 1.5)]


def test_words_that_are_no_words_are_left_out_and_the_others_put_right() -> None:
    garbage = [
        Word("", 0.31, 0.4),
        Word(" \t", 0.31, 0.4),
        Word("nan", NAN, 0.4),
        Word("endless", 0.31, INF),
        Word("never", -INF, 0.4),
        Word("backwards", 0.4, 0.31),
        Word("nothing", 0.4, 0.4),
        Word("before", -2.0, -1.0),
        Word("never", 1e12, 1e12 + 1),
    ]
    session = session_of()
    session.push_words(
        whole([GOOD[2], *garbage, GOOD[0], GOOD[1], Word("long" * 99, 1.6, 1e6), Word("\ud800", 1.8, 2.0)])
    )
    session.push_words(WordsChunk(garbage, NAN, NAN, NAN))
    session.push_words(WordsChunk(garbage, -INF, -INF, -INF))
    session.push_words(WordsChunk([Word("late", 0.2, 0.4)], 0.0, 5.0, 1.0))
    push_media(session, 0.0, 2.0)
    session.flush()
    windows = compute(session)
    mended = [*GOOD, Word(("long" * 99)[:100], 1.6, 11.6), Word("?", 1.8, 2.0)]
    assert np.array_equal(windows[49], text_window(session.contract, mended, steps(49)))
    assert len(session.poll()) == 50


def test_a_word_that_begins_below_zero_begins_at_zero() -> None:
    session = session_of()
    session.push_words(whole([Word("yes", -0.5, 0.2)]))
    push_media(session, 0.0, 1.0)
    session.flush()
    assert np.array_equal(compute(session)[4], text_window(session.contract, [Word("yes", 0.0, 0.2)], steps(4)))


def test_after_a_gap_the_words_begin_anew_and_those_of_the_file_that_lie_ahead_are_still_known() -> None:
    words = [Word("yes", 0.1, 0.9), Word("so", 0.95, 1.3), Word("là", 1.35, 2.9), Word("I", 3.1, 3.3)]
    session = session_of()
    session.push_words(whole(words))
    push_media(session, 0.0, 1.0)
    session.mark_gap("lost")
    push_media(session, 3.0, 4.0)
    session.flush()
    windows = compute(session)
    # The sentence of the first segment is encoded whole, though it ends in the gap.
    assert np.array_equal(windows[24], text_window(session.contract, words, steps(24)))
    second = text_window(text_contract(window=100), words[3:], range(100))[75:100]
    assert np.array_equal(windows[99][:25], second) and not windows[99][25:].any()
    assert session.text_runs == session.sentence_changes == 2


def test_the_file_s_words_of_before_a_gap_are_awaited_and_those_of_a_live_stream_are_not() -> None:
    for await_words in (True, False):
        session = session_of(await_words=await_words)
        push_media(session, 0.0, 1.0)
        session.mark_gap("lost")
        early = compute(session)
        session.push_words(WordsChunk([GOOD[0], GOOD[1]], 0.0, 1.0, 1.0))
        push_media(session, 3.0, 4.0)
        session.end("text")
        session.flush()
        windows = {**compute(session), **early}
        awaited = text_window(session.contract, GOOD[:2], steps(24))
        assert awaited.any() and np.array_equal(windows[24], awaited if await_words else 0 * awaited)
        assert not windows[99].any()
        told = session.poll()
        assert [round(e.t_s * STEP_HZ) for e in told] == [*range(25), *range(75, 100)]


@pytest.mark.parametrize("end_first", [True, False])
def test_an_empty_transcript_is_a_stream_without_words(end_first: bool) -> None:
    session = session_of()
    if end_first:
        session.end("text")
    push_media(session, 0.0, 1.0)
    if not end_first:
        session.push_words(whole([]))
    session.flush()
    windows = compute(session)
    assert windows and not any(window.any() for window in windows.values())
    told = session.poll()
    assert len(told) == 25 and {e.modalities for e in told} == {("video", "audio")}
    assert {e.quality.words_until_s for e in told} == (
        {0.0} if end_first else {k / STEP_HZ for k in (4, 9, 14, 19, 24)}
    )
    assert session.text_counters == {"text_runs": 0, "sentence_changes": 0, "words_heard": 0}


def test_of_a_transcript_longer_than_the_clip_only_what_the_clip_comes_to_is_encoded() -> None:
    words = [Word("yes.", at / 2 + 0.01, at / 2 + 0.3) for at in range(2000)]
    session = session_of()
    session.push_words(whole(words))
    push_media(session, 0.0, 2.0)
    session.flush()
    windows = compute(session)
    assert np.array_equal(windows[49], text_window(session.contract, words[:5], steps(49)))
    assert session.text_runs == 4 == session.text_counters["words_heard"]


def test_ten_thousand_words_cost_little_time_and_memory() -> None:
    words = [Word(f"w{at % 50}", at * 0.4, at * 0.4 + 0.3) for at in range(10_000)]
    tracemalloc.start()
    session = session_of(("audio", "text"))
    began = time.process_time()
    session.push_words(whole(words))
    took = time.process_time() - began
    session.push_audio(np.zeros(4 * RATE, np.float32), 0.0)
    windows = compute(session)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert session.text_runs == 2 and windows
    print(f"{took:.2f} s, {peak / 2**20:.1f} MiB at most")
    assert took < 5 and peak < 40 << 20


def test_a_transcript_that_is_never_final_is_awaited_for_two_minutes_of_media() -> None:
    session = session_of(("audio", "text"))
    silence = np.zeros(RATE, np.float32)
    heard = [Word("yes", 0.1, 0.5)]
    for second in range(125):
        session.push_words(WordsChunk(heard, 0.0, second + 1.0, 0.0))
        session.push_audio(silence, float(second))
        windows = compute(session)
        assert bool(windows) == (second > 120), second
    session.push_words(WordsChunk([Word("no", 0.1, 0.5)], 0.0, 125.0, 0.0))
    assert session.text_runs == 1, "what lies so far back does not change any more"


def test_text_is_missing_where_the_model_the_source_or_the_pieces_lack_it() -> None:
    for given in ({"pieces": None}, {"modalities": ("video", "audio")}):
        c = text_contract(window=30)
        session = Session(c, **{"modalities": ("video", "audio", "text"), "pieces": CrcPieces(), **given})  # type: ignore[arg-type]
        session.push_words(whole(GOOD))
        push_media(session, 0.0, 1.0)
        session.flush()
        assert not compute(session)[24].any()
        assert {e.quality.words_until_s for e in session.poll()} == {None} and session.text_counters == {}
    with pytest.raises(MediaError, match="the model takes text"):
        Session(text_contract(("text",)), modalities=("video", "text"))


def test_the_voice_alone_says_what_its_words_say() -> None:
    session = session_of(("video", "text"), found_faces=True, await_words=False)
    frames, pts, _ = clip(2.0)
    session.push_words(whole(GOOD))
    session.push_video(frames, pts, [[] for _ in frames])
    session.flush()
    compute(session)
    told = session.poll()
    assert {e.track for e in told} == {-1} and {e.modalities for e in told} == {("text",)}
    assert [round(e.t_s * STEP_HZ) for e in told] == [*range(3, 8), *range(13, 23), *range(31, 38)]
