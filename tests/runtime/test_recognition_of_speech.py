"""Real recognition, end to end: espeak-ng speaks, PocketSphinx listens, words reach the session.

Nobody is recorded. The figures that these tests print (`-s`) are those of docs/text.md; the bounds are loose.
"""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from doubles.tiny_bundle import make_tiny_bundle, tiny_contract

from affectrt.runtime.live import run_streams
from affectrt.runtime.run import run_bundle
from affectrt.runtime.sources import AudioChunk, WordsChunk, open_source
from affectrt.runtime.words import Word
from affectrt.runtime.words.pocketsphinx import PocketSphinx
from affectrt.runtime.words.spoken import SpokenLive, with_words

pytest.importorskip("pocketsphinx", reason="the recogniser is not installed: pip install 'affectrt[text]'")
pytest.importorskip("jiwer", reason="word error rates need jiwer: pip install 'affectrt[test]'")
if shutil.which("espeak-ng") is None:
    pytest.skip("nobody can speak: sudo apt-get install espeak-ng", allow_module_level=True)

from doubles.kept_sink import Kept
from doubles.speech import SENTENCES, Spoken, error_rate, speak

LENGTHS = (16, 32, 64)


@pytest.fixture(scope="module")
def spoken() -> Spoken:
    return speak(SENTENCES[:2])


def merged(words: list[Word], chunk: WordsChunk) -> list[Word]:
    return [word for word in words if word.start_s < chunk.since_s] + list(chunk.words)


def test_what_is_spoken_in_a_file_is_heard_where_it_was_said(spoken: Spoken, tmp_path: Path) -> None:
    path = spoken.written(tmp_path / "clip.wav")
    contract = tiny_contract(video=False, text_lengths=LENGTHS)
    heard: list[Word] = []
    final_s = 0.0
    began = time.process_time()
    with with_words(open_source(str(path), contract, words_rate_hz=16_000), PocketSphinx()) as source:
        for event in source:
            if isinstance(event, WordsChunk):
                assert final_s <= event.since_s, "what was final changes"
                heard, final_s = merged(heard, event), max(final_s, event.final_s)
    spent = time.process_time() - began
    rate = error_rate(spoken.words, heard)
    # words that were understood, nearest to where they were said
    offsets = [
        min((word.start_s - said.start_s for said in spoken.words if said.text.lower() == word.text), key=abs)
        for word in heard
        if any(said.text.lower() == word.text for said in spoken.words)
    ]
    print(
        f"\nWER {rate:.2f} of {len(spoken.words)} words, CPU {spent / spoken.seconds:.2f} s a second of sound,", end=""
    )
    print(f" offsets: median {np.median(offsets):+.3f} s, worst {max(offsets, key=abs):+.3f} s")
    assert rate < 0.85 and len(offsets) >= 4
    assert abs(float(np.median(offsets))) < 0.15


def test_the_model_s_estimates_know_of_the_words(spoken: Spoken, tmp_path: Path) -> None:
    path = spoken.written(tmp_path / "clip.mkv", frames=True)
    bundle = make_tiny_bundle(tmp_path / "x.affect", text_lengths=LENGTHS)
    sink = Kept()
    source = with_words(open_source(str(path), bundle.contract, words_rate_hz=16_000), PocketSphinx())
    report = run_bundle(bundle, source, [sink])
    spoken_of = [e for e in sink.estimates if "text" in e.modalities]
    assert report.rows["text"] >= 1 and len(spoken_of) > 20
    assert {"video", "audio"} <= set(spoken_of[0].modalities)
    # a file waits for what is final: each final sentence was encoded once, and partial ones were few
    assert report.text["text_runs"] == report.text["sentence_changes"] == report.rows["text"] < 40


@pytest.mark.slow
def test_a_live_source_is_estimated_with_its_words(spoken: Spoken, tmp_path: Path) -> None:
    path = spoken.written(tmp_path / "clip.mkv", frames=True)
    bundle = make_tiny_bundle(tmp_path / "x.affect", text_lengths=LENGTHS)
    sink = Kept()
    live = open_source(str(path), bundle.contract, realtime=True, words_rate_hz=16_000)
    (report,) = run_streams(bundle, [with_words(live, PocketSphinx())], [sink])
    knew = [e.t_s - e.quality.words_until_s for e in sink.estimates if e.quality.words_until_s is not None]
    print(
        f"\nlive: {dict(report.text)} in {spoken.seconds:.1f} s; words were known up to {np.median(knew):.2f} s before "
        f"an estimate (p90 {np.percentile(knew, 90):.2f}); {dict(report.counters)}"
    )
    assert report.text["words_heard"] >= 1 and report.media_s > 0.8 * spoken.seconds
    assert report.text["text_runs"] == report.text["sentence_changes"] == report.rows["text"]
    assert [e.t_s for e in sink.estimates] == sorted(e.t_s for e in sink.estimates)


def lateness(heard: list[Word], chunks: list[tuple[float, WordsChunk]]) -> tuple[str, float, float]:
    """How long after their end words were first known, and final: in words, and the medians, in seconds.

    `chunks` with the moment at which each was told, on media time. A word is known from the first chunk on that has it
    about where it stands at last.
    """
    first: list[float] = []
    final: list[float] = []
    for word in heard:
        same = [
            (at, chunk.final_s >= word.end_s)
            for at, chunk in chunks
            if any(w.text == word.text and abs(w.start_s - word.start_s) < 0.2 for w in chunk.words)
        ]
        first += [at - word.end_s for at, _ in same[:1]]
        final += [at - word.end_s for at, is_final in same if is_final][:1]
    known, fixed = np.percentile(first, (50, 90)), np.percentile(final, (50, 90))
    told = (
        f"first known {known[0]:.2f} s after its end (p90 {known[1]:.2f}), final {fixed[0]:.2f} s (p90 {fixed[1]:.2f})"
    )
    return told, float(known[0]), float(fixed[0])


@pytest.mark.slow
def test_words_are_late_by_the_pause_and_the_decoding_where_a_core_is_free(tmp_path: Path) -> None:
    """On a clock that the recogniser's CPU time moves, so that whoever else computes here changes nothing."""
    spoken = speak(SENTENCES)
    path = spoken.written(tmp_path / "clip.wav")
    contract = tiny_contract(video=False, text_lengths=LENGTHS)
    sphinx = PocketSphinx()
    heard: list[Word] = []
    told: list[tuple[float, WordsChunk]] = []
    now = spent = 0.0
    with open_source(str(path), contract, words_rate_hz=16_000) as source:
        for event in source:
            if isinstance(event, AudioChunk):
                now = max(now, event.pts_s + len(event.samples) / 16_000)
                began = time.thread_time()
                chunks = sphinx.hear(event.samples, event.pts_s)
                took = time.thread_time() - began
                now, spent = now + took, spent + took
                told += [(now, chunk) for chunk in chunks]
                for chunk in chunks:
                    heard = merged(heard, chunk)
    words, known_s, final_s = lateness(heard, told)
    rate = error_rate(spoken.words, heard)
    print(f"\na core of its own: WER {rate:.2f} of {len(spoken.words)} words, {words}, ", end="")
    print(f"{spent / spoken.seconds:.2f} s of CPU a second of sound")
    assert rate < 0.85 and spent < spoken.seconds
    assert 0.2 < known_s < 2.0 and known_s < final_s < 6.0


@pytest.mark.slow
def test_words_of_a_live_source_come_late_and_its_thread_ends(tmp_path: Path) -> None:
    spoken = speak(SENTENCES)
    path = spoken.written(tmp_path / "clip.wav")
    contract = tiny_contract(video=False, text_lengths=LENGTHS)
    before = threading.active_count()
    heard: list[Word] = []
    told: list[tuple[float, WordsChunk]] = []
    with with_words(open_source(str(path), contract, realtime=True, words_rate_hz=16_000), PocketSphinx()) as source:
        assert isinstance(source, SpokenLive)
        while not source.ended:
            event = source.next_event(0.02)
            if isinstance(event, WordsChunk):
                told.append((time.monotonic() - source.epoch_s, event))
                heard = merged(heard, event)
        counted = source.counters()
    assert threading.active_count() == before
    if counted["words_audio_dropped_s"] or counted["words_failed"]:
        pytest.skip(f"no core is free for recognition in real time: {dict(counted)}")
    rate = error_rate(spoken.words, heard)
    words, known_s, final_s = lateness(heard, told)
    print(f"\nlive: WER {rate:.2f}, {words}")
    assert rate < 0.85 and 0.2 < known_s < 4.0 and known_s < final_s < 8.0
