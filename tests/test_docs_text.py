"""docs/text.md: its commands are understood, and its figures are the code's."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from doubles.media import write_media
from doubles.punctuation import make_punctuation
from doubles.recognisers import Kaldi, Transducer, VoskModel
from doubles.tiny_bundle import make_tiny_bundle
from doubles.transcribers import Parrot

from affectrt.cli.main import main
from affectrt.runtime.words import choosing, hearing, recognition, sherpa, transcript, vosk
from affectrt.runtime.words.choosing import transcript_beside
from affectrt.training import punctuation, punctuation_directory

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "text.md").read_text(encoding="utf-8")
LINES = [
    line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
TRANSCRIPTIONS = [shlex.split(line, comments=True)[1:] for line in LINES if line.startswith("affectrt transcribe ")]
COMMANDS = [shlex.split(line, comments=True)[1:] for line in LINES if line.startswith("affectrt run ")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A model of text, a clip with subtitles, and directories such as the page's downloads leave; no real model."""
    monkeypatch.setattr(pytest.importorskip("vosk"), "KaldiRecognizer", Kaldi)
    monkeypatch.setattr(pytest.importorskip("vosk"), "Model", VoskModel)
    monkeypatch.setattr(pytest.importorskip("sherpa_onnx"), "OnlineRecognizer", Transducer)
    vosk._model.cache_clear()
    make_tiny_bundle(tmp_path / "my.affect", text_lengths=(16, 32))
    write_media(
        tmp_path / "clip.mp4", frames=np.full((50, 48, 64, 3), 90, np.uint8), samples=np.zeros(96_000, np.float32)
    )
    (tmp_path / "clip.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nvery good\n")
    (tmp_path / "vosk-model-small-en-us-0.15").mkdir()
    model = tmp_path / "sherpa-onnx-streaming-zipformer-en-2023-06-26"
    model.mkdir()
    for name in ("encoder-a.onnx", "decoder-a.onnx", "joiner-a.onnx", "tokens.txt"):
        (model / name).touch()
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def test_every_command_says_whose_words_it_takes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pocketsphinx")
    assert len(COMMANDS) >= 7
    named = []
    for words in COMMANDS:
        assert main([*words, *([] if "--explain" in words else ["--explain"])]) == 0, words
        named.append(capsys.readouterr().out.splitlines()[-1].removeprefix("words: "))
    assert named == [
        "clip.vtt",
        "clip.vtt",
        "pocketsphinx",
        "vosk:vosk-model-small-en-us-0.15",
        "sherpa:sherpa-onnx-streaming-zipformer-en-2023-06-26",
        "none; text is missing",
        "clip.vtt",
    ]


def test_commands_on_the_clip_leave_estimates(folder: Path) -> None:
    for words in COMMANDS:
        if words[2] == "clip.mp4" and "--explain" not in words and "sherpa" not in words[-1]:
            assert main([*words, "--overwrite", "--quiet"]) == 0, words
            lines = (folder / "out.jsonl").read_text().splitlines()
            assert len(lines) == 51 and ('"text"' in "".join(lines[1:])) == (words[-1] != "none"), words


def test_transcriptions_are_written_where_the_page_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers", reason="the classifier is one of transformers: pip install 'affectrt[export]'")
    monkeypatch.setattr(choosing, "PocketSphinx", Parrot)
    shutil.copy(folder / "clip.mp4", folder / "other.mp4")
    make_punctuation(folder / "fullstop-punctuation-multilang-large", {"word0": "?"})
    assert len(TRANSCRIPTIONS) == 4
    for words in TRANSCRIPTIONS:
        assert main([*words, "--quiet"]) == 0, words
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.words.json"))
    in_folders = ["marked/clip", "vosk/clip", "words/clip", "words/other"]
    assert written == [f"{name}.words.json" for name in ("clip", *in_folders)]
    first, *_ = transcript.read_transcript(folder / "marked" / "clip.words.json")
    assert first.text == "word0?"
    assert transcript_beside("clip.mp4") == Path("clip.words.json")


def test_every_kind_of_words_is_in_the_table() -> None:
    table = PAGE.partition("## Where words come from")[2].partition("\nModels")[0]
    named = re.findall(
        r"`([^`]+)`",
        "".join(
            row.split("|")[1] for row in table.splitlines() if row.startswith("| `") and "--" not in row.split("|")[1]
        ),
    )
    asked = re.findall(r"(?:FILE\.\w+|pocketsphinx|\w+:DIR)", choosing._FORMS)
    assert sorted(named) == sorted(asked)


def test_downloads_and_figures_of_the_page_are_the_code_s() -> None:
    for address in re.findall(r"https://\S+?\.(?:zip|tar\.bz2)", vosk._MODELS + sherpa._MODEL):
        assert address in PAGE
    assert "vosk-model-en-us-0.22.zip" in vosk._MODELS
    assert hearing.LONGEST_S == 20 and "no pause for 20 s" in PAGE
    assert hearing._TREMBLE_S == 0.1 and "leaps by more than 0.1 s" in PAGE
    assert recognition.MAX_WAITING_S == recognition.STALL_S == 5 and "hangs for 5 s" in PAGE
    assert punctuation.WINDOW_WORDS == 230 and "windows of 230 words" in PAGE
    assert punctuation.OVERLAP_WORDS == 20 and "overlap by 20" in PAGE and "ten or more words around it" in PAGE
    assert set("0.,?!:;-") == punctuation_directory._KNOWN_LABELS and "`0 . , ? ! : ; -`" in PAGE
    assert transcript._MAX_BYTES == 32 << 20 and "above 32 MiB" in PAGE
    beside = re.findall(r"`clip(\.\S+)`", PAGE.partition("is the default:")[2].partition("beside")[0])
    assert tuple(beside) == choosing._BESIDE


def test_the_page_s_links_exist() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).is_file(), link
