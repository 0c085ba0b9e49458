"""The configurations of the published experiments, and what a person's own may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from affectrt.bundle.errors import UsageError
from affectrt.training.experiments.config import ExperimentConfig, is_experiment, network_of, read_config

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "training/configs").glob("*.toml"))
# Validation and test CCC that could be found of arXiv 2403.13659; none of 2111.05222.
FIGURES = {
    "rjcma-fold0": [("validation", 0.455, 0.652, None)],
    "rjcma-fold1": [
        ("validation", 0.585, 0.674, None),
        ("validation", 0.585, 0.659, None),
        ("test", 0.542, 0.619, None),
    ],
    "rjcma-table3-l1": [("validation", None, None, 0.607)],
    "rjcma-table3-l2": [("validation", None, None, 0.618)],
    "rjcma-table3-l3": [("validation", None, None, 0.629)],
    "rjcma-table3-l4": [("validation", None, None, 0.615)],
    "rjca-table2": [("test", 0.537, 0.576, None)],
}
WITHOUT = {"rcma-v1", *(f"rjcma-fold{f}" for f in range(2, 6)), "cav-recola-valence", "cav-recola-arousal"}


def test_every_published_experiment_has_a_configuration() -> None:
    assert {path.stem for path in CONFIGS} == set(FIGURES) | WITHOUT


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_published_configuration_is_valid_and_its_network_can_be_built_at_full_size(path: Path) -> None:
    config, _ = read_config(path)
    assert is_experiment(path)
    assert config.name == path.stem and config.protocol == "published"
    with torch.device("meta"):
        network = network_of(config)
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters > 20_000_000
    assert config.published is not None
    found = [(f.split, f.valence, f.arousal, f.mean) for f in config.published.figures]
    assert found == FIGURES.get(path.stem, [])
    assert all(f.source for f in config.published.figures)
    if path.stem in WITHOUT:
        assert config.published.not_found
    if config.system == "rcma":
        assert (config.optimiser.learning_rate, config.optimiser.weight_decay) == (1e-5, 1e-3)
        assert (config.batch, config.epochs, config.hop, config.early_stop, config.release.stages) == (
            12,
            100,
            200,
            50,
            3,
        )
        assert (config.schedule.kind, config.schedule.warm_up) == ("plateau", "published")
    else:
        assert (config.optimiser.learning_rate, config.optimiser.weight_decay) == (1e-4, 0.0)
        assert (config.batch, config.epochs, config.hop, config.early_stop) == (16, 60, 1, None)


def test_recursions_and_folds_are_those_of_their_names() -> None:
    configs = {path.stem: read_config(path)[0] for path in CONFIGS}
    for number in range(6):
        assert configs[f"rjcma-fold{number}"].fold == number
    for layers in range(1, 5):
        with torch.device("meta"):
            network = network_of(configs[f"rjcma-table3-l{layers}"])
        assert len(network.fusion.attention.layers) == layers


def test_a_recipe_is_not_an_experiment() -> None:
    assert not is_experiment(ROOT / "training/recipes/rcma-demo.toml")
    assert not is_experiment(ROOT / "no-such-file.toml")


def test_every_mistake_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('system = "rcma"\nfold = 9\nbatch = 0\ncolour = "red"\n', encoding="utf-8")
    with pytest.raises(UsageError) as told:
        read_config(path)
    assert all(word in told.value.found for word in ("fold", "batch", "colour", "network"))


def test_a_mistake_that_an_option_made_is_told_with_the_option(tmp_path: Path) -> None:
    path = tmp_path / "frozen.toml"
    path.write_text(
        'name = "x"\nsystem = "rcma"\nlicence = "x"\nintended_use = "x"\nfeatures = "cached"\n'
        'network = {variant = "demo"}\nschedule = {kind = "cosine"}\n'
    )
    assert read_config(path)[0].release.stages == 0
    with pytest.raises(UsageError) as told:
        read_config(path, {"features": "computed"})
    assert "frozen.toml with --features has 1 mistake:" in told.value.found
    assert "[release] stages 0" in told.value.found and "Value error" not in told.value.found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protocol": "published", "drop_modality": 0.1}, "not in the papers"),
        ({"system": "cav"}, "not one of the system cav"),
        ({"schedule": {"kind": "cosine"}}, "must be plateau"),
        ({"system": "cav", "network": {"variant": "cav"}, "release": {"stages": 1}}, "never released"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, object], words: str) -> None:
    told = {"name": "x", "system": "rcma", "network": {"variant": "demo"}, "licence": "x", "intended_use": "x"}
    with pytest.raises(ValueError, match=words):
        ExperimentConfig.model_validate({**told, **changes})


def test_the_warm_up_follows_the_protocol_unless_it_is_named() -> None:
    told = {"name": "x", "system": "rcma", "network": {"variant": "demo"}, "licence": "x", "intended_use": "x"}
    assert ExperimentConfig.model_validate(told).schedule.warm_up == "linear"
    assert ExperimentConfig.model_validate({**told, "protocol": "published"}).schedule.warm_up == "published"
    named = {**told, "schedule": {"kind": "plateau", "warm_up": "none"}}
    assert ExperimentConfig.model_validate(named).schedule.warm_up == "none"
