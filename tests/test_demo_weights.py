"""The committed demo weights, on drawn people that neither training nor its test split has ever shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("gi")

import affectrt.models
from affectrt.calibration import calibrate_bundle
from affectrt.export import export_bundle
from affectrt.models import load_checkpoint
from affectrt.training.corpus import Corpus
from affectrt.training.evaluate import Evaluation, evaluate, modality_sets, open_model
from affectrt.training.recordings import record_spans
from affectrt.training.synthetic import make_corpus

WEIGHTS = Path(affectrt.models.__path__[0]) / "weights"
SEED = 4711  # the recipes' corpus has another, and with it other people


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    root = tmp_path_factory.mktemp("people") / "corpus"
    make_corpus(root, seed=SEED, train=4, validation=1, test=14, progress=False)
    return Corpus.open(root)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rcma-demo", "cav-demo"])
def test_new_people_are_followed_by_both_modalities_together_in_fp32_and_int8(
    name: str, corpus: Corpus, tmp_path: Path
) -> None:
    """CCC ≥ 0.80 on both dimensions, fusing beats either modality alone, INT8 costs at most 0.02.

    Each as its contract says what an estimate describes: RCMA's every picture, CAV's the mean over 128 of them.
    """
    calibration = [video.media_path for video in corpus.videos("train")]
    checkpoint = load_checkpoint(WEIGHTS / f"{name}.safetensors")
    recordings = record_spans(checkpoint.model, calibration[:1], per_stage=24, seed=0)
    path = tmp_path / "demo.affect"
    export_bundle(checkpoint, path, recordings=recordings)
    calibrate_bundle(path, calibration, seed=0)

    def scores(precision: str, *modalities: str) -> Evaluation:
        with open_model(path, precision) as opened:  # type: ignore[arg-type]
            return evaluate(opened, corpus, "test", modalities=modalities)

    both, int8 = scores("fp32", "video", "audio"), scores("int8", "video", "audio")
    alone = [scores("fp32", modality) for modality in ("video", "audio")]
    told = {
        "+".join(e.modalities) + " " + e.precision: {k: round(v.value, 3) for k, v in e.ccc.items()}
        for e in (both, int8, *alone)
    }
    print(told)
    mean = [np.mean([interval.value for interval in e.ccc.values()]) for e in (both, *alone)]
    assert all(interval.value >= 0.80 for interval in both.ccc.values()), told
    assert mean[0] > max(mean[1:]), told
    assert all(both.ccc[name].value - int8.ccc[name].value <= 0.02 for name in both.ccc), told


@pytest.mark.slow
def test_new_people_who_speak_are_followed_better_with_their_words_than_without(tmp_path: Path) -> None:
    """Transcripts are the generator's. No figure of one modality alone reaches that of all."""
    root = tmp_path / "corpus"
    make_corpus(root, seed=SEED, train=1, validation=1, test=14, spoken=True, progress=False)
    spoken = Corpus.open(root)
    with open_model(WEIGHTS / "rcma-text-demo.safetensors") as opened:
        sets = modality_sets(opened.contract)
        means = {chosen: evaluate(opened, spoken, "test", modalities=chosen).mean for chosen in sets}
    told = {"+".join(chosen): round(mean, 3) for chosen, mean in means.items()}
    print(told)
    every = ("video", "audio", "text")
    assert means[every] >= 0.80, told
    assert means[every] > means["video", "audio"] + 0.01, told
    assert means["text",] > 0.5 and all(means[every] > mean for chosen, mean in means.items() if chosen != every), told


def test_the_weights_and_their_provenance_are_whole_and_small() -> None:
    """All of them together stay below 9 MB, each below 6 MB, and each says what it was measured on."""
    files = sorted(WEIGHTS.glob("*.safetensors"))
    assert sum(path.stat().st_size for path in files) < 9_000_000
    for path in files:
        assert path.stat().st_size < 6_000_000
        loaded = load_checkpoint(path)
        told = " ".join(score["corpus"] for score in loaded.provenance["accuracy"])
        assert all(name in told for name in loaded.model.config.modalities), path.name  # type: ignore[attr-defined]
