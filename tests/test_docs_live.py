"""docs/live.md: its commands run, its sources are understood, its rules are those of the specification."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from doubles.overlay_case import frame
from doubles.tiny_bundle import make_tiny_bundle

from affectrt.cli.main import main
from affectrt.runtime.sources import FileSource, VideoChunk, VideoWish
from affectrt.runtime.sources.reconnect import Reconnect
from affectrt.runtime.sources.uri import parse_source
from affectrt.training.synthetic import write_clip

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")


def run_lines() -> list[str]:
    """The commands that run a bundle, without what `affectrt assets` would have to bring first."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("affectrt run ")]
    return [line for line in lines if "--faces" not in line]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    make_tiny_bundle(tmp_path / "my.affect")
    write_clip(tmp_path / "clip.mp4", [frame((64, 48), grey) for grey in range(50)])
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def test_every_command_is_understood_down_to_its_pipeline(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(run_lines()) >= 6
    for line in run_lines():
        words = shlex.split(line, comments=True)[1:]
        assert main([*words, *([] if "--explain" in words else ["--explain"])]) == 0, line
        told = capsys.readouterr()
        assert "appsink" in told.out and "password" not in told.out + told.err, line
    assert sorted(path.name for path in folder.iterdir()) == ["clip.mp4", "my.affect"]


def test_the_command_to_try_first_leaves_estimates_and_a_film(folder: Path) -> None:
    first = shlex.split(run_lines()[0], comments=True)[1:]
    assert "test://" in first and first[-2] == "--duration"
    assert main([*first[:-1], "3", "--quiet"]) == 0
    assert len((folder / "out.jsonl").read_text().splitlines()) > 20
    with FileSource(folder / "overlay.mp4", video=VideoWish()) as film:
        assert sum(isinstance(event, VideoChunk) for event in film) > 20


def test_every_source_of_the_table_is_understood() -> None:
    table = PAGE.partition("## Sources")[2].partition("\nDecoders")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]
    kinds = set()
    for word in named:
        if word != "VIDEO+AUDIO":
            kinds |= {part.kind for part in parse_source(word.replace("…", "host/path"))}
    assert kinds == {"file", "v4l2", "csi", "pulse", "alsa", "rtsp", "http", "test"}
    rows = {row.split("|")[1]: row for row in table.splitlines() if row.startswith("| `")}
    options = next(row for name, row in rows.items() if "test://" in name)
    query = "&".join(
        f"{name}={'tone' if name == 'audio' else 25}" for name in re.findall(r"(\w+)=", options.split("|")[3])
    )
    assert parse_source(f"test://?{query}")


def test_figures_of_the_page_are_the_code_s() -> None:
    default = Reconnect()
    assert f"gives nothing for {default.stall_s:g} s" in PAGE and default.wait_s(0) == 0.5
    assert f"`--rtsp-reconnect-interval-sec` ({default.interval_s:g})" in PAGE
    assert FileSource("x", video=VideoWish())._timeout_s == 8 and "limit of 8 s on opening" in PAGE


def test_the_page_s_picture_and_links_exist() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).is_file(), link
