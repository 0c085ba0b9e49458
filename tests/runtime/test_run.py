"""The driver takes a source to its sinks: every step once, right values, the same in any batch, and stoppable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from doubles.clip_contract import clip_contract
from doubles.kept_sink import Kept
from doubles.tiny_bundle import make_tiny_bundle

from affectrt.bundle.errors import MediaError
from affectrt.bundle.store import Bundle
from affectrt.runtime.run import RunReport, Stop, run_bundle
from affectrt.runtime.sinks import JsonLinesSink
from affectrt.runtime.sources import MemorySource

RATE_HZ, STEP_HZ, SPAN = 16_000, 25, 1600


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny.affect")


def media(seconds: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Frames of slowly changing grey and a tone that grows louder."""
    count = round(seconds * STEP_HZ)
    grey = np.linspace(20, 220, count).astype(np.uint8)
    frames = np.broadcast_to(grey[:, None, None, None], (count, 24, 32, 3))
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return frames, (np.linspace(0, 0.8, len(at)) * np.sin(2 * np.pi * 440 * at)).astype(np.float32)


def source(seconds: float = 4.0) -> MemorySource:
    frames, samples = media(seconds)
    return MemorySource.from_arrays(frames=frames, pts_s=np.arange(len(frames)) / STEP_HZ, samples=samples, name="clip")


def run(bundle: Bundle, media_source: MemorySource, **options: object) -> tuple[RunReport, Kept]:
    sink = Kept()
    return run_bundle(bundle, media_source, [sink], threads=1, **options), sink  # type: ignore[arg-type]


def test_every_step_is_estimated_once_with_what_the_graphs_compute(bundle: Bundle) -> None:
    report, sink = run(bundle, source())
    assert [e.t_s for e in sink.estimates] == pytest.approx(np.arange(100) / STEP_HZ)
    assert sink.closed and {e.modalities for e in sink.estimates} == {("video", "audio")}
    frames, samples = media()
    padded = np.pad(samples, (0, SPAN), "edge")
    spans = np.stack([padded[k * 640 : k * 640 + SPAN] for k in range(100)]).astype(np.float64)
    colour, loudness, mean = frames[:, 0, 0, 0] / 255, np.sqrt((spans**2).mean(1)), spans.mean(1)
    valence = np.tanh(1.75 * colour - 0.5)
    arousal = np.tanh(0.1 * colour + 2 * loudness + 0.5 * mean - 0.25)
    assert [e.valence for e in sink.estimates] == pytest.approx(valence, abs=1e-5)
    assert [e.arousal for e in sink.estimates] == pytest.approx(arousal, abs=1e-5)
    assert report.estimates == 100 and report.stopped_by is None and report.outcome.complete


@pytest.mark.parametrize("max_batch", [1, 3, 8, 64, 1000])
def test_batches_are_full_and_change_nothing(max_batch: int, bundle: Bundle) -> None:
    _, plain = run(bundle, source(), max_batch=1)
    report, sink = run(bundle, source(), max_batch=max_batch)
    assert [(e.t_s, e.track) for e in sink.estimates] == [(e.t_s, e.track) for e in plain.estimates]
    got = np.array([(e.valence, e.arousal) for e in sink.estimates])
    np.testing.assert_allclose(got, [(e.valence, e.arousal) for e in plain.estimates], atol=1e-6)
    assert report.rows["video"] == report.rows["audio"] == 100
    assert report.calls["video"] == report.calls["audio"] == -(-100 // max_batch)


def test_large_clips_are_computed_one_by_one_as_they_come(tmp_path: Path) -> None:
    shape = {"span_frames": 16, "window_steps": 8, "stride_steps": 16, "hop_steps": 16}
    contract = clip_contract(**shape, video_dim=3, resize_px=224, crop_px=224)
    report, sink = run(make_tiny_bundle(tmp_path / "clips.affect", contract=contract), source())
    assert [e.t_s for e in sink.estimates] == pytest.approx(np.arange(15, 100, 16) / STEP_HZ)
    assert report.rows == {"video": 6, "audio": 6, "fusion": 6}
    assert report.calls["video"] == 6 and report.calls["audio"] == 1, "large clips do not wait for company"
    grey = media()[0][:, 0, 0, 0] / 255
    first = np.tanh(1.75 * grey[:16].mean() - 0.5)
    assert sink.estimates[0].valence == pytest.approx(first, abs=1e-5)
    assert sink.header is not None and sink.header.described_steps == 128


def test_estimates_are_written_while_the_source_is_read(bundle: Bundle) -> None:
    _, sink = run(bundle, source(), max_batch=4)
    assert sink.writes > 10


def test_the_report_and_the_header_tell_what_was_done(bundle: Bundle) -> None:
    seen: list[tuple[float, float | None]] = []
    report, sink = run(bundle, source(), hop_steps=2, progress=lambda at, whole: seen.append((at, whole)))
    assert sink.header is not None
    assert sink.header.bundle_sha256 == bundle.fingerprint and sink.header.hop_steps == 2
    assert (sink.header.precision, sink.header.backend) == ("fp32", "onnxruntime")
    assert sink.header.modalities == ("video", "audio") and len(sink.header.outputs) == 2
    assert list(report.seconds) == ["open", "decode", "align", "video", "audio", "fusion", "sink"]
    assert all(seconds > 0 for seconds in report.seconds.values())
    assert sum(report.seconds.values()) <= report.wall_s
    assert report.media_s == pytest.approx(4.0, abs=0.05) and report.times_real_time > 1
    times = [at for at, _ in seen]
    assert times == sorted(times) and seen[-1] == (report.media_s, source().duration_s)


@pytest.mark.parametrize("kept", ["video", "audio"])
def test_a_source_with_one_modality_is_estimated_without_the_other(kept: str, bundle: Bundle) -> None:
    frames, samples = media(2)
    alone = (
        MemorySource.from_arrays(frames=frames, pts_s=np.arange(len(frames)) / STEP_HZ)
        if kept == "video"
        else MemorySource.from_arrays(samples=samples)
    )
    report, sink = run(bundle, alone)
    assert report.estimates == 50 and {e.modalities for e in sink.estimates} == {(kept,)}
    assert set(report.rows) == {kept, "fusion"}


def test_a_stop_ends_the_run_with_what_is_already_written(bundle: Bundle, tmp_path: Path) -> None:
    stop = Stop()
    path = tmp_path / "out.jsonl"

    def at_two_seconds(media_s: float, _whole: float | None) -> None:
        if media_s >= 2:
            assert stop.armed
            stop.request("SIGTERM")
            stop.request("SIGINT")

    report = run_bundle(
        bundle, source(20), [JsonLinesSink(path)], max_batch=4, threads=1, stop=stop, progress=at_two_seconds
    )
    assert report.stopped_by == "SIGTERM" and report.outcome.kinds in {("stopped",), ("complete",)}
    steps = [json.loads(line)["t_s"] for line in path.read_text().splitlines()[1:]]
    assert len(steps) == report.estimates and 30 <= len(steps) <= 50
    assert steps == [round(k / STEP_HZ, 6) for k in range(len(steps))]


def test_a_source_that_was_stopped_is_not_taken_for_ended(bundle: Bundle) -> None:
    halting = source()
    report, _ = run(bundle, halting, progress=lambda at, _whole: halting.stop() if at > 1 else None)
    assert report.stopped_by == "stop" and report.estimates < 50


def test_the_run_goes_on_for_the_sinks_that_are_left(bundle: Bundle) -> None:
    leaving, staying = Kept(leave_after=10), Kept()
    report = run_bundle(bundle, source(), [leaving, staying], threads=1)
    assert report.stopped_by is None and len(staying.estimates) == 100 and leaving.closed
    alone = Kept(leave_after=10)
    report = run_bundle(bundle, source(), [alone], threads=1)
    assert report.stopped_by == "reader gone" and len(alone.estimates) < 30


def test_what_cannot_be_read_leaves_no_file_behind(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with pytest.raises(MediaError):
        run_bundle(bundle, MemorySource([]), [JsonLinesSink(path)], threads=1)
    assert not path.exists()
