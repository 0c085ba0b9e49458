"""Streaming with words equals offline: against windows worked out from the final transcript, without a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from doubles.numpy_model import RATE, STEP_HZ
from doubles.text_session import (
    CountingReference,
    CrcPieces,
    TextScheduler,
    clip,
    split_plainly,
    spoken,
    text_contract,
    text_window,
    told,
    word_at,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from affectrt.bundle.contract import Contract
from affectrt.runtime.estimate import Estimate
from affectrt.runtime.session import Session
from affectrt.runtime.words import Word, WordsChunk

SUBSETS = [
    ("video", "audio", "text"),
    ("video", "text"),
    ("audio", "text"),
    ("text",),
]


@dataclass
class Run:
    """One run of the fusion as it was asked for, and the words known at that moment."""

    step: int
    feeds: dict[str, np.ndarray]
    known: list[Word]


@dataclass
class Streamed:
    session: Session
    runs: list[Run] = field(default_factory=list)
    estimates: list[Estimate] = field(default_factory=list)
    emitted_before: dict[int, int] = field(default_factory=dict)
    changes: int = 0
    rows: dict[str, int] = field(default_factory=dict)


def stream(
    c: Contract,
    seconds: float,
    chunks: Sequence[WordsChunk],
    *,
    seed: int,
    hop: int,
    await_words: bool,
    media: Sequence[str] = ("video", "audio"),
    prompt: bool = False,
) -> Streamed:
    """The clip in random pieces, the chunks of words anywhere between them, random requests answered in random order.

    `prompt`: the encoders' requests are answered at once.
    """
    random = np.random.default_rng(seed)
    frames, pts, sound = clip(seconds, seed)
    session = Session(
        c,
        modalities=[*media, "text"],
        hop_steps=hop,
        pieces=CrcPieces(),
        await_words=await_words,  # type: ignore[arg-type]
    )
    got, scheduler, counting = Streamed(session), TextScheduler(c), CountingReference(c)
    known: list[Word] = []
    seen: set[Any] = set()
    at = {"video": 0, "audio": 0, "text": 0}
    size = {"video": len(frames), "audio": len(sound), "text": len(chunks)}
    going = [*media, "text"] if chunks else list(media)

    def look() -> None:
        for request in session.pending():
            if request.stage == "fusion" and request not in seen:
                seen.add(request)
                got.runs.append(Run(request.step, dict(request.feeds), list(known)))

    def count() -> None:
        if c.text is not None:
            counting.now(known, reached(c, media, at, size))

    def answer(requests: list[Any]) -> None:
        session.resolve(requests, scheduler.infer(requests))
        look()
        got.estimates += session.poll()

    while going:
        name = str(random.choice(going))
        begin = at[name]
        if name == "video":
            at[name] += int(random.integers(1, 12))
            session.push_video(frames[begin : at[name]], pts[begin : at[name]])
        elif name == "audio":
            at[name] += int(random.integers(1, 9000))
            session.push_audio(sound[begin : at[name]], begin / RATE)
        else:
            at[name] += 1
            known = [w for w in known if w.start_s < chunks[begin].since_s] + list(chunks[begin].words)
            session.push_words(chunks[begin])
        count()
        look()
        if at[name] >= size[name]:
            going.remove(name)
            session.end(name)
            count()
            look()
        waiting = session.pending()
        if prompt:
            while early := [r for r in session.pending() if r.stage != "fusion"]:
                answer(early)
        else:
            answer([waiting[i] for i in random.permutation(len(waiting))[: random.integers(0, len(waiting) + 1)]])
    while requests := session.pending():
        answer(requests)
    got.changes, got.rows = counting.changes, dict(scheduler.rows)
    return got


def reached(c: Contract, media: Sequence[str], at: dict[str, int], size: dict[str, int]) -> int:
    """Steps that the media pushed so far has decided."""
    used = [name for name in media if name in c.modalities] or list(media)
    ended = all(at[name] >= size[name] for name in used)
    steps = [0]
    if "video" in used:
        steps.append(min(at["video"], size["video"]))
    if "audio" in used:
        pushed = min(at["audio"], size["audio"])
        whole = int(np.floor(pushed * STEP_HZ / RATE + 1e-9))
        if c.audio is None or ended:
            steps.append(whole)
        else:
            steps.append(next(k for k in range(10**6) if c.audio.span_end(k, STEP_HZ) > pushed))
    return max(steps)


def held(c: Contract, last: int) -> list[int]:
    stride = c.fusion.stride_steps
    return list(range(last, -1, -stride))[: c.fusion.window_steps][::-1]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**16),
    modalities=st.sampled_from(SUBSETS),
    seconds=st.sampled_from([0.4, 2.0, 4.4]),
    window=st.integers(2, 40),
    hop_share=st.floats(0, 1),
    max_words=st.sampled_from([3, 12]),
    whole=st.booleans(),
    shape=st.sampled_from([{}, {"anchor": "end"}, {"output": "per_window", "stride": 3}]),
)
def test_streaming_equals_offline_with_words(  # type: ignore[no-untyped-def]
    seed, modalities, seconds, window, hop_share, max_words, whole, shape
) -> None:
    c = text_contract(modalities, window=window, max_words=max_words, **shape)
    hop = 1 + round(hop_share * (c.fusion.span_steps - 1))
    random = np.random.default_rng(seed)
    words = spoken(random, seconds * 1.2)  # longer than the clip
    chunks = [WordsChunk(words, 0.0, np.inf, np.inf)] if whole else told(random, words, seconds * 1.2)
    got = stream(c, seconds, chunks, seed=seed, hop=hop, await_words=True)
    count = round(seconds * STEP_HZ)
    ends = list(range(hop - 1, count, hop))
    if c.fusion.output == "per_step" and (not ends or ends[-1] != count - 1):
        ends.append(count - 1)
    assert [run.step for run in got.runs] == ends
    for run in got.runs:
        assert np.array_equal(run.feeds["text"], text_window(c, words, held(c, run.step)))
    for e in got.estimates:
        step = round(e.t_s * STEP_HZ)
        assert ("text" in e.modalities) == (word_at(step, words) is not None)
        assert e.quality.words_until_s == min(end for end in ends if end >= step) / STEP_HZ
    assert got.session.text_runs == got.session.sentence_changes == got.changes
    assert got.rows.get("text", 0) >= got.changes
    if set(modalities) != {"text"}:
        other = text_contract(set(modalities) - {"text"}, window=window, **shape)
        without = stream(other, seconds, [], seed=seed, hop=hop, await_words=True)
        assert [run.step for run in without.runs] == ends
        for run, alone in zip(got.runs, without.runs, strict=True):
            assert all(np.array_equal(alone.feeds[name], run.feeds[name]) for name in alone.feeds)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**16),
    modalities=st.sampled_from(SUBSETS),
    hop=st.integers(1, 25),
    max_words=st.sampled_from([3, 12]),
    prompt=st.booleans(),
)
def test_late_words_change_only_the_windows_to_come(seed, modalities, hop, max_words, prompt) -> None:  # type: ignore[no-untyped-def]
    c = text_contract(modalities, window=130, max_words=max_words)
    random = np.random.default_rng(seed)
    words = spoken(random, 3.5)
    got = stream(c, 4.0, told(random, words, 3.5), seed=seed, hop=hop, await_words=False, prompt=prompt)
    # Each run saw what was known when it was asked for, no less and no more; its estimates were told once.
    for run in got.runs:
        assert np.array_equal(run.feeds["text"], text_window(c, run.known, held(c, run.step)))
    assert [round(e.t_s * STEP_HZ) for e in got.estimates] == list(range(100))
    assert got.session.text_runs == got.session.sentence_changes == got.changes
    by_step = {run.step: run for run in got.runs}
    for e in got.estimates:
        step = round(e.t_s * STEP_HZ)
        run = by_step[min(end for end in by_step if end >= step)]
        assert ("text" in e.modalities) == (word_at(step, run.known) is not None)


def test_the_reference_can_tell_words_apart() -> None:
    """A reference that gave zeros, or one vector for all words, would prove nothing."""
    c = text_contract(window=60)
    words = [Word("yes", 0.1, 0.3), Word("no.", 0.3, 0.5), Word("yes", 0.9, 1.1)]
    window = text_window(c, words, range(60))
    assert [len(s) for s in split_plainly(words, c)] == [2, 1]
    assert [k for k in range(60) if window[k].any()] == [*range(3, 13), *range(23, 28)]
    assert not np.array_equal(window[3], window[8]) and not np.array_equal(window[3], window[23])


@pytest.mark.parametrize("modalities", SUBSETS)
def test_a_run_waits_for_words_of_a_file_and_not_for_those_of_a_live_stream(modalities: tuple[str, ...]) -> None:
    c = text_contract(modalities, window=20)
    frames, pts, sound = clip(2.0)
    for await_words in (True, False):
        session = Session(
            c,
            modalities=("video", "audio", "text"),
            hop_steps=5,
            pieces=CrcPieces(),
            await_words=await_words,  # type: ignore[arg-type]
        )
        session.push_video(frames, pts)
        session.push_audio(sound, 0.0)
        compute(session)
        assert (session.poll() == []) == await_words
        session.push_words(WordsChunk([Word("yes", 0.2, 0.4)], 0.0, 1.0, 1.0))
        compute(session)
        told_now = session.poll()
        # Steps up to 1 s are final: of a file the four runs of steps 4, 9, 14, 19, and 24 with t = 0.96 s.
        assert [round(e.t_s * STEP_HZ) for e in told_now] == (list(range(25)) if await_words else [])
        session.flush()
        compute(session)
        assert len(session.poll()) == (25 if await_words else 50 - held_back(c))


def held_back(c: Contract) -> int:
    """Steps estimated before the end: sound of a span that looks ahead is awaited."""
    return {True: 40, False: 50}["audio" in c.modalities]


def compute(session: Session) -> None:
    scheduler = TextScheduler(session.contract)
    while requests := session.pending():
        session.resolve(requests, scheduler.infer(requests))
