"""What the demo compares: an estimate with what it describes, a step's truth or a window's mean of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
from doubles.clip_contract import clip_contract
from doubles.tiny_bundle import make_tiny_bundle

from affectrt.benchmarks.demo_result import DemoResult
from affectrt.benchmarks.report import report_html
from affectrt.bundle import Bundle
from affectrt.cli.demo_findings import demo_result, predictions_name, write_truth

STEPS, HZ = 60, 25.0
PATH = np.stack([np.sin(np.arange(STEPS) / 9), np.cos(np.arange(STEPS) / 7)], axis=1).astype(np.float32)


class Clip:
    truth = PATH
    fps = HZ
    identity = SimpleNamespace(name="nobody")

    def frames(self) -> Iterator[np.ndarray]:
        return (np.full((16, 16, 3), step, np.uint8) for step in range(STEPS))


def found(folder: Path, bundle: Bundle, estimates: dict[int, Any]) -> DemoResult:
    lines = [json.dumps({"t_s": k / HZ, "valence": float(v), "arousal": float(a)}) for k, (v, a) in estimates.items()]
    (folder / predictions_name("fp32")).write_text("\n".join(["{}", *lines]) + "\n")
    report: Any = SimpleNamespace(wall_s=1.2, seconds={"open": 0.2, "video": 0.5})
    return demo_result(folder, Clip(), bundle, {"fp32": report}, {"CPU": "one"})  # type: ignore[arg-type]


def means(steps: range, length: int) -> np.ndarray:
    return np.array([PATH[max(0, step - length + 1) : step + 1].mean(axis=0) for step in steps])


def test_an_estimate_of_a_step_is_compared_with_the_truth_of_that_step(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny.affect")
    result = found(tmp_path, bundle, {**dict(enumerate(PATH)), STEPS: (1.0, 1.0)})
    assert result.runs[0].ccc == pytest.approx({"valence": 1.0, "arousal": 1.0})
    assert (result.estimate_every_s, result.described_s, result.steps) == (0.0, 0.0, STEPS)
    assert "at 25 estimates a second." in report_html(result)


def test_an_estimate_of_a_window_is_compared_with_the_mean_of_what_it_was_made_of(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "clips.affect", contract=clip_contract(video_dim=3))
    steps = range(3, STEPS, 4)
    right = found(tmp_path, bundle, dict(zip(steps, means(steps, 12), strict=True)))
    assert right.runs[0].ccc == pytest.approx({"valence": 1.0, "arousal": 1.0})
    np.testing.assert_allclose(right.runs[0].curve.t_s, np.arange(3, STEPS, 4) / HZ)
    np.testing.assert_allclose(right.truth.valence, means(range(STEPS), 12)[:, 0], atol=1e-6)
    assert (right.estimate_every_s, right.described_s) == pytest.approx((0.16, 0.48))
    assert found(tmp_path, bundle, {k: PATH[k] for k in steps}).runs[0].ccc["valence"] < 0.99
    page = report_html(right)
    assert "with an estimate every 0.16 s, each of the mean over the 0.48 s up to its time" in page
    assert "truth (drawn by the generator), mean over 0.48 s" in page
    assert right.times_real_time(right.runs[0]) == pytest.approx(STEPS / HZ)


def test_an_estimate_that_is_missing_is_left_out_of_the_comparison(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "clips.affect", contract=clip_contract(video_dim=3))
    steps = range(11, STEPS, 4)
    result = found(tmp_path, bundle, dict(zip(steps, means(steps, 12), strict=True)))
    assert np.isnan(result.runs[0].curve.valence[:2]).all()
    assert result.runs[0].ccc["valence"] == pytest.approx(1.0)


def test_the_truth_that_is_kept_is_that_of_the_steps(tmp_path: Path) -> None:
    write_truth(Clip(), tmp_path / "truth.csv")  # type: ignore[arg-type]
    rows = np.loadtxt(tmp_path / "truth.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(rows[:, 1:], PATH, atol=1e-6)
