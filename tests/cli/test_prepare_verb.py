"""`affectrt prepare`: the good way, its page and its sheet, and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from doubles.media import write_media
from doubles.raw_recola import write_recola
from doubles.tiny_bundle import make_tiny_bundle

from affectrt.training.prepared import PreparedCorpus


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    root = tmp_path / "raw"
    root.mkdir()
    rng = np.random.default_rng(3)
    for name in ("one", "two"):
        frames = rng.integers(0, 255, (20, 32, 32, 3), np.uint8)
        write_media(root / f"{name}.mp4", frames=frames, samples=np.zeros(38_400, np.float32))
        lines = "\n".join(f"{i / 25},{i / 50},0.{i % 10}" for i in range(15))
        (root / f"{name}.csv").write_text(f"time,valence,arousal\n{lines}\n")
    (root / "videos.csv").write_text("video,person,split\none,ann,train\ntwo,<b>bo</b>,test\n")
    return root


def test_own_recordings_become_a_corpus_a_page_and_a_sheet(
    run: Callable[..., object], raw: Path, tmp_path: Path
) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny.affect")
    page, sheet = tmp_path / "page.html", tmp_path / "faces.png"
    line = (
        "prepare",
        "folder",
        raw,
        "--out",
        tmp_path / "corpus",
        "--for",
        bundle.path,
        "--faces",
        "whole",
        "--workers",
        "1",
        "--report",
        page,
        "--sheet",
        sheet,
        "--per-video",
        "4",
    )
    ran = run(*line)
    assert ran.code == 0, ran.err  # type: ignore[attr-defined]
    assert "train       1 videos, 20 steps, 85.0 % annotated, 100.0 % with a face" in ran.out  # type: ignore[attr-defined]
    corpus = PreparedCorpus.open(tmp_path / "corpus", thorough=True)
    assert corpus.splits == ("train", "test")
    told = page.read_text()
    assert corpus.fingerprint in told and "&lt;b&gt;bo&lt;/b&gt;" in told and "<b>bo" not in told
    assert "http" not in told.replace("http-equiv", "")
    assert cv2.imread(str(sheet)).shape == (2 * (112 + 34 + 18), 4 * 112, 3)
    before = (tmp_path / "corpus/corpus.json").read_bytes()
    assert run(*line).code == 0  # type: ignore[attr-defined]
    assert (tmp_path / "corpus/corpus.json").read_bytes() == before


def test_no_sheet_of_faces_without_its_flag(run: Callable[..., object], raw: Path, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny.affect")
    before = set(tmp_path.rglob("*.png"))
    run(
        "prepare", "folder", raw, "--out", tmp_path / "corpus", "--for", bundle.path, "--faces", "whole", "--workers", 1
    )
    assert set(tmp_path.rglob("*.png")) == before


def test_a_video_without_a_transcript_is_named(run: Callable[..., object], raw: Path, tmp_path: Path) -> None:
    bundle, words = make_tiny_bundle(tmp_path / "tiny.affect"), tmp_path / "words"
    words.mkdir()
    (words / "one.words.json").write_text('{"words": []}')
    line = ("prepare", "folder", raw, "--out", tmp_path / "corpus", "--for", bundle.path, "--faces", "whole")
    ran = run(*line, "--workers", "1", "--words", words)
    assert ran.code == 0 and "no transcript of 1 of 2 videos: two" in ran.err  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("affwild2",), "not laid out like Aff-Wild2"),
        (("folder", "--for", "nix"), "rcma-demo"),
        (("folder", "--split", "train=x"), "shares such as"),
        (("folder", "--split", "train=0"), "shares such as"),
        (("folder", "--words", "nowhere"), "--words nowhere is no folder"),
        (("folder", "--words", "."), "a transcript of none of the 2 videos"),
        (("folder", "--faces", "given"), "has no crops"),
    ],
)
def test_wrong_use_is_told_and_nothing_is_written(
    run: Callable[..., object], raw: Path, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    layout, *rest = words
    bundle = make_tiny_bundle(tmp_path / "tiny.affect")
    ran = run("prepare", layout, raw, "--out", tmp_path / "corpus", "--for", bundle.path, *rest)
    assert ran.code == 2, ran.err  # type: ignore[attr-defined]
    assert told in ran.err and "Traceback" not in ran.err  # type: ignore[attr-defined]
    assert not (tmp_path / "corpus").exists()


def test_the_command_prepares_recola(run: Callable[..., object], tmp_path: Path) -> None:
    write_recola(tmp_path / "raw", "own", subjects=("P16",), rows=100)
    bundle = make_tiny_bundle(tmp_path / "tiny.affect")
    out = tmp_path / "out"
    ran = run(
        "prepare", "recola", tmp_path / "raw", "--out", out, "--for", bundle.path, "--faces", "whole", "--workers", 1
    )
    assert ran.code == 0, ran.err  # type: ignore[attr-defined]
    corpus = PreparedCorpus.open(out, thorough=True)
    assert corpus.kind == "recola" and corpus.all_videos[0].subject == "P16"
    assert corpus.record.videos[0].annotated == 100 - 58
