"""Estimates meet the annotation of their own picture: engines whose right answer is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from doubles.clip_contract import clip_contract

from affectrt.bundle.contract import Contract
from affectrt.bundle.errors import UsageError
from affectrt.training.corpus import Corpus
from affectrt.training.evaluate import Opened, evaluate
from affectrt.training.metrics import ccc
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

    def __init__(self, stage: str, *, per_window: bool = False) -> None:
        self._stage = stage
        self._per_window = per_window

    def infer(self, feeds: Mapping[str, npt.NDArray[np.generic]]) -> Mapping[str, npt.NDArray[np.generic]]:
        if self._stage == "video":
            frames = feeds["frames"].astype(np.float32) / 127.5 - 1
            if frames.ndim == 5:  # clips: the mean picture
                frames = frames.mean(axis=1)
            halves = [frames[:, :, :3].mean(axis=(1, 2, 3)), frames[:, :, 5:].mean(axis=(1, 2, 3))]
            return {"features": np.stack(halves, axis=1)}
        if self._stage == "audio":
            return {"features": np.abs(feeds["waveform"]).mean(axis=1, keepdims=True)}
        # one row a window: that of its newest span
        return {"estimates": feeds["video"][:, -1] if self._per_window else feeds["video"]}

    def close(self) -> None: ...

    def __enter__(self) -> KnownEngine:
        return self

    def __exit__(self, *_: object) -> None: ...


# One clip of 12 frames a window, hence estimates that are means over 12 steps, every 5 steps.
CLIPS = clip_contract(span_frames=12, window_steps=1, stride_steps=1, hop_steps=1, resize_px=8)
KNOWN_MEANS = Opened(CLIPS, {s: KnownEngine(s, per_window=True) for s in CLIPS.stages}, "fp32")  # type: ignore[dict-item,misc]
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


def _decoded(level: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A grey level after the way through the codec's limited range."""
    return 0.98 * level - 0.012


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


def test_a_window_mean_meets_the_mean_of_the_annotation_over_its_window(tmp_path: Path) -> None:
    """Expected from the pictures alone: the first clips repeat their first picture, the means are cut there."""
    truths = [np.repeat(levels, 5, axis=0) for levels in _truths(2, 10)]
    evaluation = evaluate(KNOWN_MEANS, _corpus(tmp_path, 25.0, truths), "test", corpus_name="grey")
    estimated, true = [], []
    for truth in truths:
        for k in range(50):
            estimated.append(truth[[max(0, j) for j in range(k - 11, k + 1)]].mean(axis=0))
            true.append(truth[max(0, k - 11) : k + 1].mean(axis=0))
    want = [ccc(_decoded(np.array(estimated)[:, d]), np.array(true)[:, d]) for d in (0, 1)]
    assert [interval.value for interval in evaluation.ccc.values()] == pytest.approx(want, abs=0.01)
    assert [(v.rows, v.estimated) for v in evaluation.videos] == [(50, 50)] * 2
    assert evaluation.described_steps == 12
    assert evaluation.as_accuracy().corpus == "grey, test, video+audio, window means of 12 steps"


def test_a_window_mean_is_that_of_its_annotated_steps_and_none_is_not_scored(tmp_path: Path) -> None:
    truth = np.zeros((50, 2))
    truth[30:] = 0.6
    corpus = _corpus(tmp_path, 25.0, [truth])
    labels = tmp_path / "6th_ABAW_Annotations" / "VA" / "test" / "clip-0.txt"
    rows = labels.read_text().splitlines()
    # pictures 10 to 29 are not annotated: those that end at 21 to 29 have no annotated step
    rows[11:31] = ["-5,-5"] * 20
    labels.write_text("\n".join(rows) + "\n")
    (score,) = evaluate(KNOWN_MEANS, corpus, "test").videos
    assert (score.rows, score.estimated) == (41, 41)
    described = [0.0] * 21 + [0.6] * 20
    shown = [truth[max(0, k - 11) : k + 1, 0].mean() for k in [*range(21), *range(30, 50)]]
    assert score.ccc["valence"] == pytest.approx(ccc(_decoded(np.array(shown)), np.array(described)), abs=0.01)
