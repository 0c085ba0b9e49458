"""Words that the product's own recogniser hears go where they were said: from speech to the steps of a corpus.

espeak-ng speaks, PocketSphinx listens. The figures that this prints (`-s`) are of a synthetic voice.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from doubles.tiny_bundle import tiny_contract

from affectrt.runtime.sources import WordsChunk, open_source
from affectrt.runtime.words import Word
from affectrt.runtime.words.pocketsphinx import PocketSphinx
from affectrt.runtime.words.spoken import with_words
from affectrt.runtime.words.transcript import write_transcript
from affectrt.training.prepare import Options, prepare
from affectrt.training.prepare.affwild2 import raw_videos
from affectrt.training.prepared import PreparedVideo

pytest.importorskip("pocketsphinx", reason="the recogniser is not installed: pip install 'affectrt[text]'")
pytest.importorskip("jiwer", reason="the sentences need jiwer: pip install 'affectrt[test]'")
if shutil.which("espeak-ng") is None:
    pytest.skip("nobody can speak: sudo apt-get install espeak-ng", allow_module_level=True)

from doubles.speech import SENTENCES, Spoken, speak

pytestmark = pytest.mark.slow

# What 9 of 10 words that were understood keep to; 0.05 s was measured.
TOLERANCE_S = 0.15
HALF_STEP_S = 0.02
# Nearer than this in time a word that was heard may be the one that was said; sentences have no word twice so near.
_SAME_S = 1.0


def heard_in(path: Path) -> list[Word]:
    """The final transcript of a file, as `affectrt run` would have it."""
    words: list[Word] = []
    contract = tiny_contract(text_lengths=(16, 32, 64))
    with with_words(open_source(str(path), contract, words_rate_hz=16_000), PocketSphinx()) as source:
        for event in source:
            if isinstance(event, WordsChunk):
                words = [word for word in words if word.start_s < event.since_s] + list(event.words)
    return words


def matched(said: Sequence[Word], heard: Sequence[Word]) -> list[tuple[Word, Word]]:
    """(said, heard) of the same text, nearest in time, those of the words that were understood."""
    pairs: list[tuple[Word, Word]] = []
    for word in heard:
        same = [s for s in said if s.text.lower() == word.text.lower() and abs(s.start_s - word.start_s) < _SAME_S]
        if same:
            pairs.append((min(same, key=lambda s: abs(s.start_s - word.start_s)), word))
    return pairs


def right_steps(said: Sequence[Word], pairs: Sequence[tuple[Word, Word]], video: PreparedVideo) -> tuple[float, int]:
    """Of the steps at which a word that was understood was said: at what share it is theirs, and how many there are."""
    heard_of = {id(one): heard for one, heard in pairs}
    under = [next((w for w in said if w.start_s < at <= w.end_s), None) for at in video.times_s()]
    own = [(at, heard_of[id(w)]) for at, w in zip(video.times_s(), under, strict=True) if id(w) in heard_of]
    return float(np.mean([heard.start_s < at <= heard.end_s for at, heard in own])), len(own)


@pytest.fixture(scope="module")
def spoken() -> Spoken:
    return speak(SENTENCES)


def test_recognised_words_are_under_the_steps_at_which_they_were_said(spoken: Spoken, tmp_path: Path) -> None:
    root, said = tmp_path / "raw", tmp_path / "said"
    labels = root / "6th_ABAW_Annotations/VA/train"
    for folder in (root / "raw_videos", said, labels):
        folder.mkdir(parents=True)
    clip = spoken.written(root / "raw_videos/clip.mkv", frames=True)
    (labels / "clip.txt").write_text("valence,arousal\n" + "0.1,0.2\n" * round(spoken.seconds * 25))
    write_transcript(said / "clip.json", heard_in(clip))

    corpus = prepare(raw_videos(root, words=said), tmp_path / "out", Options(tiny_contract(), faces="whole")).corpus
    video = corpus.all_videos[0]
    pairs = matched(spoken.words, video.words())
    off = {edge: np.array([getattr(h, edge) - getattr(s, edge) for s, h in pairs]) for edge in ("start_s", "end_s")}
    right, steps = right_steps(spoken.words, pairs, video)
    told = ", ".join(
        f"{edge[:-2]}s {np.median(o):+.3f} s (9 of 10 within {np.percentile(abs(o), 90):.3f} s)"
        for edge, o in off.items()
    )
    print(f"\n{len(pairs)} of {len(spoken.words)} spoken words were heard: {told}; right at ", end="")
    print(f"{right:.1%} of {steps} steps of them", end="")
    assert len(pairs) >= len(spoken.words) // 3
    for offsets in off.values():
        assert abs(np.median(offsets)) < HALF_STEP_S and np.percentile(abs(offsets), 90) < TOLERANCE_S
    assert right > 0.8
    late = [(said, Word(heard.text, heard.start_s + 0.2, heard.end_s + 0.2)) for said, heard in pairs]
    assert right_steps(spoken.words, late, video)[0] < 0.6, "words that come late would not be noticed"
