"""Experiments whose encoders never learn: features are looked up instead of computed in every epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.tiny_experiments import as_toml, tiny, toy

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from affectrt.bundle.errors import UsageError  # noqa: E402
from affectrt.cli.main import main  # noqa: E402
from affectrt.models.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from affectrt.training.experiments.beginning import begin_with, cached_features  # noqa: E402
from affectrt.training.experiments.config import ExperimentConfig, network_of, read_config  # noqa: E402
from affectrt.training.experiments.data import collated  # noqa: E402
from affectrt.training.experiments.module import AffectModule  # noqa: E402
from affectrt.training.experiments.series import WindowSet  # noqa: E402
from affectrt.training.prepared import PreparedCorpus  # noqa: E402
from affectrt.training.progress import Progress  # noqa: E402

FROZEN = {"release": {"stages": 0}}
QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy(tmp_path_factory.mktemp("toy") / "rcma", tiny(), unseen=(12, 33), unannotated=(5,))


def windows(config: Any, corpus: Path, work: Path | None) -> tuple[WindowSet, AffectModule]:
    torch.manual_seed(2)
    network, opened = network_of(config), PreparedCorpus.open(corpus)
    module = AffectModule(config, network, None)  # type: ignore[arg-type]
    features = cached_features(config, network, opened, work, QUIET) if work is not None else None
    contract, videos = module.contract, opened.videos("train")
    return WindowSet(videos, contract, config.rules, hop=config.hop, scored=False, features=features), module


@pytest.mark.parametrize("system", ["rcma", "cav"])
def test_a_window_of_cached_features_is_the_window_that_the_encoders_would_compute(tmp_path: Path, system: str) -> None:
    root = toy(tmp_path / "toy", tiny(system), train=(150,) if system == "cav" else (45,), unseen=(12, 33))
    computed, module = windows(tiny(system, **FROZEN), root, None)
    cached, same = windows(tiny(system, features="cached"), root, tmp_path)
    assert len(computed) == len(cached) > 1
    module.network.eval()
    for index in range(len(computed)):
        with torch.inference_mode():
            expected = module.features(collated([computed.item(index)]))
        found = same.features(collated([cached.item(index)]))
        assert list(found) == list(expected) == ["video", "audio"]
        for modality in expected:
            torch.testing.assert_close(found[modality], expected[modality], rtol=1e-4, atol=1e-5)


def test_mirrored_faces_and_lost_modalities_are_drawn_from_the_seed(corpus: Path, tmp_path: Path) -> None:
    cached, _ = windows(tiny(features="cached", mirrored=True), corpus, tmp_path)
    plain = cached.item(0)["video_features"]
    drawn = [cached.item(0, np.random.default_rng(seed), 0.3) for seed in range(40)]
    kinds = {item["video_features"].tobytes() for item in drawn}
    assert len(kinds) == 3 and plain.tobytes() in kinds  # as it is, mirrored, lost
    assert any(not item["audio_features"].any() for item in drawn)
    again = cached.item(0, np.random.default_rng(7), 0.3)
    assert all(np.array_equal(again[name], drawn[7][name]) for name in again)


def test_a_bundle_s_engines_encode_for_the_checkpoint_that_it_was_exported_from(corpus: Path, tmp_path: Path) -> None:
    config = tiny(features="cached", epochs=1)
    torch.manual_seed(4)
    weights = tmp_path / "begun.safetensors"
    told = {"recipe": "toy", "training_corpus": "none", "licence": "CC0-1.0", "intended_use": "tests"}
    save_checkpoint(network_of(config), weights, told)
    assert main(["export", str(weights), "--out", str(tmp_path / "begun.affect"), "--quiet"]) == 0
    toml = tmp_path / "toy.toml"
    toml.write_text(as_toml(config), encoding="utf-8")
    out, cache = tmp_path / "x.safetensors", tmp_path / "cache"
    common = ["train", str(toml), "--corpus", str(corpus), "--out", str(out), "--accelerator", "cpu"]
    shared = ["--cache", str(cache), "--encoders", str(tmp_path / "begun.affect")]
    assert main([*common, *shared]) == 2  # its encoders are not those of the network
    assert main([*common, *shared, "--init", str(weights)]) == 0
    assert '"backend": "onnxruntime"' in next(cache.glob("video-*/decides.json")).read_text()
    ours, theirs = (load_checkpoint(path).model.state_dict() for path in (out, weights))
    changed = {name.split(".")[0] for name in ours if not torch.equal(ours[name], theirs[name])}
    assert changed and "encoders" not in changed


def test_encoders_are_taken_from_a_checkpoint_whose_fusion_is_another(tmp_path: Path) -> None:
    torch.manual_seed(4)
    other, path = network_of(tiny(fields={"head_hidden": 12})), tmp_path / "other.safetensors"
    save_checkpoint(other, path, {})
    config = tiny(init={"files": [str(path)], "take": "encoders"})
    network = network_of(config)
    begin_with(network, config)
    state = network.encoders.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in other.encoders.state_dict().items())
    wider = tiny(fields={"video_dim": 9}, init={"files": [str(path)], "take": "encoders"})
    with pytest.raises(UsageError, match="other encoders"):
        begin_with(network_of(wider), wider)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"features": "cached", "protocol": "published"}, "take repaired"),
        ({"features": "cached", "release": {"stages": 1}}, "release.stages must be 0"),
        ({"encoders": {"bundle": "x.affect"}}, 'features must be "cached"'),
    ],
)
def test_what_cannot_be_cached_is_refused(tmp_path: Path, choice: dict[str, Any], told: str) -> None:
    path = tmp_path / "toy.toml"
    path.write_text(as_toml(tiny()), encoding="utf-8")
    with pytest.raises(UsageError, match=told):
        read_config(path, choice)
    assert isinstance(tiny(features="cached"), ExperimentConfig) and tiny(features="cached").release.stages == 0
