"""Real recognition, end to end: espeak-ng speaks, PocketSphinx listens, words reach the session.

Nobody is recorded, and a synthetic voice is harder for PocketSphinx than a person's clear one: the figures that these
tests print are those of docs/text.md, the bounds are loose.
"""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from doubles.tiny_bundle import make_tiny_bundle, tiny_contract

from affectrt.runtime.run import run_bundle
from affectrt.runtime.sources import WordsChunk, open_source
from affectrt.runtime.words import Word
from affectrt.runtime.words.pocketsphinx import PocketSphinx
from affectrt.runtime.words.spoken import with_words

pytest.importorskip("pocketsphinx", reason="the recogniser is not installed: pip install 'affectrt[text]'")
pytest.importorskip("jiwer", reason="word error rates need jiwer: pip install 'affectrt[test]'")
if shutil.which("espeak-ng") is None:
    pytest.skip("nobody can speak: sudo apt-get install espeak-ng", allow_module_level=True)

from doubles.kept_sink import Kept
from doubles.speech import SENTENCES, Spoken, error_rate, speak

LENGTHS = (16, 32, 64)


@pytest.fixture(scope="module")
def spoken() -> Spoken:
    return speak(SENTENCES[:4])


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
    assert rate < 0.85 and len(offsets) >= 5
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
    assert report.rows["text"] < 40


@pytest.mark.slow
def test_words_of_a_live_source_come_late_by_what_the_recogniser_needs(tmp_path: Path) -> None:
    spoken = speak(SENTENCES)
    path = spoken.written(tmp_path / "clip.wav")
    contract = tiny_contract(video=False, text_lengths=LENGTHS)
    before = threading.active_count()
    heard: list[Word] = []
    first_known: dict[tuple[str, int], float] = {}
    final_late: list[float] = []
    cpu = time.process_time()
    with with_words(open_source(str(path), contract, realtime=True, words_rate_hz=16_000), PocketSphinx()) as source:
        while not source.ended:
            event = source.next_event(0.02)
            if isinstance(event, WordsChunk):
                now = time.monotonic() - source.epoch_s
                heard = merged(heard, event)
                for word in event.words:
                    first_known.setdefault((word.text, round(word.start_s / 0.2)), now)
                    if event.since_s < event.final_s == event.until_s < float("inf"):
                        final_late.append(now - word.end_s)
        counted = source.counters()
    cpu = (time.process_time() - cpu) / spoken.seconds
    rate = error_rate(spoken.words, heard)
    late = [first_known[key] - w.end_s for w in heard if (key := (w.text, round(w.start_s / 0.2))) in first_known]
    known, final = np.percentile(late, (50, 90)), np.percentile(final_late, (50, 90))
    print(f"\nlive: WER {rate:.2f}, first known {known[0]:.2f} s after its end (p90 {known[1]:.2f}), ", end="")
    print(f"final {final[0]:.2f} s (p90 {final[1]:.2f}), CPU {cpu:.2f}, {dict(counted)}")
    assert counted["words_failed"] == 0
    assert rate < 0.85 and threading.active_count() == before
    assert -0.2 < float(np.median(late)) < 3.0 and float(np.median(final_late)) < 8.0
