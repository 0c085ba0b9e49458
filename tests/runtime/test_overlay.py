"""The overlay is a film of the run: each frame with its own estimates, playable whatever happens."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.overlay_case import FACE, GREY, HEADER, HZ, SIZE, estimate, frame, header, near, play, read

from affectrt.bundle.errors import AffectError, MissingDependency, UsageError
from affectrt.runtime.faces import Face, Frame
from affectrt.runtime.sinks import FrameSink, JsonLinesSink, OverlaySink, encoders, open_sink
from affectrt.runtime.sinks.overlay_picture import OverlayPicture
from affectrt.runtime.sinks.video_file import VideoFile


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("size", [SIZE, (161, 121)])
def test_the_film_has_every_frame_at_its_time(suffix: str, size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / f"overlay{suffix}"
    sink = open_sink(path)
    assert isinstance(sink, OverlaySink) and isinstance(sink, FrameSink) and sink.wants_frames
    with sink:
        play(sink, 60, size=size, from_s=3.0)
    frames, pts_s, outcome, duration_s = read(path)
    assert len(frames) == sink.written == 60 and sink.left_out == 0
    # The film's clock begins with its first frame; small frames are enlarged, and below them stands the panel.
    np.testing.assert_allclose(pts_s, np.arange(60) / HZ, atol=2e-3)
    assert duration_s == pytest.approx(60 / HZ, abs=0.05) and outcome.complete
    height, width = frames[0].shape[:2]
    assert (width, height % 2) == ({320: 320, 161: 322}[size[0]], 0) and height > {320: 240, 161: 242}[size[0]] + 100
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name], "nothing else is written"


def test_a_sink_of_lines_takes_no_frames(tmp_path: Path) -> None:
    assert not isinstance(JsonLinesSink(tmp_path / "out.jsonl"), FrameSink)


def test_frames_wait_for_their_estimates_and_no_longer_than_the_model_looks_ahead(tmp_path: Path) -> None:
    drawn: list[tuple[float, float | None]] = []
    sink = OverlaySink(tmp_path / "overlay.mkv")
    with sink:
        sink.open(HEADER)
        original = OverlayPicture.draw

        def spy(self: OverlayPicture, *given: Any) -> Frame:
            told = given[3].get(0)
            drawn.append((given[1], told[-1].t_s if told else None))
            return original(self, *given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(OverlayPicture, "draw", spy)
            for step in range(100):
                sink.show(frame(), step / HZ, [FACE])
                if step < 50 and step % 5 == 4:
                    sink.write([estimate(s) for s in range(step - 4, step + 1)])
            # Look-ahead 0.4 s, hop 0.2 s and a second more; the last picture waits to know how long it lasts.
            assert len(drawn) == pytest.approx(100 - 1.6 * HZ, abs=3)
            sink.close()
    assert len(drawn) == 100
    assert all(told == pytest.approx(at) for at, told in drawn[:50]), "each frame has the estimate of its own time"
    assert all(told == pytest.approx(49 / HZ) for _, told in drawn[51:]), "later ones have none of their own"


def test_frames_of_another_size_are_fitted_in_and_late_ones_left_out(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    with OverlaySink(path) as sink:
        sink.open(HEADER)
        sink.show(frame(), 0.0, [])
        sink.show(frame((160, 240), 250), 0.04, [Face(0, (10, 10, 150, 230), 0.9)])
        sink.show(frame(), 0.04, [])
        sink.show(frame(), 0.02, [])
    frames = read(path)[0]
    assert len(frames) == 2 and sink.left_out == 2
    assert near(frames[1][120, 160], (250,) * 3, 12) and near(frames[1][120, 20], (0, 0, 0), 12)


def test_a_film_that_exists_stays_unless_overwriting_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    path.write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        OverlaySink(path)
    with OverlaySink(path, overwrite=True) as sink:
        sink.open(HEADER)
        assert path.read_text() == "precious", "nothing is touched before the first picture"
        for step in range(60):
            sink.show(frame(), step / HZ, [])
    assert len(read(path)[0]) == 60
    late = OverlaySink(tmp_path / "late.mp4")
    (tmp_path / "late.mp4").write_text("precious")
    with pytest.raises(UsageError, match="exists already"), late:
        late.open(HEADER)
        late.show(frame(), 0.0, [])
        late.show(frame(), 2.0, [])
        late.close()
    assert (tmp_path / "late.mp4").read_text() == "precious"


def test_a_run_without_pictures_is_refused_and_one_without_frames_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    with pytest.raises(UsageError, match="no pictures"), OverlaySink(path) as sink:
        sink.open(header(modalities=("audio",)))
    with OverlaySink(path) as sink:
        sink.open(HEADER)
        sink.write([estimate(0)])
    assert not path.exists()


def test_a_folder_that_does_not_exist_or_may_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        OverlaySink(tmp_path / "nowhere" / "overlay.mp4")
    sink = OverlaySink(Path("/proc/self/overlay.mp4"))
    with pytest.raises(UsageError, match="cannot be written"), sink:
        play(sink, 5)


def test_an_encoder_that_stands_still_holds_a_file_up_and_a_live_source_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "identity sleep-time=60000"
    original = encoders.description
    monkeypatch.setattr("affectrt.runtime.sinks.video_file.description", lambda e: f"{slow} ! {original(e)}")
    with OverlaySink(tmp_path / "live.mkv") as sink:
        sink.open(header(live=True))
        began = time.monotonic()
        for step in range(60):
            sink.show(frame(), step / HZ, [FACE])
            sink.write([estimate(step)])
        assert time.monotonic() - began < 1.5
    assert sink.left_out > 20 and sink.written + sink.left_out == 60
    assert len(read(tmp_path / "live.mkv")[0]) == sink.written
    with OverlaySink(tmp_path / "file.mkv") as sink:
        play(sink, 20)
    assert sink.written == 20 and len(read(tmp_path / "file.mkv")[0]) == 20


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_killed_run_leaves_a_film_that_plays(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"overlay{suffix}"
    script = f"""
import itertools, pathlib, sys, time
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from doubles.overlay_case import FACE, HEADER, HZ, OverlaySink, estimate, frame
sink = OverlaySink(pathlib.Path({str(path)!r}))
sink.open(HEADER)
for step in itertools.count():
    sink.show(frame(grey=step % 250), step / HZ, [FACE])
    sink.write([estimate(step)])
    if step == 200:
        time.sleep(0.5)
        print("ready", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None and run.stdout.readline() == b"ready\n"
        os.kill(run.pid, signal.SIGKILL)
    frames, pts_s, _, _ = read(path)
    assert len(frames) >= 200 - 2 * HZ and pts_s[-1] == pytest.approx((len(frames) - 1) / HZ, abs=0.01)


def test_a_full_disk_is_told_and_what_was_written_plays(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mkv"
    limit = 1_500_000
    script = f"""
import pathlib, resource, sys
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
import numpy as np
from doubles.overlay_case import FACE, HEADER, HZ, OverlaySink
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
rng = np.random.default_rng(0)
with OverlaySink(pathlib.Path({str(path)!r})) as sink:
    sink.open(HEADER)
    for step in range(500):
        sink.show(rng.integers(0, 256, (240, 320, 3), np.uint8), step / HZ, [FACE])
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 1 and "cannot be written: File too large" in answer.stderr, answer.stderr
    assert "AffectError" in answer.stderr.splitlines()[-3], "one error, not one of closing on top"
    assert path.stat().st_size <= limit and len(read(path)[0]) > 0


def test_without_an_encoder_the_packages_are_named_and_mkv_takes_what_is_always_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = tuple(e for e in encoders.ENCODERS if e.element == "vp8enc")
    monkeypatch.setattr(encoders, "ENCODERS", (*(e for e in _absent()), *only))
    with pytest.raises(MissingDependency, match=r"no encoder for \.mp4") as error:
        VideoFile(tmp_path / "overlay.mp4").open(320, 240)
    assert "NAME.mkv" in str(error.value) and "gstreamer1.0-plugins-ugly" in str(error.value)
    assert not (tmp_path / "overlay.mp4").exists()
    with OverlaySink(tmp_path / "overlay.mkv") as sink:
        play(sink, 30)
    assert len(read(tmp_path / "overlay.mkv")[0]) == 30


def _absent() -> list[encoders.Encoder]:
    """Encoders that need an element which no machine has."""
    h264 = encoders.Encoder("x264enc", (), "gstreamer1.0-plugins-ugly", after="noh264parse")
    return [h264, encoders.Encoder("nosuchenc", (), "gstreamer1.0-plugins-bad")]


@pytest.mark.parametrize("element", ["x264enc", "openh264enc"])
def test_every_installed_encoder_makes_both_containers(
    element: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "ENCODERS", tuple(e for e in encoders.ENCODERS if e.element == element))
    for suffix in (".mp4", ".mkv"):
        path = tmp_path / f"overlay{suffix}"
        try:
            encoders.choose_encoder(suffix)
        except MissingDependency:
            pytest.skip(f"GStreamer has no {element}")
        with OverlaySink(path) as sink:
            play(sink, 30)
        assert len(read(path)[0]) == 30


def test_a_film_of_many_tracks_holds_only_what_it_still_shows(tmp_path: Path) -> None:
    with OverlaySink(tmp_path / "overlay.mkv") as sink:
        sink.open(HEADER)
        small = np.full((4, 4, 3), GREY, np.uint8)
        sizes = []
        for step in range(400):
            sink.show(small, step / HZ, [Face(step // 20, (0, 0, 4, 4), 0.9)])
            sink.write([estimate(step, track=step // 20)])
            if step in (200, 399):
                sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
                assert len(sink._told) < 20 and len(sink._held) < 3, "tracks that are gone are forgotten"
    assert sizes[1] - sizes[0] < 20_000


def test_an_error_on_the_way_is_not_hidden_by_one_of_closing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: VideoFile) -> None:
        raise AffectError("no room for the end")

    monkeypatch.setattr(VideoFile, "close", full)
    with pytest.raises(ValueError, match="the true cause"), OverlaySink(tmp_path / "a.mkv") as sink:
        sink.open(HEADER)
        raise ValueError("the true cause")
    with pytest.raises(AffectError, match="no room"), OverlaySink(tmp_path / "b.mkv") as sink:
        sink.open(HEADER)
