"""Words in experiments: a frozen BERT's vectors, computed once, scaled by the protocol's rules."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.reading_experiments import ALL, Begun, own, reads, run
from doubles.text_models import VOCABULARY, make_bert
from doubles.tiny_experiments import tiny

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

from affectrt.bundle.contract import Contract  # noqa: E402
from affectrt.bundle.errors import UsageError  # noqa: E402
from affectrt.models.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from affectrt.runtime import Scheduler  # noqa: E402
from affectrt.training.examined import examined_videos  # noqa: E402
from affectrt.training.experiments.beginning import begin_with  # noqa: E402
from affectrt.training.experiments.config import network_of  # noqa: E402
from affectrt.training.experiments.data import collated  # noqa: E402
from affectrt.training.experiments.module import AffectModule  # noqa: E402
from affectrt.training.experiments.words import said, scale_of  # noqa: E402
from affectrt.training.text import parts_of, pieces_of_network, word_vectors  # noqa: E402
from affectrt.training.torch_engine import torch_engines  # noqa: E402

ROOT = Path(__file__).parents[3]


def vectors_of(whole: Any, video: Any) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (steps, dim) in float64, zeros without a word, and where there is one; by loops over words and steps."""
    contract = Contract.model_validate(whole.contract())
    words = video.words()
    parts = parts_of(words, pieces_of_network(whole), contract.text)
    vectors = word_vectors(whole.encoders["text"], parts, contract.text.feature_dim)
    rows, there = np.zeros((video.steps, vectors.shape[1])), np.zeros(video.steps, bool)
    for step in range(video.steps):
        spoken = [at for at, w in enumerate(words) if w.start_s < step / 25 <= w.end_s]
        if spoken:
            rows[step], there[step] = vectors[spoken[0]], True
    return rows, there


def windows_of_rows(rows: int, window: int = 20, hop: int = 10) -> int:
    """⌊(N − window) / hop⌋ + 1, and one more at the end where rows are left."""
    if rows <= window:
        return 1
    whole, rest = divmod(rows - window, hop)
    return whole + 1 + bool(rest)


@pytest.mark.parametrize("protocol", ["published", "repaired"])
def test_words_have_the_mean_and_deviation_of_their_protocol_s_rows(
    bert: Path, corpus: Path, tmp_path: Path, protocol: str
) -> None:
    begun = Begun(reads(bert, protocol=protocol), corpus, tmp_path)
    expected = []
    for split in begun.videos:
        chosen = []
        for video in split:
            rows, there = vectors_of(begun.whole, video)
            if protocol == "repaired":
                chosen.append(rows[there])
            else:
                annotated = ~np.isnan(video.truth()).any(axis=1)
                chosen += [rows[annotated]] * windows_of_rows(int(annotated.sum()))
        numbers = np.concatenate(chosen)
        expected.append((numbers.mean(), numbers.std()))
    if protocol == "repaired":
        expected[1] = expected[0]
    np.testing.assert_allclose(np.array(begun.scales), expected, rtol=1e-5)
    assert (begun.network.config.text_mean, begun.network.config.text_std) == begun.scales[0]
    assert protocol == "repaired" or begun.scales[0] != begun.scales[1]
    assert abs(begun.scales[0].mean) > 0.05


@pytest.mark.parametrize("protocol", ["published", "repaired"])
def test_words_where_nobody_annotated_are_no_words_to_the_published_statistics(
    bert: Path, corpus: Path, tmp_path: Path, protocol: str
) -> None:
    begun = Begun(reads(bert, protocol=protocol), corpus, tmp_path)
    assert begun.features is not None
    video = begun.videos[0][0]
    truth = np.where(said(video)[:, None], np.nan, video.truth())

    class Elsewhere:
        name, steps, step_hz, words = video.name, video.steps, video.step_hz, video.words

        def truth(self) -> np.ndarray:
            return truth

    found = scale_of([Elsewhere()], reads(bert, protocol=protocol), 20, begun.features)  # type: ignore[list-item]
    assert (found is None) == (protocol == "published")


@pytest.mark.parametrize(
    ("protocol", "how"), [("published", "a BERT"), ("repaired", "a BERT"), ("repaired", "an encoder of its own")]
)
def test_a_window_s_words_are_scaled_and_where_none_is_zeros_or_what_the_authors_make_of_zeros(
    bert: Path, corpus: Path, tmp_path: Path, protocol: str, how: str
) -> None:
    begun = Begun(reads(bert, protocol=protocol) if how == "a BERT" else own(), corpus, tmp_path)
    assert how == "a BERT" or begun.scales == [(0.05, 2.0)] * 2
    for windows, scale, split in zip(begun.sets, begun.scales, begun.videos, strict=True):
        for index, window in enumerate(windows.windows):
            video = split[window.video]
            rows, there = vectors_of(begun.whole, video)
            kept = np.arange(video.steps)
            if protocol == "published":
                kept = kept[~np.isnan(video.truth()).any(axis=1)]
            steps = kept[window.start : window.start + window.rows]
            expected = np.full((20, rows.shape[1]), -scale.mean / scale.std if protocol == "published" else 0.0)
            said = there[steps]
            expected[: len(steps)][said] = (rows[steps][said] - scale.mean) / scale.std
            item = windows.item(index)
            np.testing.assert_allclose(item["text_features"], expected, atol=1e-4)
            assert {"frames", "waveform"} < set(item)


def test_a_repaired_window_has_the_words_that_the_session_gives_the_fusion(
    bert: Path, corpus: Path, tmp_path: Path
) -> None:
    begun = Begun(reads(bert), corpus, tmp_path)
    contract = Contract.model_validate(begun.whole.contract())
    scheduler = Scheduler(contract, torch_engines(begun.whole))
    compared = 0
    for number, examined in enumerate(examined_videos(contract, begun.corpus, "train")):
        fed: dict[int, np.ndarray] = {}

        def infer(requests: Any, fed: dict[int, np.ndarray] = fed) -> Any:
            fed |= {request.step: request.feeds["text"] for request in requests if request.stage == "fusion"}
            return scheduler.infer(requests)

        examined.stream(infer, pieces_of_network(begun.whole), contract.modalities, 1)
        for index, window in enumerate(begun.sets[0].windows):
            last = window.start + window.rows - 1
            if window.video == number and window.rows == 20:
                found = begun.sets[0].item(index)["text_features"]
                np.testing.assert_allclose(found, fed[last], atol=1e-5)
                assert np.array_equal(found.any(axis=1), np.asarray(fed[last]).any(axis=1))
                compared += bool(found.any())
    assert compared > 5


@pytest.mark.parametrize("how", ["a BERT", "an encoder of its own"])
def test_words_are_the_same_whether_faces_and_voices_are_computed_or_looked_up(
    bert: Path, corpus: Path, tmp_path: Path, how: str
) -> None:
    make = (lambda **more: reads(bert, **more)) if how == "a BERT" else own
    computed, cached = (Begun(make(features=f), corpus, tmp_path / f) for f in ("computed", "cached"))
    module = AffectModule(make(), computed.network, None)  # type: ignore[arg-type]
    module.network.eval()
    assert len(computed.sets[0]) == len(cached.sets[0]) > 5
    for index in range(len(computed.sets[0])):
        batches = [collated([begun.sets[0].item(index)]) for begun in (computed, cached)]
        assert torch.equal(batches[0]["text_features"], batches[1]["text_features"])
        with torch.inference_mode():
            expected, found = (module.features(batch) for batch in batches)
        assert list(found) == list(expected) == ALL and "frames" not in batches[1]
        for modality in ALL:
            torch.testing.assert_close(found[modality], expected[modality], rtol=1e-4, atol=1e-5)
    assert len(list((tmp_path / "cached/features").glob("text-*"))) == 1
    assert not list((tmp_path / "computed/features").glob("video-*"))


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_words_are_lost_as_often_as_faces_and_voices(bert: Path, corpus: Path, tmp_path: Path, share: float) -> None:
    windows = Begun(reads(bert), corpus, tmp_path).sets[0]
    items = [windows.item(0, np.random.default_rng(n), share) for n in range(200)]
    for name in ("seen", "heard", "text_features"):
        lost = sum(not item[name].any() for item in items) / len(items)
        assert lost == pytest.approx(share - share**3, abs=0.08), name  # a window that would lose all keeps all


def test_folds_protocols_and_seeds_share_the_vectors_of_one_bert(bert: Path, corpus: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    ways = ({}, {"seed": 8, "protocol": "published"}, {"features": "cached"})
    kept: dict[Path, int] = {}
    for way in ways:
        Begun(reads(bert, cache=cache, **way), corpus, tmp_path)
        found = {path: path.stat().st_mtime_ns for path in cache.glob("text-*/*")}
        assert len(found) == 2 * 7 + 1 and (not kept or found == kept)
        kept = found
    trained = [run(reads(bert, cache=cache, fold=f), corpus, tmp_path / f"{f}.safetensors") for f in (1, 3)]
    assert {path: path.stat().st_mtime_ns for path in cache.glob("text-*/*")} == kept
    stds = {load_checkpoint(each.checkpoint).model.config.text_std for each in trained}
    assert len(stds) == 2  # of the videos that each fold trains on
    Begun(reads(make_bert(tmp_path / "other", seed=1), cache=cache), corpus, tmp_path)
    assert len(list(cache.glob("text-*/*"))) == 2 * (2 * 7 + 1)
    told = json.loads(next(cache.glob("text-*/decides.json")).read_text())
    assert (told["modality"]["mean"], told["modality"]["std"]) == (0.0, 1.0)


def test_a_network_takes_the_scale_of_words_with_the_encoder_of_a_checkpoint_and_no_other_vocabulary(
    corpus: Path, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    path = tmp_path / "whole.safetensors"
    save_checkpoint(network_of(own(fields={"text_mean": 0.31, "text_std": 1.7, "head_hidden": 9})), path, {})
    init = {"files": [str(path)], "take": "encoders"}
    begun = Begun(own(init=init), corpus, tmp_path)
    assert begun.scales == [(0.31, 1.7)] * 2 and begun.contract.text is not None
    assert (begun.contract.text.mean, begun.contract.text.std) == (0.31, 1.7)
    moved = own(init=init, fields={"text_vocabulary": [*VOCABULARY[:-1], "?"]})
    with pytest.raises(UsageError, match="has another text_vocabulary than"):
        begin_with(network_of(moved), moved)
    narrow = own(init=init, fields={"text_heads": 2})  # which no shape tells
    with pytest.raises(UsageError, match="has another text_heads than"):
        begin_with(network_of(narrow), narrow)
    for system in ("rcma", "cav"):  # networks that read nothing
        other = tmp_path / f"{system}.safetensors"
        save_checkpoint(network_of(tiny(system)), other, {})
        silent = own(init={"files": [str(other)], "take": "encoders"})
        with pytest.raises(UsageError, match="has no encoder of words"):
            begin_with(network_of(silent), silent)
    same = own(init={"files": [str(path)]}, fields={"head_hidden": 9})
    network = network_of(same)
    begin_with(network, same)
    assert network.config.text_mean == 0.31


def test_the_text_demo_s_variant_begins_with_the_encoders_of_the_committed_weights(corpus: Path) -> None:
    weights = ROOT / "models/weights/rcma-text-demo.safetensors"
    init = {"files": [str(weights)], "take": "encoders"}
    config = tiny(network={"variant": "text-demo"}, init=init)
    network = network_of(config)
    begin_with(network, config)
    whole = load_checkpoint(weights).model
    assert replace(network.config, text_mean=0.0, text_std=1.0) == network_of(config).config
    assert (network.config.text_mean, network.config.text_std) == (whole.config.text_mean, whole.config.text_std)
    ours, theirs = (n.encoders.state_dict() for n in (network, whole))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_network_that_takes_words_from_outside_may_take_faces_and_voices_from_one_that_reads_itself(
    tmp_path: Path,
) -> None:
    torch.manual_seed(1)
    other, path = network_of(own()), tmp_path / "whole.safetensors"
    save_checkpoint(other, path, {})
    config = reads(init={"files": [str(path)], "take": "encoders"})
    network = network_of(config)
    begin_with(network, config)
    assert set(network.encoders) == {"video", "audio"} and network.config.text_std == 1.0
