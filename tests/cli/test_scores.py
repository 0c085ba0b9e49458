"""The table of scores says what was compared with what."""

from __future__ import annotations

import pytest

from affectrt.bundle import Interval
from affectrt.cli.scores import print_scores
from affectrt.training.evaluate import Evaluation


def told(described_steps: int, capsys: pytest.CaptureFixture[str], videos: int = 0) -> str:
    ccc = {"valence": Interval(value=0.8, low=0.7, high=0.9), "arousal": Interval(value=0.5)}
    both = ("video", "audio")
    print_scores([Evaluation("c", "test", both, 16, described_steps, "fp32", "onnxruntime", ccc, (None,) * videos)])  # type: ignore[arg-type]
    return " ".join(capsys.readouterr().out.split())


def test_means_over_windows_are_said_to_be_such(capsys: pytest.CaptureFixture[str]) -> None:
    assert "against means of the annotation over the 128 steps" in told(128, capsys)
    text = told(1, capsys)
    assert "means" not in text and "0.800 [0.700, 0.900]" in text and "video+audio" in text


def test_intervals_of_few_videos_are_said_to_say_little(capsys: pytest.CaptureFixture[str]) -> None:
    assert "of 2 alone they say little" in told(1, capsys, videos=2)
    assert "say little" not in told(1, capsys, videos=5)
