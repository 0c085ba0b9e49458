"""What is written is whole lines at any moment, and nothing is replaced that should stay."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from affectrt.bundle.errors import AffectError, EngineError, UsageError
from affectrt.runtime.estimate import Estimate, Quality
from affectrt.runtime.sinks import CsvSink, Header, JsonLinesSink, ReaderGone, open_sink, open_sinks

HEADER = Header(
    bundle="tiny",
    bundle_sha256="ab" * 32,
    precision="fp32",
    backend="onnxruntime",
    source="clip, \"one\".mp4",
    step_hz=25.0,
    hop_steps=5,
    described_steps=1,
    modalities=("video", "audio"),
    outputs=({"name": "valence", "low": -1.0, "high": 1.0, "neutral": 0.0},),
)  # fmt: skip


def estimate(step: int, **changed: Any) -> Estimate:
    facts: dict[str, Any] = {
        "t_s": step / 25,
        "valence": 0.123456789,
        "arousal": None,
        "track": 0,
        "modalities": ("video", "audio"),
        "quality": Quality(face_px=96.0, audio=True),
        "source": HEADER.source,
    }
    return Estimate(**{**facts, **changed})


def test_json_lines_begin_with_the_facts_of_the_run(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with JsonLinesSink(path) as sink:
        sink.open(HEADER)
        sink.write([estimate(1), estimate(2, warming_up=True)])
    head, first, second = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert list(head)[:2] == ["schema", "schema_version"]
    assert (head["schema"], head["schema_version"]) == ("affectrt-estimates", 1)
    assert head["bundle_sha256"] == "ab" * 32 and head["outputs"][0]["name"] == "valence"
    assert first == {
        "t_s": 0.04,
        "valence": 0.123457,
        "arousal": None,
        "track": 0,
        "modalities": ["video", "audio"],
        "quality": {"face_px": 96.0, "face_score": None, "audio": True, "frames_dropped": None},
        "warming_up": False,
        "age_ms": None,
        "source": HEADER.source,
    }
    assert second["warming_up"] is True


def test_every_line_is_readable_as_soon_as_write_returns(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with JsonLinesSink(path) as sink:
        sink.open(HEADER)
        for step in range(20):
            sink.write([estimate(step)])
            lines = path.read_text().splitlines()
            assert len(lines) == step + 2 and json.loads(lines[-1])["t_s"] == round(step / 25, 6)


def test_csv_is_nothing_but_a_table_and_its_facts_lie_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with CsvSink(path) as sink:
        sink.open(HEADER)
        sink.write([estimate(1), estimate(2, modalities=(), quality=Quality())])
    with path.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first["valence"] == "0.123457" and first["arousal"] == "" and first["source"] == HEADER.source
    assert (first["modalities"], first["face_px"], first["face_score"], first["audio"]) == (
        "video+audio",
        "96.0",
        "",
        "true",
    )
    assert (second["modalities"], second["audio"], second["warming_up"]) == ("", "", "false")
    assert json.loads((tmp_path / "out.csv.json").read_text())["schema"] == "affectrt-estimates"


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_a_number_is_refused_and_the_file_stays_valid(name: str, value: float, tmp_path: Path) -> None:
    with open_sink(tmp_path / name) as sink:
        sink.open(HEADER)
        sink.write([estimate(1)])
        before = (tmp_path / name).read_bytes()
        with pytest.raises(EngineError, match=r"valence is (nan|inf) at 0\.08 s"):
            sink.write([estimate(1), estimate(2, valence=value)])
        assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_an_existing_file_stays_unless_overwriting_is_asked_for(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("precious")
    with pytest.raises(UsageError, match="exists already") as refused:
        open_sink(path)
    assert "--overwrite" in str(refused.value) and path.read_text() == "precious"
    sink = open_sink(path, overwrite=True)
    assert path.read_text() == "precious", "nothing is touched before the run begins"
    with sink:
        sink.open(HEADER)
    assert "precious" not in path.read_text()


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = open_sink(path)
    path.write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        sink.open(HEADER)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("given", ["out.txt", "out", "overlay.avi", "http://host/out.jsonl", "", "a\0.jsonl"])
def test_an_unknown_sink_is_refused_with_those_that_are_known(given: str) -> None:
    with pytest.raises(UsageError, match="not a sink that is known") as refused:
        open_sink(given)
    assert ".jsonl, .csv" in str(refused.value) and "standard output" in str(refused.value)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match="is a directory"):
        open_sink(tmp_path / "folder.csv", overwrite=True)
    with pytest.raises(UsageError, match="does not exist") as refused:
        open_sink(tmp_path / "nowhere" / "out.jsonl")
    assert "mkdir -p" in str(refused.value)
    with pytest.raises(UsageError, match="more than once"):
        open_sinks([tmp_path / "a.csv", tmp_path / "folder.csv" / ".." / "a.csv"])
    with pytest.raises(UsageError, match="more than once"):
        open_sinks(["-", "-"])


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    """The file may grow to 4 kB; the write that would pass that is torn by the system and taken back by us."""
    path = tmp_path / "out.jsonl"
    script = f"""
import pathlib, resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_sinks import HEADER, estimate
from affectrt.runtime.sinks import JsonLinesSink
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
with JsonLinesSink(pathlib.Path({str(path)!r})) as sink:
    sink.open(HEADER)
    for step in range(100):
        sink.write([estimate(step)])
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert answer.returncode == 1 and "cannot be written: File too large" in answer.stderr
    content = path.read_text()
    assert 3000 < len(content) <= 4096 and content.endswith("\n")
    steps = [json.loads(line)["t_s"] for line in content.splitlines()[1:]]
    assert steps == [round(step / 25, 6) for step in range(len(steps))]
    with pytest.raises(AffectError, match="No space left"), JsonLinesSink(Path("/dev/full"), overwrite=True) as sink:
        sink.open(HEADER)


def test_a_killed_writer_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    script = f"""
import itertools, pathlib, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_sinks import HEADER, estimate
from affectrt.runtime.sinks import JsonLinesSink
sink = JsonLinesSink(pathlib.Path({str(path)!r}))
sink.open(HEADER)
for step in itertools.count():
    sink.write([estimate(step)] * 5)
"""
    with subprocess.Popen([sys.executable, "-c", script]) as writer:
        deadline = time.monotonic() + 30
        while not (path.exists() and path.stat().st_size > 100_000):
            assert writer.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(writer.pid, signal.SIGKILL)
    content = path.read_bytes()
    assert content.endswith(b"\n")
    assert len([json.loads(line) for line in content.splitlines()]) > 100


def test_a_reader_that_goes_is_not_a_failure() -> None:
    reader, writer = os.pipe()
    kept = os.dup(1)
    os.dup2(writer, 1)
    os.close(writer)
    try:
        with JsonLinesSink(None) as sink:
            sink.open(HEADER)
            os.close(reader)
            with pytest.raises(ReaderGone):
                sink.write([estimate(1)])
    finally:
        os.dup2(kept, 1)
        os.close(kept)
