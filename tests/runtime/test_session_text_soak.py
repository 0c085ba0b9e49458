"""Days of speech: memory stays flat whether a transcript becomes final or never does, and a chunk costs little."""

from __future__ import annotations

import gc
import sys
import time

import numpy as np
import pytest
from doubles.text_session import TEXTS, CrcPieces, TextScheduler, text_contract

from affectrt.runtime.session import Session
from affectrt.runtime.words import Word, WordsChunk

SECOND = np.zeros(16_000, np.float32)


def partials(second: int, *, final: bool) -> list[WordsChunk]:
    """Three guesses a second of a sentence of four seconds, of which only the last is right."""
    begin = second - second % 4
    chunks = []
    for third in range(3):
        until = second + (third + 1) / 3
        heard = [begin + k / 3 for k in range(12) if begin + k / 3 < until]
        words = [Word(TEXTS[int(at * 31) % len(TEXTS)], at + 0.02, at + 0.3) for at in heard]
        over = final and second % 4 == 3 and third == 2
        chunks.append(WordsChunk(words, float(begin), until, until if over else float(begin) if final else 0.0))
    return chunks


def soak(seconds: int, *, final: bool) -> None:
    c = text_contract(("video", "audio", "text"), window=50)
    session = Session(c, modalities=("video", "audio", "text"), hop_steps=5, pieces=CrcPieces())  # type: ignore[arg-type]
    scheduler = TextScheduler(c)
    frame = np.zeros((8, 8, 3), np.uint8)
    blocks: list[int] = []
    with_text, pushing_s = 0, 0.0
    for second in range(seconds):
        if second % 100 == 50:
            session.mark_gap("lost")
        session.push_video([frame] * 25, second + np.arange(25) / 25)
        session.push_audio(SECOND, float(second))
        began = time.process_time()
        for chunk in partials(second, final=final):
            session.push_words(chunk)
        pushing_s += time.process_time() - began
        while requests := session.pending():
            session.resolve(requests, scheduler.infer(requests))
        with_text += sum("text" in e.modalities for e in session.poll())
        if (second + 1) % (seconds // 8) == 0:
            gc.collect()
            blocks.append(sys.getallocatedblocks())
    grown = blocks[-1] - blocks[3]
    print(f"{seconds} s: {grown:+d} blocks, {session.text_counters}, {1e6 * pushing_s / seconds / 3:.0f} µs a chunk")
    assert grown < 2000, blocks
    assert with_text > 10 * seconds and session.text_runs == session.sentence_changes > 2 * seconds
    assert pushing_s / seconds < 0.05


def test_a_while_of_speech_that_is_never_final_leaves_nothing_behind() -> None:
    soak(96, final=False)


@pytest.mark.slow
@pytest.mark.parametrize("final", [True, False])
def test_an_hour_of_speech_leaves_nothing_behind(final: bool) -> None:
    soak(3600, final=final)
