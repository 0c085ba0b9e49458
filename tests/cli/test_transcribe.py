"""`affectrt transcribe`: what is said in media becomes transcripts that other commands take."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from doubles.media import write_media
from doubles.punctuation import make_punctuation
from doubles.tiny_bundle import make_tiny_bundle
from doubles.transcribers import Parrot

from affectrt.runtime.sources.file import FileSource
from affectrt.runtime.words import choosing
from affectrt.runtime.words.transcript import read_transcript

from .conftest import Ran

Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    frames = np.full((50, 48, 64, 3), 90, np.uint8)
    write_media(folder / "clip.mkv", frames=frames, samples=np.zeros(96_000, np.float32))
    write_media(folder / "take.2.wav", samples=np.zeros(144_000, np.float32))
    write_media(folder / "mute.mkv", frames=frames[:5])
    return folder


@pytest.fixture
def parrots(monkeypatch: pytest.MonkeyPatch) -> list[Parrot]:
    """Those that were made, in place of PocketSphinx; a second of sound is a word to them."""
    made: list[Parrot] = []

    def make(name: str) -> Parrot | None:
        if name != "pocketsphinx":
            return None
        made.append(Parrot())
        return made[-1]

    monkeypatch.setattr(choosing, "recogniser_named", make)
    return made


def test_a_clip_is_written_down_without_its_pictures(
    run: Run, recordings: Path, tmp_path: Path, parrots: list[Parrot], monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes: list[object] = []
    made = FileSource.__init__

    def watched(self: FileSource, *given: object, **named: object) -> None:
        wishes.append(named)
        made(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(FileSource, "__init__", watched)
    out = tmp_path / "clip.words.json"
    ran = run("transcribe", recordings / "clip.mkv", "--out", out)
    assert (ran.code, ran.out) == (0, f"{out}\n"), ran.err
    assert ran.err == "clip.mkv: 2 words in 2.0 s of sound, by parrot\n"
    assert [word.text for word in read_transcript(out)] == ["word0", "word1"]
    assert wishes == [{"audio_rate_hz": 16_000}] and parrots[0].closed == 1
    assert [path.name for path in tmp_path.iterdir()] == ["clip.words.json"]


def test_several_go_into_a_folder_each_with_a_recogniser_of_its_own(
    run: Run, recordings: Path, tmp_path: Path, parrots: list[Parrot]
) -> None:
    out = tmp_path / "new" / "words"
    ran = run("transcribe", recordings / "take.2.wav", recordings / "clip.mkv", "--out", out, "--quiet")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [str(out / "take.2.words.json"), str(out / "clip.words.json")]
    assert [len(read_transcript(path)) for path in sorted(out.iterdir())] == [2, 3]
    assert len(parrots) == 2


def test_a_run_takes_the_transcript_beside_the_clip(
    run: Run, recordings: Path, tmp_path: Path, parrots: list[Parrot]
) -> None:
    shutil.copy(recordings / "clip.mkv", tmp_path)
    make_tiny_bundle(tmp_path / "my.affect", text_lengths=(16, 32))
    assert run("transcribe", tmp_path / "clip.mkv", "--out", tmp_path).code == 0
    ran = run("run", tmp_path / "my.affect", tmp_path / "clip.mkv", tmp_path / "out.jsonl")
    header, *estimates = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert ran.code == 0 and header["transcriber"] == "clip.words.json"
    assert any("text" in one["modalities"] for one in estimates)


def test_what_exists_stays_unless_it_may_be_replaced(
    run: Run, recordings: Path, tmp_path: Path, parrots: list[Parrot]
) -> None:
    out = tmp_path / "take.2.words.json"
    out.write_text("mine")
    ran = run("transcribe", recordings / "clip.mkv", recordings / "take.2.wav", "--out", tmp_path)
    assert ran.code == 2 and "take.2.words.json" in ran.err and "--overwrite" in ran.err
    assert out.read_text() == "mine" and not parrots, "told before any work"
    assert list(tmp_path.iterdir()) == [out]
    assert run("transcribe", recordings / "take.2.wav", "--out", out, "--overwrite").code == 0
    assert len(read_transcript(out)) == 3


def test_a_transcript_is_whole_or_not_there(
    run: Run, recordings: Path, tmp_path: Path, parrots: list[Parrot], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "a.json"
    out.write_text("mine")
    monkeypatch.setattr(Path, "replace", full)
    assert run("transcribe", recordings / "clip.mkv", "--out", out, "--overwrite").code == 1
    assert out.read_text() == "mine" and list(tmp_path.iterdir()) == [out]


def test_one_recording_that_fails_does_not_keep_the_others_from_their_words(
    run: Run, recordings: Path, tmp_path: Path, parrots: list[Parrot]
) -> None:
    (tmp_path / "torn.wav").write_bytes(b"RIFF")
    media = [tmp_path / "torn.wav", recordings / "mute.mkv", recordings / "clip.mkv"]
    ran = run("transcribe", *media, "--out", tmp_path / "words")
    assert ran.code == 1 and "2 of 3 recordings have no transcript" in ran.err
    assert "torn.wav" in ran.err and "mute.mkv has no audio" in ran.err
    assert ran.out == f"{tmp_path / 'words' / 'clip.words.json'}\n"
    assert run("transcribe", recordings / "mute.mkv", "--out", tmp_path / "words").code == 1


def test_a_recogniser_that_fails_leaves_nothing(
    run: Run, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(call: int) -> None:
        raise RuntimeError("out of breath")

    monkeypatch.setattr(choosing, "recogniser_named", lambda _: Parrot(on_hear=fails))
    ran = run("transcribe", recordings / "clip.mkv", "--out", tmp_path / "words")
    assert ran.code == 1 and "out of breath" in ran.err and "parrot failed" in ran.err
    assert not (tmp_path / "words").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("clip.mkv", "take.2.wav", "--out", "a.json"), "for 2 recordings"),
        (("clip.mkv", "--out", "a.vtt"), "written as JSON"),
        (("clip.mkv", "--out", "mute.mkv"), "is a file"),
        (("clip.mkv", "sub/clip.mkv", "--out", "new"), "would both be"),
        (("none.mkv", "--out", "new"), "does not exist"),
        (("clip.mkv", "--out", "new", "--words", "clip.vtt"), "does not listen"),
        (("clip.mkv", "--out", "new", "--words", "none"), "does not listen"),
        (("clip.mkv", "--out", "new", "--punctuation", "none"), "is no directory"),
        (("clip.mkv",), "--out"),
    ],
)
def test_wrong_use_is_told_before_anything_is_heard(
    run: Run,
    recordings: Path,
    tmp_path: Path,
    parrots: list[Parrot],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    told: str,
) -> None:
    shutil.copytree(recordings, tmp_path / "here")
    (tmp_path / "here" / "sub").mkdir()
    shutil.copy(recordings / "clip.mkv", tmp_path / "here" / "sub")
    monkeypatch.chdir(tmp_path / "here")
    ran = run("transcribe", *words)
    assert ran.code == 2 and told in ran.err and ran.out == ""
    assert not Path("new").exists() and not any(parrot.heard_s for parrot in parrots)


def test_a_corpus_is_transcribed_with_what_is_tested_on(
    run: Run, recordings: Path, tmp_path: Path, parrots: list[Parrot]
) -> None:
    train = tmp_path / "6th_ABAW_Annotations" / "VA" / "train"
    train.mkdir(parents=True)
    (train / "other.txt").touch()
    shutil.copy(recordings / "take.2.wav", tmp_path)
    assert run("transcribe", tmp_path, "--out", tmp_path / "transcripts").code == 0
    assert [path.name for path in (tmp_path / "transcripts").iterdir()] == ["take.2.words.json"]


def test_marks_are_in_the_transcript(run: Run, recordings: Path, tmp_path: Path, parrots: list[Parrot]) -> None:
    pytest.importorskip("transformers", reason="the classifier is one of transformers: pip install 'affectrt[export]'")
    model = make_punctuation(tmp_path / "stops", {"word0": "0", "word1": "?", "word2": "."})
    out = tmp_path / "a.json"
    ran = run("transcribe", recordings / "take.2.wav", "--out", out, "--punctuation", model)
    assert ran.code == 0 and "punctuation by stops" in ran.err
    assert [(w.text, w.start_s) for w in read_transcript(out)] == [("word0", 0.25), ("word1?", 1.25), ("word2.", 2.25)]


def test_what_a_voice_says_is_written_down(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx", reason="the recogniser is not installed: pip install 'affectrt[text]'")
    pytest.importorskip("jiwer", reason="word error rates need jiwer: pip install 'affectrt[test]'")
    if shutil.which("espeak-ng") is None:
        pytest.skip("nobody can speak: sudo apt-get install espeak-ng")
    from doubles.speech import SENTENCES, error_rate, speak

    spoken = speak(SENTENCES[:1])
    out = tmp_path / "said.words.json"
    ran = run("transcribe", spoken.written(tmp_path / "said.wav"), "--out", out)
    assert ran.code == 0 and "by pocketsphinx" in ran.err
    heard = read_transcript(out)
    rate = error_rate(spoken.words, heard)
    print(f"\nWER {rate:.2f} of {len(spoken.words)} words; {[word.text for word in heard]}")
    assert rate < 1 and all(0 <= word.start_s < word.end_s <= spoken.seconds for word in heard)
