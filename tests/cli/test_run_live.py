"""`affectrt run` with several sources, live ones, and what watches over them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.media import write_media
from doubles.tiny_bundle import make_tiny_bundle

from affectrt.bundle import UsageError
from affectrt.cli.main import main
from affectrt.cli.run_words import told_apart

TEST = "test://ball?width=64&height=48&fps=25&audio=tone"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny.affect").path)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("clips")
    paths = []
    for index, grey in enumerate((40, 200)):
        frames = np.full((50, 48, 64, 3), grey, np.uint8)
        samples = np.full(96_000, 0.1, np.float32)
        paths.append(str(write_media(folder / f"clip{index}.mkv", frames=frames, samples=samples)))
    return paths


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_sources_and_sinks_are_told_apart_by_what_they_are(tmp_path: Path) -> None:
    clip, old = tmp_path / "a.mp4", tmp_path / "old.mkv"
    clip.touch()
    old.touch()
    words = [str(clip), "rtsp://host/x", str(old), str(tmp_path / "new.mp4"), "out.jsonl", "-", "v4l2:///dev/video0"]
    sources, sinks = told_apart(words)
    assert sources == [str(clip), "rtsp://host/x", str(old), "v4l2:///dev/video0"]
    assert sinks == [str(tmp_path / "new.mp4"), "out.jsonl", "-"]
    with pytest.raises(UsageError, match="as a source or as an overlay"):
        told_apart([str(clip), str(old)], overwrite=True)
    assert told_apart(["x.mp4", f"file://{old}"], overwrite=True) == (["x.mp4", f"file://{old}"], [])
    with pytest.raises(UsageError, match="not a sink that is known"):
        told_apart([str(clip), "out.txt"])
    with pytest.raises(UsageError, match="both source and sink"):
        told_apart(["out.jsonl", "out.jsonl"])


def test_several_files_are_told_apart_in_the_estimates(
    bundle: str, clips: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    assert main(["run", bundle, *clips, str(out), "--threads", "1"]) == 0
    header, *estimates = lines(out)
    assert header["sources"] == ["clip0.mkv", "clip1.mkv"]
    assert [sum(e["source"] == name for e in estimates) for name in ("clip0.mkv", "clip1.mkv")] == [50, 50]
    said = capsys.readouterr().err
    assert "clip0.mkv: 50 estimates" in said and "clip1.mkv: 50 estimates" in said


def test_a_bad_source_among_several_is_told_and_costs_exit_code_1(
    bundle: str, clips: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    junk, out = tmp_path / "junk.bin", tmp_path / "out.jsonl"
    junk.write_bytes(os.urandom(4000))
    assert main(["run", bundle, clips[0], str(junk), str(out), "--threads", "1"]) == 1
    assert len(lines(out)) == 51
    assert "junk.bin" in capsys.readouterr().err


def test_a_live_source_runs_for_its_duration_and_is_watched(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, health = tmp_path / "out.jsonl", tmp_path / "health.json"
    words = ["run", bundle, TEST, str(out), "--duration", "3", "--stats", "--health", str(health), "--threads", "1"]
    assert main(words) == 0
    _, *estimates = lines(out)
    steps = [round(float(str(e["t_s"])) * 25) for e in estimates]
    assert steps == list(range(steps[0], steps[0] + len(steps))) and len(steps) > 40
    assert all(isinstance(e["age_ms"], float) for e in estimates)
    stats = json.loads(next(line for line in capsys.readouterr().err.splitlines() if line.startswith("{")))
    record = json.loads(health.read_text())
    lost = sum(int(e["quality"]["frames_dropped"]) for e in estimates)
    for told in (stats, record):  # a busy machine may lose some: then both places say so
        assert told["status"] == "ended" and told["streams"][0]["frames_dropped"] >= lost
    assert {"reconnects", "skew_ms", "drift_ppm", "age_ms", "faces"} <= set(record["streams"][0])


def test_explain_prints_the_pipeline_and_runs_nothing(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", bundle, "rtsp://me:secret@camera/1", "--explain"]) == 0
    out = capsys.readouterr().out
    assert "rtsp://camera/1" in out and "gst-launch-1.0" in out and "secret" not in out


def test_log_lines_are_json_without_credentials(bundle: str, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["run", bundle, "rtsp://me:secret@127.0.0.1:1/x?token=hidden", "--duration", "1", "--log-json"]
    assert main(words) == 1
    said = capfd.readouterr().err
    records = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert any(r["level"] == "warning" and "gave nothing in 1 s" in r["message"] for r in records)
    assert "secret" not in said and "hidden" not in said


@pytest.mark.parametrize(
    ("words", "want"),
    [
        (["test://", "test://", "--audio", "test://"], "--audio with several sources"),
        (["test://", "--duration", "-1"], "--duration"),
        (["test://", "--faces", "none"], "--faces"),
        (["test://", "--health", "/no/such/folder/x"], "health file"),
        (["test://", "--rtsp-reconnect-interval-sec", "0"], "reconnecting"),
    ],
)
def test_wrong_use_is_told(bundle: str, words: list[str], want: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", bundle, *words]) == 2
    assert want in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_live_run_in_good_order(bundle: str, tmp_path: Path, number: int, code: int) -> None:
    out, health = tmp_path / "out.jsonl", tmp_path / "health.json"
    words = ["run", bundle, TEST, str(out), "--health", str(health), "--threads", "1"]
    process = subprocess.Popen([sys.executable, "-m", "affectrt.cli.main", *words], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (out.exists() and out.stat().st_size > 4000):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    began = time.monotonic()
    _, said = process.communicate(timeout=20)
    assert process.returncode == code, said
    assert time.monotonic() - began < 5 and f"stopped by {signal.Signals(number).name}" in said
    assert len(lines(out)) > 10 and json.loads(health.read_text())["status"] == "stopped"
