"""The demo weights through every way of evaluating them: a session and offline windows say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("gi")

from doubles.demo_bundles import demo_bundles
from doubles.toy_prepared import make_toy_corpus

from affectrt.bundle.manifest import Asked
from affectrt.training.corpus import Corpus
from affectrt.training.evaluate import examine, modality_sets, open_model
from affectrt.training.evaluation import agreements
from affectrt.training.evaluation_report import letters
from affectrt.training.prepared import PreparedCorpus
from affectrt.training.synthetic.corpus import make_corpus

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "models" / "weights"


def test_a_demo_checkpoint_says_the_same_in_a_stream_and_offline(tmp_path: Path) -> None:
    """Longer than a window, so that windows slide and the published ones overlap."""
    make_corpus(tmp_path, seed=11, train=1, validation=1, test=2, seconds=14.0, size_px=64, progress=False)
    with open_model(WEIGHTS / "rcma-demo.safetensors", threads=1) as opened:
        found = examine(
            opened,
            Corpus.open(tmp_path),
            sets=modality_sets(opened.contract),
            windows=("stream", "offline", "published"),
        )
    for agreement in agreements(found):
        assert agreement.agree and agreement.steps == 700, agreement
    streamed, published = (
        next(e for e in found if e.evaluation.windows == rule and len(e.evaluation.modalities) == 2)
        for rule in ("stream", "published")
    )
    # published windows look ahead, so they say something else, of the same recording
    assert not np.allclose(streamed.played[0].rows, published.played[0].rows)
    assert streamed.evaluation.mean == pytest.approx(published.evaluation.mean, abs=0.15)


def test_every_subset_of_three_modalities_is_scored_and_agrees(tmp_path: Path) -> None:
    from affectrt.bundle.errors import MissingDependency

    try:
        make_corpus(
            tmp_path, seed=12, train=1, validation=1, test=1, seconds=8.0, size_px=64, spoken=True, progress=False
        )
    except MissingDependency as error:
        pytest.skip(str(error))
    with open_model(WEIGHTS / "rcma-text-demo.safetensors", threads=1) as opened:
        found = examine(
            opened, Corpus.open(tmp_path), sets=modality_sets(opened.contract), windows=("stream", "offline")
        )
    told = agreements(found)
    assert {letters(a.modalities) for a in told} == {"A", "V", "T", "AV", "AT", "VT", "AVT"}
    for agreement in told:
        assert agreement.agree and agreement.steps == 200, agreement
    of = {letters(e.evaluation.modalities): e.played[0].rows for e in found if e.evaluation.windows == "offline"}
    assert not np.allclose(of["AVT"], of["AV"]), "words change what is said"


@pytest.mark.parametrize(("system", "precision"), [("rcma", "fp32"), ("rcma", "int8"), ("cav", "int8")])
def test_a_bundle_of_any_precision_says_the_same_offline(tmp_path: Path, system: str, precision: Asked) -> None:
    bundle = demo_bundles(ROOT / "build" / "doubles")[system]
    make_toy_corpus(tmp_path, bundle.contract, train=(), validation=(150,), unseen=(20, 21, 22))
    with open_model(bundle.path, precision, threads=1) as opened:
        found = examine(
            opened,
            PreparedCorpus.open(tmp_path),
            "validation",
            sets=(("video", "audio"),),
            windows=("stream", "offline"),
        )
    (agreement,) = agreements(found)
    assert agreement.agree and agreement.steps >= 9, agreement
    assert found[0].evaluation.precision == precision
