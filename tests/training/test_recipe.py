"""Recipes are checked whole, and say everything that is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from affectrt.bundle.errors import UsageError
from affectrt.training.recipe import read_recipe

RECIPES = Path(__file__).parents[2] / "training" / "recipes"
DEMO = RECIPES / "rcma-demo.toml"


@pytest.mark.parametrize(
    ("name", "model"), [("rcma-demo", "demo"), ("cav-demo", "cav-demo"), ("rcma-text-demo", "text-demo")]
)
def test_the_demo_recipes_read(name: str, model: str) -> None:
    path = RECIPES / f"{name}.toml"
    recipe, text = read_recipe(path)
    assert recipe.name == name and recipe.model == model and text == path.read_text()
    assert recipe.fusion.loss == "lin"
    assert "not for people" in recipe.intended_use.lower()


def test_both_systems_learn_from_the_same_people() -> None:
    corpora = [read_recipe(RECIPES / f"{name}.toml")[0].corpus for name in ("rcma-demo", "cav-demo")]
    assert corpora[0] == corpora[1]
    assert (corpora[0].train, corpora[0].validation, corpora[0].test) == (44, 10, 14)


def test_those_who_speak_are_the_same_people_too() -> None:
    silent, spoken = (read_recipe(RECIPES / f"{name}.toml")[0].corpus for name in ("rcma-demo", "rcma-text-demo"))
    assert spoken.spoken and not silent.spoken
    assert spoken.model_copy(update={"spoken": False}) == silent


def test_a_model_with_text_needs_a_recipe_for_it_and_people_who_speak_and_others_must_not_have_one() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from affectrt.training.encoder_phase import check_text
    from affectrt.training.train import MODELS

    spoken, _ = read_recipe(RECIPES / "rcma-text-demo.toml")
    silent, _ = read_recipe(DEMO)
    reads, does_not = MODELS["text-demo"](), MODELS["demo"]()
    check_text(spoken, reads)
    check_text(silent, does_not)
    dumb = spoken.model_copy(update={"corpus": silent.corpus})
    untaught = spoken.model_copy(update={"encoders": silent.encoders})
    for recipe, model in ((dumb, reads), (untaught, reads), (spoken, does_not)):
        with pytest.raises(UsageError, match=r"encoders\.text"):
            check_text(recipe, model)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    text = DEMO.read_text()
    wrong.write_text(text.replace("seed = 2024\nthreads", "seed = -1\nthreads").replace("turn_deg", "turn"))
    with pytest.raises(UsageError) as caught:
        read_recipe(wrong)
    told = str(caught.value)
    assert "seed" in told and "encoders.video.turn" in told and "2 mistake(s)" in told


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe"])
def test_what_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="not TOML"):
        read_recipe(path)


def test_a_missing_recipe_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recipe"):
        read_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["rcma-demo", "cav-demo"])
def test_the_demo_checkpoints_come_from_the_demo_recipes(name: str) -> None:
    """The weights in the repository say which text they were trained by: it must be the recipe's of their name."""
    pytest.importorskip("torch")
    from affectrt.models.checkpoint import load_checkpoint

    path = RECIPES.parents[1] / "models" / "weights" / f"{name}.safetensors"
    told = load_checkpoint(path).provenance
    assert told["recipe_text"] == (RECIPES / f"{name}.toml").read_text()
    assert path.stat().st_size <= 6_000_000
    both, *alone = (sum(d["value"] for d in a["ccc"].values()) / 2 for a in told["accuracy"])
    assert min(d["value"] for d in told["accuracy"][0]["ccc"].values()) >= 0.80
    assert both > max(alone)
