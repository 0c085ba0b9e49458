"""`affectrt run --words`: whose words are taken, what is told of it, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from doubles.media import write_media
from doubles.tiny_bundle import make_tiny_bundle, tiny_contract

from affectrt.bundle import MissingDependency, UsageError
from affectrt.runtime.words import choosing
from affectrt.runtime.words.choosing import choose_transcriber, transcript_beside
from affectrt.runtime.words.transcript import TranscriptFile

from .conftest import Ran

Run = Callable[..., Ran]

CTM = "clip 1 0.2 0.5 good\nclip 1 0.8 0.5 größe\nclip 1 100 1 later\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    make_tiny_bundle(folder / "text.affect", text_lengths=(16, 32))
    make_tiny_bundle(folder / "mute.affect")
    frames = np.full((50, 48, 64, 3), 90, np.uint8)
    write_media(folder / "clip.mkv", frames=frames, samples=np.full(96_000, 0.1, np.float32))
    write_media(folder / "silent.mkv", frames=frames)
    (folder / "clip.ctm").write_text(CTM)
    (folder / "other.ctm").write_text(CTM)
    return folder


def records(path: Path) -> tuple[dict[str, object], list[dict[str, object]]]:
    header, *estimates = [json.loads(line) for line in path.read_text().splitlines()]
    return header, estimates


def with_text(estimates: list[dict[str, object]]) -> list[float]:
    return [float(e["t_s"]) for e in estimates if "text" in e["modalities"]]  # type: ignore[arg-type, operator]


@pytest.mark.parametrize("live", [False, True])
def test_a_transcript_beside_the_clip_is_taken_and_named(run: Run, folder: Path, tmp_path: Path, live: bool) -> None:
    out = tmp_path / "out.jsonl"
    ran = run("run", folder / "text.affect", folder / "clip.mkv", out, *(["--realtime"] if live else []))
    assert ran.code == 0, ran.err
    header, estimates = records(out)
    assert header["transcriber"] == "clip.ctm" and "words by clip.ctm" in ran.err
    times = with_text(estimates)
    # 0.2 < t ≤ 0.7 and 0.8 < t ≤ 1.3, at 25 steps a second; what comes after the clip is nobody's
    expected = [round(step / 25, 6) for step in (*range(6, 18), *range(21, 33))]
    # a live run may skip what is late, where no core is free
    assert times == expected if not live else times and set(times) <= set(expected)


def test_words_may_be_left_out_and_a_model_without_text_never_asks(run: Run, folder: Path, tmp_path: Path) -> None:
    for number, bundle in enumerate(("text.affect", "mute.affect")):
        out = tmp_path / f"{number}.jsonl"
        ran = run("run", folder / bundle, folder / "clip.mkv", out, *(["--words", "none"] if not number else []))
        assert ran.code == 0 and "words" not in ran.err
        header, estimates = records(out)
        assert "transcriber" not in header and not with_text(estimates) and len(estimates) == 50


def test_without_transcript_and_recogniser_the_run_goes_on_and_says_so_once(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "find_spec", lambda name: None)
    out = tmp_path / "out.jsonl"
    ran = run("run", folder / "text.affect", folder / "silent.mkv", out)
    assert ran.code == 0 and len(records(out)[1]) == 50
    told = [line for line in ran.err.splitlines() if "no words of silent.mkv" in line]
    assert len(told) == 1 and "pip install 'affectrt[text]'" in told[0]


def test_a_clip_without_sound_has_no_words_of_a_recogniser(run: Run, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    out = tmp_path / "out.jsonl"
    ran = run("run", folder / "text.affect", folder / "silent.mkv", out)
    assert ran.code == 0 and "no sound for pocketsphinx" in ran.err and "words by" not in ran.err
    assert len(records(out)[1]) == 50


def test_explain_names_the_transcriber(run: Run, folder: Path) -> None:
    ran = run("run", folder / "text.affect", folder / "clip.mkv", "--explain")
    assert ran.code == 0 and ran.out.splitlines()[-1] == "words: clip.ctm"
    ran = run("run", folder / "text.affect", folder / "clip.mkv", "--explain", "--words", "none")
    assert ran.out.splitlines()[-1] == "words: none; text is missing"
    assert "words" not in run("run", folder / "mute.affect", folder / "clip.mkv", "--explain").out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("whisper", "is not understood"),
        ("vosk:", "names no model"),
        ("sherpa:nowhere", "has no encoder, decoder, joiner, tokens"),
        ("vosk:nowhere", "is no directory"),
        ("missing.vtt", "is not a file"),
    ],
)
def test_what_is_not_understood_is_wrong_use_and_leaves_no_file(
    run: Run, folder: Path, tmp_path: Path, words: str, told: str
) -> None:
    pytest.importorskip("vosk")
    pytest.importorskip("sherpa_onnx")
    ran = run("run", folder / "text.affect", folder / "clip.mkv", tmp_path / "out.jsonl", "--words", words)
    assert ran.code == 2 and told in ran.err and not list(tmp_path.iterdir())
    assert "Traceback" not in ran.err


def test_a_model_without_text_refuses_words_and_two_sources_one_transcript(run: Run, folder: Path) -> None:
    ran = run("run", folder / "mute.affect", folder / "clip.mkv", "--words", "pocketsphinx")
    assert ran.code == 2 and "takes no words" in ran.err
    clip = folder / "clip.mkv"
    ran = run("run", folder / "text.affect", clip, clip, "--words", folder / "other.ctm")
    assert ran.code == 2 and "for several sources" in ran.err


def test_the_first_of_the_transcripts_beside_a_clip_is_taken(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.touch()
    assert transcript_beside(str(clip)) is None
    for ending in (".srt", ".vtt", ".ctm", ".words.json"):
        (tmp_path / f"clip{ending}").touch()
        assert transcript_beside(str(clip)) == tmp_path / f"clip{ending}"
    assert transcript_beside(f"file://{clip}") == tmp_path / "clip.words.json"
    assert transcript_beside("v4l2:///dev/video0+pulse://") is None and transcript_beside(None) is None


def test_a_recogniser_that_hears_at_another_rate_is_refused(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    contract = tiny_contract(sample_rate_hz=8000, text_lengths=(16,))
    make_tiny_bundle(tmp_path / "x.affect", contract=contract)
    ran = run("run", tmp_path / "x.affect", "test://", "--words", "pocketsphinx", "--explain")
    assert ran.code == 2 and "8000 Hz, the recogniser at 16000 Hz" in ran.err and "--words none" in ran.err


def test_choosing_knows_what_is_not_installed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = tiny_contract(text_lengths=(16,))
    for module in ("pocketsphinx", "sherpa_onnx"):
        monkeypatch.setitem(sys.modules, module, None)
    for words in ("pocketsphinx", f"sherpa:{tmp_path}"):
        with pytest.raises(MissingDependency, match="is not installed"):
            choose_transcriber(words, contract, None)
    assert isinstance(choose_transcriber(str(folder / "other.ctm"), contract, None), TranscriptFile)
    with pytest.raises(UsageError, match="takes no words"):
        choose_transcriber(str(folder / "other.ctm"), tiny_contract(), None)
    assert choose_transcriber("auto", tiny_contract(), None) is None
