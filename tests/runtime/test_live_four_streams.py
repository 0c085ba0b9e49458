"""Four live streams of picture and sound through the demo bundle in real time, on this machine's cores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from doubles.demo_bundles import demo_bundles
from doubles.kept_sink import Kept

from affectrt.runtime.live import run_streams
from affectrt.runtime.sources import open_source

ROOT = Path(__file__).parents[2]
SOURCE = "test://ball?width=320&height=240&fps=25&audio=tone"
SECONDS = 30


@pytest.mark.slow
def test_four_streams_are_estimated_in_real_time() -> None:
    pytest.importorskip("gi")
    bundle = demo_bundles(ROOT / "build" / "doubles")["rcma"]
    busy = os.getloadavg()[0]
    kept = Kept()
    sources = [open_source(SOURCE, bundle.contract) for _ in range(4)]
    reports = run_streams(bundle, sources, [kept], threads=1, duration_s=SECONDS)
    hop_s = reports[0].hop_s
    look_ahead_s = kept.header.look_ahead_s if kept.header is not None else 0.0
    for report in reports:
        print(
            f"{report.source}: {report.estimates} estimates, {report.counters['frames_dropped']} of "
            f"{report.counters['frames_in']} frames dropped, age p50 {report.ages_ms['p50']:.0f} ms, "
            f"p99 {report.ages_ms['p99']:.0f} ms (look-ahead {look_ahead_s:g} s, hop {hop_s:g} s, load {busy:.1f})"
        )
        assert report.failure is None and report.gap_count == 0 and report.skipped_steps == 0
        assert report.estimates >= 25 * (SECONDS - 5)
        # On a machine that is busy with other things a frame may be lost; left alone none is.
        allowed = 0 if busy < 0.5 else 0.02 * report.counters["frames_in"]
        assert report.counters["frames_dropped"] <= allowed
        assert report.ages_ms["p99"] <= 1000 * (look_ahead_s + hop_s + 1 / 25 + 0.5)
