"""Text in training equals text in a run: the session on media with a transcript, and windows formed without it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")
pytest.importorskip("gi")

from affectrt.bundle.contract import Contract  # noqa: E402
from affectrt.models.rcma import Rcma  # noqa: E402
from affectrt.models.sizes import text_demo_config  # noqa: E402
from affectrt.runtime import Scheduler  # noqa: E402
from affectrt.runtime.words import Word  # noqa: E402
from affectrt.runtime.words.transcript import write_transcript  # noqa: E402
from affectrt.training.features import features_of  # noqa: E402
from affectrt.training.play import play  # noqa: E402
from affectrt.training.recordings import record_spans, record_video  # noqa: E402
from affectrt.training.synthetic import make_clip, make_identity, write_clip  # noqa: E402
from affectrt.training.text import pieces_of_network  # noqa: E402
from affectrt.training.torch_engine import torch_engines  # noqa: E402
from affectrt.training.train_encoders import Example  # noqa: E402
from affectrt.training.train_fusion import Features, FusionStages, streamed_estimates  # noqa: E402
from affectrt.training.vocabulary import demo_vocabulary  # noqa: E402

WORDS = (
    Word("They", 0.1, 0.36),
    Word("feel", 0.36, 0.5),
    Word("lovely.", 0.52, 1.0),
    Word("Today", 1.2, 1.4),
    Word("was", 1.4, 1.52),
    Word("unimaginably", 1.52, 1.9),
    Word("long!", 1.9, 2.3),  # longer than the clip
)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds with a transcript beside it."""
    clip = make_clip(make_identity(1, 0), 3, seconds=2.0, size_px=64)
    path = tmp_path_factory.mktemp("said") / "clip.mp4"
    write_clip(path, clip.frames(), samples=clip.samples)
    write_transcript(path.with_name("clip.words.json"), WORDS)
    return path


@pytest.fixture(scope="module")
def network() -> Rcma:
    torch.manual_seed(1)
    config = text_demo_config(demo_vocabulary())
    model = Rcma(dataclasses.replace(config, window_steps=30, default_hop_steps=7, text_mean=0.2, text_std=1.5))
    return model.eval()


@pytest.mark.parametrize(
    "modalities", [("video", "audio", "text"), ("text",), ("audio", "text"), ("video", "text"), ("video", "audio")]
)
def test_the_session_gives_what_features_in_training_give_for_every_set_with_or_without_text(
    modalities: tuple[str, ...], media: Path, network: Rcma
) -> None:
    contract = Contract.model_validate(network.contract())
    spans = record_video(contract, media, margin=True)
    assert spans.words == WORDS
    whole = features_of(network, contract, Example(spans, np.zeros((spans.steps, 2), np.float32)), 1, mirrored=False)
    assert (whole.variants["text"][0] != 0).any(axis=1).sum() > 30
    variants = {name: rows if name in modalities else [np.zeros_like(rows[0])] for name, rows in whole.variants.items()}
    stages = FusionStages(network.fusion_modules(), contract).eval()
    steps, windowed = streamed_estimates(stages, contract, Features(variants, whole.truth))
    estimates = play(
        contract,
        media,
        Scheduler(contract, torch_engines(network)).infer,
        pieces=pieces_of_network(network),
        modalities=modalities,
    )
    assert steps.tolist() == [round(e.t_s * contract.step_hz) for e in estimates]
    session = np.array([(e.valence, e.arousal) for e in estimates])
    np.testing.assert_allclose(windowed, session, atol=2e-5)
    with_text = {step for step, e in enumerate(estimates) if "text" in e.modalities}
    spoken = {k for k in range(spans.steps) if any(w.start_s < k / 25 <= w.end_s for w in WORDS)}
    assert with_text == (spoken if "text" in modalities else set())


def test_sentences_are_among_a_recording_s_real_inputs_as_long_as_the_contract_s_longest(
    media: Path, network: Rcma
) -> None:
    drawn = record_spans(network, [media], per_stage=4, seed=0)
    assert {name: array.shape for name, array in drawn["text"].items()} == {
        "token_ids": (2, 64),
        "mask": (2, 64),
        "word_index": (2, 64),
    }
    assert sorted(drawn["text"]["word_index"].max(axis=1).tolist()) == [3, 4]
