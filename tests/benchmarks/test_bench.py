"""Benchmarks measure what they say: the calls of a run, the whole of a pipeline, the work of a stage."""

from __future__ import annotations

import datetime
import io
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from doubles.clip_contract import clip_contract
from doubles.tiny_bundle import make_tiny_bundle
from rich.console import Console

from affectrt.benchmarks.machine import machine_slug
from affectrt.benchmarks.peak import Peak
from affectrt.benchmarks.pipeline import PipelineResult, compare_pipeline, recorded_calls, seconds_of_session
from affectrt.benchmarks.results import BenchResults, print_results, save_results
from affectrt.benchmarks.stages import StageResult, Work, batches_of, row_of, stage_feeds, time_stage
from affectrt.benchmarks.timing import Timing, measure
from affectrt.bundle import Bundle
from affectrt.cli.main import main
from affectrt.runtime.run import run_bundle
from affectrt.runtime.sources import MemorySource, open_source
from affectrt.training.synthetic.encode import write_clip

SECONDS, FPS, RATE_HZ = 2, 25, 16_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bench") / "tiny.affect")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "clip.mp4"
    rng = np.random.default_rng(0)
    frames = [np.full((64, 64, 3), level, np.uint8) for level in rng.integers(0, 256, SECONDS * FPS)]
    samples = (0.1 * rng.standard_normal(SECONDS * RATE_HZ)).astype(np.float32)
    write_clip(path, frames, fps=FPS, samples=samples, sample_rate_hz=RATE_HZ)
    return path


def media() -> MemorySource:
    frames = np.zeros((SECONDS * FPS, 32, 32, 3), np.uint8)
    samples = np.zeros(SECONDS * RATE_HZ, np.float32)
    return MemorySource.from_arrays(frames=frames, pts_s=np.arange(len(frames)) / FPS, samples=samples)


def test_recorded_calls_are_those_that_a_run_makes(bundle: Bundle, clip: Path) -> None:
    report = run_bundle(bundle, open_source(clip, bundle.contract), max_batch=8)
    calls = list(recorded_calls(bundle.contract, open_source(clip, bundle.contract), 8))
    assert Counter(call.stage for call in calls) == report.calls
    rows: Counter[str] = Counter()
    for call in calls:
        rows[call.stage] += len(next(iter(call.feeds.values())))
    assert rows == report.rows


def test_pipeline_is_compared_repeat_by_repeat(bundle: Bundle, clip: Path) -> None:
    result = compare_pipeline(bundle, clip, repeats=2)
    assert len(result.bare) == len(result.session) == len(result.pipeline) == 2
    assert result.steps == SECONDS * FPS
    assert result.media_s == pytest.approx(SECONDS)
    assert set(result.parts) == {"decode", "align", "video", "audio", "fusion", "sink"}
    # The engines are part of the pipeline, and this clip is real work for a decoder.
    assert all(p > b for p, b in zip(result.pipeline, result.bare, strict=True))
    # The clocks of the parts belong to one of the repeats and leave little of it out.
    assert any(0.6 * wall < sum(result.parts.values()) <= wall for wall in result.pipeline)


def test_words_beside_a_clip_are_part_of_its_pipeline(clip: Path, tmp_path: Path) -> None:
    spoken = make_tiny_bundle(tmp_path / "spoken.affect", text_lengths=(8, 16))
    words = [{"word": word, "start": 0.1 * at, "end": 0.1 * at + 0.1} for at, word in enumerate(("good", "day."))]
    heard = tmp_path / clip.name
    heard.write_bytes(clip.read_bytes())
    heard.with_suffix(".words.json").write_text(json.dumps({"words": words}))
    result = compare_pipeline(spoken, heard, repeats=1)
    assert "text" in result.parts and result.estimates == SECONDS * FPS


def test_ratio_compares_neighbours_in_time() -> None:
    """A machine that slows down to a third between repeats changes no ratio."""
    result = PipelineResult(
        "m",
        "int8",
        8,
        10,
        12.0,
        300,
        300,
        bare=(1.0, 3.0, 1.0),
        session=(1.0, 3.0, 1.0),
        pipeline=(1.1, 3.3, 1.1),
        parts={},
    )
    assert result.ratio == pytest.approx(1.1)
    assert result.times_real_time(result.pipeline) == pytest.approx(12 / 1.1)


def test_session_alone_takes_time_and_no_engine(bundle: Bundle) -> None:
    assert 0 < seconds_of_session(bundle.contract, media()) < 5


def test_stage_feeds_are_what_the_contract_wants(bundle: Bundle) -> None:
    feeds = stage_feeds(bundle, "video", 3)
    assert feeds["frames"].shape == (3, 16, 16, 3)
    assert feeds["frames"].dtype == np.uint8
    assert set(stage_feeds(bundle, "fusion", 1)) == {"video", "audio"}


def test_rows_are_told_in_words_and_large_ones_are_measured_as_they_run(bundle: Bundle) -> None:
    clips = clip_contract(span_frames=16, window_steps=8, resize_px=256, crop_px=224)
    assert row_of(clips, "video") == "clip of 16 pictures of 224×224" and row_of(clips, "audio") == "0.64 s of sound"
    assert row_of(clips, "fusion") == "window of 8 steps" and row_of(bundle.contract, "video") == "picture of 16×16"
    assert batches_of(clips, "video") == [1] and batches_of(clips, "audio") == [1, 8]


def test_a_pipeline_with_one_estimate_a_window_is_as_long_as_its_media(clip: Path, tmp_path: Path) -> None:
    clips = make_tiny_bundle(tmp_path / "clips.affect", contract=clip_contract(video_dim=3))
    result = compare_pipeline(clips, clip, repeats=1)
    assert (result.steps, result.estimates, result.hop_steps) == (SECONDS * FPS, 12, 4)
    assert result.times_real_time(result.pipeline) == pytest.approx(SECONDS / result.pipeline[0])


def test_stage_is_held_to_the_peak_of_what_ran(bundle: Bundle) -> None:
    result = time_stage(bundle, "fusion", "fp32", 4, iterations=5, warmup_s=0, peak=Peak(1e12, 4e12, {}))
    assert result.work == Work.of(bundle, "fusion")
    assert result.work is not None
    assert result.work.macs == 10 * 2 * (3 + 2)
    assert result.share_of_peak == pytest.approx(result.work.macs * 4 / result.timing.percentile(50) / 1e12)


def results() -> BenchResults:
    timing = Timing((0.010, 0.011, 0.030), rows=8)
    stages = [
        StageResult("paper", "video", "int8", "int8", timing, "picture", Work(3_000_000_000, 37_000_000), 500e9),
        StageResult("paper", "fusion", "int8", "fp32", timing, "window of 300 steps"),
    ]
    pipelines = [
        PipelineResult("paper", "int8", 8, 10, 12.0, 300, 300, (2.0,), (2.05,), (2.1,), {"decode": 0.1, "video": 2.0})
    ]
    return BenchResults({"CPU": "test"}, Peak(1e11, 5e11, {}), stages, pipelines, {"paper": 0.2}, {"paper": "ab" * 32})


def test_tables_tell_share_of_peak_and_what_really_ran() -> None:
    told = io.StringIO()
    print_results(results(), Console(file=told, width=160))
    text = told.getvalue()
    # 8 rows × 3 GMAC in 11 ms are 2182 GMAC/s, 436 % of this made-up peak.
    for words in (
        "2181.8",
        "436 %",
        "int8→fp32",
        "video 3.000 GMAC (picture)",
        "fusion (window of 300",
        "1.050",
        "5.71",
        "INT8 500 GMAC/s",
    ):
        assert words in text


def test_results_are_saved_under_machine_and_date(tmp_path: Path) -> None:
    path = save_results(results(), tmp_path / "results", today=datetime.date(2026, 11, 21))
    assert path.name == f"{machine_slug()}-2026-11-21.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["stages"][0]["p50_ms"] == pytest.approx(11.0)
    assert record["stages"][1]["share_of_peak"] is None
    assert record["pipelines"][0]["pipeline_over_bare"] == pytest.approx(1.05)
    assert save_results(results(), tmp_path / "own.json").name == "own.json"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["own.json", "results"]


def test_verb_measures_a_bundle_and_a_file(
    bundle: Bundle, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench.json"
    words = ["bench", bundle.path, "--iterations", "3", "--duration", "0", "--warmup", "0", "--batch", "1,2"]
    assert main([str(w) for w in [*words, "--source", clip, "--repeats", "1", "--no-peak", "--json", out]]) == 0
    record = json.loads(out.read_text(encoding="utf-8"))
    assert {(s["stage"], s["rows"]) for s in record["stages"]} == {
        (stage, rows) for stage in ("video", "audio", "fusion") for rows in (1, 2)
    }
    assert record["peak"] is None
    assert record["bundles"] == {"tiny": bundle.fingerprint}
    assert record["pipelines"][0]["steps"] == SECONDS * FPS
    assert "rows/s" in capsys.readouterr().out


def test_processor_time_stands_still_while_others_run(bundle: Bundle) -> None:
    """A call that sleeps takes wall clock but no processor time, like one that waits for a busy machine."""
    waited = measure(lambda: time.sleep(0.02), iterations=3, warmup_s=0, clock=time.thread_time)
    assert waited.percentile(100) < 0.01
    result = time_stage(bundle, "fusion", "fp32", 1, threads=1, iterations=3, warmup_s=0, clock=time.thread_time)
    assert 0 < result.timing.percentile(50) < 0.1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--cpu-time", "--threads", "2"], "one thread"),
        (["--percentile", "120"], "--percentile '120'"),
        (["--batch", "0"], "--batch '0'"),
        (["--batch", "a,b"], "separated by commas"),
        (["--source", "no-such-file.mp4"], "no file no-such-file.mp4"),
        (["--precision", "int4"], "int4"),
    ],
)
def test_wrong_use_is_told(bundle: Bundle, words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(bundle.path), *words]) in (1, 2)
    assert told in capsys.readouterr().err


def test_suites_run_on_any_bundle(bundle: Bundle, clip: Path, tmp_path: Path) -> None:
    import affectrt.benchmarks

    out = tmp_path / "suite.json"
    words = [
        *affectrt.benchmarks.__path__,
        "--import-mode=importlib",
        "--override-ini=addopts=",
        "-p",
        "no:cacheprovider",
        "--benchmark-max-time=0.01",
        "--benchmark-min-rounds=2",
        f"--bundle=tiny={bundle.path}",
        f"--media={clip}",
        "--repeats=1",
        "--engine-threads=1",
        f"--results={out}",
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "8 passed" in ran.stdout
    record = json.loads(out.read_text(encoding="utf-8"))
    assert len(record["stages"]) == 6
    assert all(0 < s["share_of_peak"] < 1 for s in record["stages"] if s["macs_per_row"])
    assert record["session_ms_per_step"]["tiny"] > 0
