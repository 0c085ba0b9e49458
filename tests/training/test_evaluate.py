"""Estimates meet the annotation of their own picture: engines whose right answer is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import UsageError
from affectrt.runtime import Estimate
from affectrt.training.corpus import Corpus
from affectrt.training.evaluate import Opened, align, annotation_of_steps, evaluate
from affectrt.training.synthetic import write_clip

pytest.importorskip("gi")

CONTRACT = Contract.model_validate(
    {
        "system": "known",
        "variant": "answers",
        "step_hz": 25.0,
        "video": {
            "input": {"name": "frames", "dtype": "uint8", "shape": [8, 8, 3]},
            "feature_dim": 2,
            "resize_px": 8,
            "crop_px": 8,
        },
        "audio": {
            "input": {"name": "waveform", "dtype": "float32", "shape": [640]},
            "feature_dim": 1,
            "sample_rate_hz": 16000,
            "span_samples": 640,
            "anchor": "start",
        },
        "fusion": {
            "stages": [{"outputs": ["valence", "arousal"]}],
            "window_steps": 20,
            "default_hop_steps": 7,
            "output": "per_step",
            "warm_up_steps": 0,
        },
        "outputs": [{"name": "valence"}, {"name": "arousal"}],
    }
)


class KnownEngine:
    """Reads valence from a picture's left half and arousal from its right half: black −1, white 1."""

    inputs: Mapping[str, object] = {}
    outputs: Mapping[str, object] = {}
    provenance: Mapping[str, str] = {"backend": "known"}

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def infer(self, feeds: Mapping[str, npt.NDArray[np.generic]]) -> Mapping[str, npt.NDArray[np.generic]]:
        if self._stage == "video":
            frames = feeds["frames"].astype(np.float32) / 127.5 - 1
            halves = [frames[:, :, :3].mean(axis=(1, 2, 3)), frames[:, :, 5:].mean(axis=(1, 2, 3))]
            return {"features": np.stack(halves, axis=1)}
        if self._stage == "audio":
            return {"features": np.abs(feeds["waveform"]).mean(axis=1, keepdims=True)}
        return {"estimates": feeds["video"]}

    def close(self) -> None: ...

    def __enter__(self) -> KnownEngine:
        return self

    def __exit__(self, *_: object) -> None: ...


KNOWN = Opened(CONTRACT, {stage: KnownEngine(stage) for stage in CONTRACT.stages}, "fp32")  # type: ignore[dict-item,misc]


def _corpus(root: Path, fps: float, truths: list[npt.NDArray[np.float64]]) -> Corpus:
    """Clips that show `truths` as grey, a new random level each picture, and their annotation."""
    labels = root / "6th_ABAW_Annotations" / "VA" / "test"
    labels.mkdir(parents=True)
    for index, truth in enumerate(truths):
        frames = np.repeat(((truth + 1) * 127.5).round().astype(np.uint8), 32, axis=1)
        frames = np.broadcast_to(frames[:, None, :, None], (len(truth), 64, 64, 3))
        sound = np.full(round(len(truth) / fps * 16000), 0.1, np.float32)
        write_clip(root / "raw_videos" / f"clip-{index}.mp4", iter(frames), fps=fps, samples=sound)
        rows = "".join(f"{v:.6f},{a:.6f}\n" for v, a in truth)
        (labels / f"clip-{index}.txt").write_text("valence,arousal\n" + rows)
    return Corpus.open(root)


def _truths(count: int, rows: int) -> list[npt.NDArray[np.float64]]:
    rng = np.random.default_rng(3)
    return [rng.uniform(-0.8, 0.8, (rows, 2)) for _ in range(count)]


@pytest.mark.parametrize("fps", [25.0, 12.5])
def test_every_row_meets_the_estimate_of_its_own_picture(tmp_path: Path, fps: float) -> None:
    # neighbouring pictures are unrelated: one step of misalignment would bring the CCC near 0
    evaluation = evaluate(KNOWN, _corpus(tmp_path, fps, _truths(2, 50)), "test")
    for interval in evaluation.ccc.values():
        assert interval.value > 0.99
    assert [(v.name, v.rows, v.estimated) for v in evaluation.videos] == [("clip-0", 50, 50), ("clip-1", 50, 50)]
    assert evaluation.backend == "known" and evaluation.modalities == ("video", "audio")


def test_columns_are_not_swapped(tmp_path: Path) -> None:
    truth = np.stack([np.random.default_rng(1).uniform(-0.8, 0.8, 50), np.full(50, 0.3)], axis=1)
    evaluation = evaluate(KNOWN, _corpus(tmp_path, 25.0, [truth]), "test")
    assert evaluation.ccc["valence"].value > 0.99
    assert abs(evaluation.ccc["arousal"].value) < 0.01


def test_a_modality_switched_off_at_the_source_is_zero_to_the_fusion(tmp_path: Path) -> None:
    corpus = _corpus(tmp_path, 25.0, _truths(1, 50))
    without_picture = evaluate(KNOWN, corpus, "test", modalities=("audio",))
    assert without_picture.modalities == ("audio",)
    assert all(interval.value == 0.0 for interval in without_picture.ccc.values())
    assert without_picture.videos[0].estimated == 50
    assert evaluate(KNOWN, corpus, "test", modalities=("video",)).ccc["valence"].value > 0.99
    with pytest.raises(UsageError, match="text"):
        evaluate(KNOWN, corpus, "test", modalities=("text",))


def test_rows_that_are_not_annotated_do_not_count(tmp_path: Path) -> None:
    corpus = _corpus(tmp_path, 25.0, _truths(1, 50))
    labels = tmp_path / "6th_ABAW_Annotations" / "VA" / "test" / "clip-0.txt"
    rows = labels.read_text().splitlines()
    rows[11:21] = ["-5,-5"] * 10
    labels.write_text("\n".join(rows) + "\n")
    evaluation = evaluate(KNOWN, corpus, "test")
    assert evaluation.videos[0].rows == 40
    assert evaluation.ccc["valence"].value > 0.99


def test_scores_are_in_the_form_of_a_manifest(tmp_path: Path) -> None:
    accuracy = evaluate(KNOWN, _corpus(tmp_path, 25.0, _truths(2, 50)), "test", corpus_name="grey").as_accuracy()
    assert accuracy.videos == 2 and accuracy.precision == "fp32" and accuracy.corpus == "grey, test, video+audio"
    assert set(accuracy.ccc) == {"valence", "arousal"}
    assert accuracy.ccc["valence"].low is not None


def test_align_takes_the_nearest_step_and_leaves_holes() -> None:
    estimates = [
        Estimate(t_s=k / 25, valence=k / 100, arousal=None, track=0, modalities=("video",)) for k in (0, 1, 2, 4)
    ]
    rows = align(estimates, ["valence", "arousal"], np.array([0.0, 0.019, 0.021, 0.08, 0.12, 0.16, 0.2]), 25.0)
    np.testing.assert_array_equal(rows[:, 0], [0.0, 0.0, 0.01, 0.02, np.nan, 0.04, np.nan])
    assert np.isnan(rows[:, 1]).all()


def test_annotation_of_steps_is_the_nearest_row_and_ends_with_the_rows() -> None:
    truth = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    annotated = annotation_of_steps(truth, np.array([0.0, 0.07, 0.15, 0.23]), 10, 25.0)
    np.testing.assert_allclose(annotated[:5, 0], [0.1, 0.3, 0.3, 0.5, 0.5], rtol=1e-6)
    assert not np.isnan(annotated[6]).any() and np.isnan(annotated[7:]).all()
