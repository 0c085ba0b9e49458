"""`affectrt run` on bad input: the message, the exit code, and what is on disk; never a traceback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from doubles.clip_contract import clip_contract
from doubles.media import cut, flash_and_beep, write_media
from doubles.tiny_bundle import make_tiny_bundle

from affectrt.cli.main import main


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny.affect").path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames, samples, _ = flash_and_beep(4)
    noisy = frames // 2 + np.random.default_rng(1).integers(0, 120, frames.shape, dtype=np.uint8)
    return write_media(tmp_path_factory.mktemp("clip") / "clip.mkv", frames=noisy, samples=samples)


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour of noise: longer than any test waits."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    noise = np.random.default_rng(2).integers(-3000, 3000, 16_000 * 60, dtype=np.int16).tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        for _ in range(60):
            file.writeframes(noise)
    return path


def test_media_shorter_than_a_hop_has_no_estimate_and_that_is_told(clip: Path, said: Said, tmp_path: Path) -> None:
    contract = clip_contract(span_frames=64, stride_steps=64, hop_steps=128, video_dim=3)
    waits = make_tiny_bundle(tmp_path / "clips.affect", contract=contract)
    out = tmp_path / "out.jsonl"
    code, _, err = said(waits.path, clip, out)
    assert code == 0 and steps_in(out) == []
    assert "has no estimate: it ends before the first, which takes 5.12 s of media; a smaller --hop" in err
    code, _, err = said(waits.path, clip, tmp_path / "sooner.jsonl", "--hop", "32")
    assert code == 0 and len(steps_in(tmp_path / "sooner.jsonl")) == 3 and "no estimate" not in err


class Said:
    """Runs the command line in this process and keeps what it said."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        code = main(["run", *map(str, arguments)])
        out, err = self._capfd.readouterr()
        assert "Traceback" not in err and "unexpected" not in err
        return code, out, err


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Said:
    return Said(capfd)


def steps_in(path: Path) -> list[float]:
    header, *lines = path.read_text().splitlines()
    assert json.loads(header)["schema"] == "affectrt-estimates"
    return [json.loads(line)["t_s"] for line in lines]


def test_a_whole_file_goes_to_every_sink(bundle: Path, clip: Path, said: Said, tmp_path: Path) -> None:
    code, out, err = said(bundle, clip, tmp_path / "a.jsonl", tmp_path / "a.csv", "-", "--threads", "1")
    assert code == 0
    assert steps_in(tmp_path / "a.jsonl") == [round(k / 25, 6) for k in range(100)]
    assert out == (tmp_path / "a.jsonl").read_text()
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 101
    assert "clip.mkv: 100 estimates of 4.0 s" in err and "warning" not in err


def test_without_a_sink_estimates_go_to_standard_output_and_quiet_is_quiet(
    bundle: Path, clip: Path, said: Said
) -> None:
    code, out, err = said(bundle, clip, "--quiet")
    assert code == 0 and err == "" and len(out.splitlines()) == 101


def test_a_cut_file_is_estimated_as_far_as_it_goes_and_fails(
    bundle: Path, clip: Path, said: Said, tmp_path: Path
) -> None:
    path = cut(clip, 0.5, tmp_path / "cut.mkv")
    code, _, err = said(bundle, path, tmp_path / "out.jsonl", "--quiet")
    assert code == 1 and "affectrt: warning: cut.mkv is cut off: " in err and "of 4.0 s could be read" in err
    steps = steps_in(tmp_path / "out.jsonl")
    assert 30 < len(steps) < 70 and steps == [round(k / 25, 6) for k in range(len(steps))]


def test_a_missing_modality_is_a_warning(bundle: Path, said: Said, tmp_path: Path) -> None:
    frames, _, _ = flash_and_beep(1)
    path = write_media(tmp_path / "silent.webm", frames=frames)
    code, out, err = said(bundle, path)
    assert code == 0 and "affectrt: warning: silent.webm has no audio" in err
    assert json.loads(out.splitlines()[1])["modalities"] == ["video"]


@pytest.mark.parametrize(
    ("name", "content", "want"),
    [
        ("nowhere.mp4", None, "does not exist"),
        ("empty.mp4", b"", "contains no data"),
        ("noise.mkv", b"\x13\x37" * 5000, "is not audio or video"),
        ("text.wav", b"RIFF but not really, only words", "is not audio or video"),
    ],
)
def test_what_is_not_media_fails_and_leaves_nothing(
    name: str, content: bytes | None, want: str, bundle: Path, said: Said, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    code, out, err = said(bundle, tmp_path / name, tmp_path / "out.jsonl", tmp_path / "out.csv")
    assert code == 1 and err.startswith("affectrt: error: ") and want in err and name in err and "expected:" in err
    assert out == "" and not list(tmp_path.glob("out.*"))


def test_a_wav_header_without_sound_fails_and_leaves_nothing(bundle: Path, said: Said, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "none.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
    code, _, err = said(bundle, tmp_path / "none.wav", tmp_path / "out.jsonl")
    assert code == 1 and "none.wav" in err
    assert not (tmp_path / "out.jsonl").exists()


def modalities_in(path: Path) -> list[list[str]]:
    return [json.loads(line)["modalities"] for line in path.read_text().splitlines()[1:]]


def test_audio_that_ends_early_goes_missing_where_it_ends(bundle: Path, said: Said, tmp_path: Path) -> None:
    frames, samples, _ = flash_and_beep(3)
    path = write_media(tmp_path / "short.mkv", frames=frames, samples=samples[:48_000])
    code, _, err = said(bundle, path, tmp_path / "out.jsonl", "--quiet")
    assert (code, err) == (0, "")
    found = modalities_in(tmp_path / "out.jsonl")
    assert len(found) == 75
    assert found[:24] == [["video", "audio"]] * 24 and found[27:] == [["video"]] * 48


def test_sound_without_pictures_is_estimated_from_sound(bundle: Path, said: Said, tmp_path: Path) -> None:
    _, samples, _ = flash_and_beep(2)
    path = write_media(tmp_path / "dark.wav", samples=samples)
    code, _, err = said(bundle, path, tmp_path / "out.jsonl")
    assert code == 0 and "affectrt: warning: dark.wav has no video" in err
    assert modalities_in(tmp_path / "out.jsonl") == [["audio"]] * 50


def test_variable_frame_rate_keeps_media_time(bundle: Path, said: Said, tmp_path: Path) -> None:
    """10 frames in the first second, then 30: every step of the clock has its estimate."""
    frames, samples, _ = flash_and_beep(2)
    pts_s = np.concatenate([np.arange(10) / 10, 1 + np.arange(30) / 30])
    path = write_media(tmp_path / "vfr.mkv", frames=frames[:40], pts_s=pts_s, samples=samples)
    code, _, err = said(bundle, path, tmp_path / "out.jsonl", "--quiet")
    assert (code, err) == (0, "")
    assert steps_in(tmp_path / "out.jsonl")[:50] == [round(k / 25, 6) for k in range(50)]
    assert all("video" in names for names in modalities_in(tmp_path / "out.jsonl")[:50])


def flip_a_byte(bundle: Path) -> None:
    file = next((bundle / "graphs").iterdir())
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def remove_a_graph(bundle: Path) -> None:
    next((bundle / "graphs").iterdir()).unlink()


def come_from_the_future(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "format_version": 7}))


def lie_about_shapes(bundle: Path) -> None:
    text = (bundle / "manifest.json").read_text()
    manifest = json.loads(text)
    manifest["contract"]["video"]["feature_dim"] = 5
    (bundle / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("harm", "want"),
    [
        (flip_a_byte, "SHA-256"),
        (remove_a_graph, "missing"),
        (come_from_the_future, "version 7"),
        (lie_about_shapes, "features float32[3]"),
    ],
)
def test_a_bad_bundle_is_refused_before_anything_is_written(
    harm: Callable[[Path], None], want: str, bundle: Path, clip: Path, said: Said, tmp_path: Path
) -> None:
    bad = shutil.copytree(bundle, tmp_path / "bad.affect")
    harm(bad)
    code, out, err = said(bad, clip, tmp_path / "out.jsonl")
    assert code == 1 and err.startswith("affectrt: error: ") and want in err, err
    assert "fix:" in err
    assert out == "" and not (tmp_path / "out.jsonl").exists()


def test_wrong_use_is_told_before_anything_is_read(bundle: Path, clip: Path, said: Said, tmp_path: Path) -> None:
    taken = tmp_path / "taken.jsonl"
    taken.write_text("precious")
    for arguments, want in (
        ((bundle, clip, taken), "exists already"),
        ((bundle, clip, tmp_path / "out.txt"), ".jsonl, .csv"),
        ((bundle, clip, tmp_path / "no" / "out.csv"), "mkdir -p"),
        ((bundle, "gopher://camera/1"), "not supported"),
        ((bundle, clip, "--hop", "99"), "hop"),
        ((bundle, clip, "--backend", "abacus"), "abacus"),
        ((bundle, clip, taken, "--overwrite", taken), "more than once"),
        ((bundle, taken, taken, "--overwrite"), "both source and sink"),
    ):
        code, out, err = said(*arguments)
        assert code == 2 and want in err and out == "", arguments
    assert taken.read_text() == "precious"
    code, _, err = said(bundle, clip, "--precision", "int8")
    assert code == 1 and "no precision 'int8'" in err
    code, _, err = said(tmp_path / "none.affect", clip)
    assert code == 1 and "none.affect does not exist" in err
    assert said(bundle, clip, taken, "--overwrite")[0] == 0 and len(steps_in(taken)) == 100


def start(*arguments: str | Path, **options: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "affectrt.cli.main", "run", *map(str, arguments), "--threads", "1"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


@pytest.mark.parametrize(("number", "want"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_soon_with_whole_output(
    number: signal.Signals, want: int, bundle: Path, long_clip: Path, tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    with start(bundle, long_clip, path) as process:
        deadline = time.monotonic() + 60
        while not (path.exists() and path.stat().st_size > 20_000):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        sent = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
        assert time.monotonic() - sent < 5
    assert process.returncode == want
    assert f"stopped by {number.name} at " in err and "Traceback" not in err
    steps = steps_in(path)
    assert steps == [round(k / 25, 6) for k in range(len(steps))]


def test_a_reader_that_goes_ends_a_run_quietly(bundle: Path, long_clip: Path) -> None:
    with start(bundle, long_clip, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline())["schema"] == "affectrt-estimates"
        process.stdout.close()
        assert process.wait(timeout=60) == 141
        told = process.stderr.read()
    assert "Traceback" not in told and "error" not in told.lower()
