"""Recognisers behind the seam: chunks that keep their word about what is final, on the media time of the sound.

Vosk and sherpa-onnx run here without models, which are too large to fetch: doubles with the signatures of the
installed packages stand for them. PocketSphinx is real; what it understands is in test_recognition_of_speech.py.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.recognisers import Kaldi, Transducer, VoskModel, same_signatures

from affectrt.bundle.errors import MissingDependency, UsageError
from affectrt.runtime.words import Word, WordsChunk, vosk
from affectrt.runtime.words.hearing import LONGEST_S, Hearing, pcm_from_samples
from affectrt.runtime.words.pocketsphinx import PocketSphinx
from affectrt.runtime.words.sherpa import Sherpa, model_files
from affectrt.runtime.words.transcriber import Transcriber
from affectrt.runtime.words.vosk import Vosk

RATE = 16_000
SAID = ((("hello", 0.5, 0.9), ("world", 0.9, 1.4)), (("[noise]", 3.0, 3.1), ("again", 3.2, 3.6)))


def heard(transcriber: Transcriber, seconds: float, *, since_s: float = 0.0, chunk: int = 320) -> list[WordsChunk]:
    """What comes of so much silence, which the doubles do not listen to."""
    told: list[WordsChunk] = []
    for at in range(0, round(seconds * RATE), chunk):
        told += transcriber.hear(np.zeros(chunk, np.float32), since_s + at / RATE)
    return told


def transcript(chunks: Sequence[WordsChunk]) -> list[Word]:
    """All chunks applied, in which nothing that was final may change."""
    words: list[Word] = []
    final_s = 0.0
    for chunk in chunks:
        assert final_s <= chunk.since_s <= chunk.until_s and chunk.final_s <= chunk.until_s, chunk
        assert all(word.start_s >= chunk.since_s for word in chunk.words), chunk
        words = [word for word in words if word.start_s < chunk.since_s] + list(chunk.words)
        final_s = max(final_s, chunk.final_s)
    return words


def rounded(words: Sequence[Word]) -> list[tuple[str, float, float]]:
    return [(word.text, round(word.start_s, 2), round(word.end_s, 2)) for word in words]


@pytest.fixture
def kaldi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A model directory, and the double in the real package's place."""
    real = pytest.importorskip("vosk")
    same_signatures(Kaldi, real.KaldiRecognizer)
    assert list(inspect.signature(VoskModel).parameters) == list(inspect.signature(real.Model).parameters)
    monkeypatch.setattr(real, "KaldiRecognizer", Kaldi)
    monkeypatch.setattr(real, "Model", VoskModel)
    monkeypatch.setattr(Kaldi, "script", SAID)
    vosk._model.cache_clear()
    folder = tmp_path / "vosk-model-small-en-us-0.15"
    folder.mkdir()
    return folder


def test_vosk_s_words_come_as_partial_ones_and_then_as_final_ones(kaldi: Path) -> None:
    recogniser = Vosk(kaldi)
    assert recogniser.name == "vosk:vosk-model-small-en-us-0.15"
    chunks = heard(recogniser, 5.0, since_s=100.0)
    first = next(chunk for chunk in chunks if chunk.words)
    assert rounded(first.words) == [("hello", 100.5, 100.9)] and first.final_s < 100.5, "partial"
    chunks += recogniser.end()
    assert rounded(transcript(chunks)) == [("hello", 100.5, 100.9), ("world", 100.9, 101.4), ("again", 103.2, 103.6)]
    assert chunks[-1].until_s == chunks[-1].final_s == math.inf
    partial = [chunk for chunk in chunks if chunk.final_s < chunk.until_s]
    assert 3 <= len(partial) <= 12, "when the words change, and once a second"


def test_vosk_begins_anew_where_sound_was_lost_or_leaps(kaldi: Path) -> None:
    Kaldi.made = 0
    recogniser = Vosk(kaldi)
    chunks = heard(recogniser, 1.0)
    chunks += recogniser.lose()
    assert rounded(transcript(chunks)) == [("hello", 0.5, 0.9), ("world", 0.9, 1.4)], "said before the loss: final"
    chunks += heard(recogniser, 1.0, since_s=10.0)  # its clock is that of the new sound
    chunks += heard(recogniser, 1.0, since_s=20.0)  # a leap, untold
    chunks += recogniser.end()
    assert Kaldi.made == 4
    assert [start for _, start, _ in rounded(transcript(chunks))] == [0.5, 0.9, 10.5, 10.9, 20.5, 20.9]


def test_vosk_without_times_of_partial_words_gives_final_ones(kaldi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Kaldi, "SetPartialWords")
    chunks = heard(Vosk(kaldi), 2.5)
    assert all(chunk.final_s == chunk.until_s for chunk in chunks if chunk.words)
    assert [word.text for word in transcript(chunks)] == ["hello", "world"]


def test_vosk_is_made_to_end_an_utterance_without_a_pause(kaldi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tuple((f"w{n}", n / 2, n / 2 + 0.5) for n in range(100))
    monkeypatch.setattr(Kaldi, "script", (long, long))
    chunks = heard(Vosk(kaldi), 25.0, chunk=1600)
    finals = [chunk for chunk in chunks if chunk.words and chunk.since_s < chunk.final_s == chunk.until_s]
    assert len(finals) == 1 and LONGEST_S <= finals[0].until_s < LONGEST_S + 0.6


def test_one_model_of_vosk_serves_all_streams(kaldi: Path, tmp_path: Path) -> None:
    VoskModel.loaded = 0
    one, other = Vosk(kaldi), Vosk(str(kaldi))
    assert VoskModel.loaded == 1
    one.close()
    assert heard(other, 2.5)
    (tmp_path / "broken").mkdir()
    for name, told in (("broken", "Vosk finds no model"), ("nowhere", "is no directory")):
        with pytest.raises(UsageError, match=told) as error:
            Vosk(tmp_path / name)
        assert "vosk-model-small-en-us-0.15.zip" in str(error.value.fix) and "vosk-model-en-us-0.22" in str(
            error.value.fix
        )


@pytest.fixture
def transducer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    real = pytest.importorskip("sherpa_onnx")
    given = ("create_stream", "is_ready", "decode_stream", "get_result_all", "is_endpoint", "reset")
    for name in given:
        assert list(inspect.signature(getattr(Transducer, name)).parameters) == list(
            inspect.signature(getattr(real.OnlineRecognizer, name)).parameters
        ), name
    assert all(hasattr(real.OnlineStream, name) for name in ("accept_waveform", "input_finished"))
    options = inspect.signature(real.OnlineRecognizer.from_transducer)
    monkeypatch.setattr(real, "OnlineRecognizer", Transducer)
    script = (("▁HE", 0.4), ("LLO", 0.6), (" world", 1.0), ("'", 1.1), ("s", 1.2), (" late", 4.0))
    monkeypatch.setattr(Transducer, "script", script)
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("encoder-epoch-99", "decoder-epoch-99", "joiner-epoch-99"):
        for ending in (".onnx", ".int8.onnx"):
            (folder / (name + ending)).touch()
    (folder / "tokens.txt").touch()
    options.bind(**{name: str(path) for name, path in model_files(folder).items()})
    return folder


def test_sherpa_s_pieces_become_words_with_times(transducer: Path) -> None:
    recogniser = Sherpa(transducer)
    names = {name: Path(str(Transducer.asked[name])).name for name in ("encoder", "decoder", "joiner", "tokens")}
    assert names == {
        "encoder": "encoder-epoch-99.int8.onnx",
        "decoder": "decoder-epoch-99.onnx",
        "joiner": "joiner-epoch-99.int8.onnx",
        "tokens": "tokens.txt",
    }
    chunks = heard(recogniser, 4.2, since_s=50.0)
    assert any(chunk.words and chunk.final_s < chunk.until_s for chunk in chunks), "partial words"
    chunks += recogniser.end()
    assert rounded(transcript(chunks)) == [
        ("hello", 50.4, 50.9),  # 0.3 s beyond its last piece
        ("world's", 51.0, 51.5),
        ("late", 54.0, 54.3),
    ]
    assert chunks[-1].final_s == math.inf


def test_sherpa_begins_anew_after_a_loss(transducer: Path) -> None:
    recogniser = Sherpa(transducer)
    chunks = heard(recogniser, 1.5)
    chunks += recogniser.lose()
    chunks += heard(recogniser, 1.5, since_s=30.0)
    chunks += recogniser.end()
    assert [word.text for word in transcript(chunks)] == ["hello", "world's"] * 2
    assert [round(word.start_s, 1) for word in transcript(chunks)] == [0.4, 1.0, 30.4, 31.0]


def test_a_directory_without_a_transducer_is_told_with_the_download(transducer: Path) -> None:
    (transducer / "tokens.txt").unlink()
    for path in transducer.glob("joiner*"):
        path.unlink()
    with pytest.raises(UsageError, match="no joiner, tokens") as error:
        Sherpa(transducer)
    assert "sherpa-onnx-streaming-zipformer-en-2023-06-26.tar.bz2" in str(error.value.fix)


@pytest.mark.parametrize(
    ("module", "make", "extra"),
    [
        ("pocketsphinx", lambda folder: PocketSphinx(), "text"),
        ("vosk", Vosk, "vosk"),
        ("sherpa_onnx", Sherpa, "sherpa"),
    ],
)
def test_an_absent_package_is_told_with_its_extra(
    module: str, make: Any, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    vosk._model.cache_clear()
    with pytest.raises(MissingDependency) as error:
        make(tmp_path)
    assert error.value.fix == f"pip install 'affectrt[{extra}]'"


def test_samples_become_sixteen_bits_whatever_they_are() -> None:
    samples = np.array([0.0, 1.0, -1.0, 2.0, -np.inf, np.nan, 0.5], np.float32)
    assert np.frombuffer(pcm_from_samples(samples), "<i2").tolist() == [0, 32767, -32767, 32767, -32767, 0, 16383]


def test_a_clock_that_drifts_is_followed_between_utterances_alone() -> None:
    hearing = Hearing(RATE)
    hearing.push(RATE, 5.0, idle=True)
    assert hearing.heard_s == 6.0
    hearing.push(RATE, 6.05, idle=False)
    assert hearing.heard_s == 7.0 and hearing.at(0.0) == 5.0
    hearing.push(RATE, 7.05, idle=True)
    assert hearing.heard_s == pytest.approx(8.05)
    assert hearing.follows(8.1) and not hearing.follows(8.2) and not hearing.follows(7.9)


def test_words_before_what_is_final_are_cut_or_left_out() -> None:
    hearing = Hearing(RATE)
    hearing.push(RATE * 10, 0.0, idle=True)
    hearing.final([Word("one", 1.0, 2.0)], 3.0)
    (chunk,) = hearing.final([Word("gone", 1.0, 2.5), Word("cut", 2.5, 3.5), Word("long", 4.0, 6.0)], 5.0)
    assert chunk == WordsChunk((Word("cut", 3.0, 3.5), Word("long", 4.0, 6.0)), 3.0, 6.0, 6.0)
    assert not hearing.final((), 5.5), "nothing that was final becomes open again"


@pytest.fixture
def sphinx() -> PocketSphinx:
    pytest.importorskip("pocketsphinx")
    return PocketSphinx()


def test_silence_and_noise_become_final_without_words(sphinx: PocketSphinx) -> None:
    chunks = heard(sphinx, 3.0)
    assert transcript(chunks) == [] and chunks[-1].final_s == pytest.approx(2.4, abs=0.4)
    assert len(chunks) < 12, "a few a second"
    chunks += sphinx.lose()
    assert chunks[-1].final_s == pytest.approx(3.0)
    chunks += heard(sphinx, 1.0, since_s=100.0)
    chunks += sphinx.end()
    transcript(chunks)
    assert chunks[-1].final_s == math.inf


@pytest.mark.slow
def test_losses_leave_no_memory_behind(sphinx: PocketSphinx) -> None:
    def resident_mib() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    second = np.arange(RATE // 2) / RATE
    buzz = (0.3 * np.sin(2 * np.pi * 140 * second) * np.sin(2 * np.pi * 4 * second)).astype(np.float32)
    sizes = []
    for number in range(50):
        sphinx.hear(buzz, 2.0 * number)
        sphinx.lose()
        sizes.append(resident_mib())
    assert sizes[-1] - sizes[9] < 20, sizes
