"""Recipes are checked whole, and say everything that is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from affectrt.bundle.errors import UsageError
from affectrt.training.recipe import read_recipe

DEMO = Path(__file__).parents[2] / "training" / "recipes" / "rcma-demo.toml"


def test_the_demo_recipe_reads() -> None:
    recipe, text = read_recipe(DEMO)
    assert recipe.name == "rcma-demo" and text == DEMO.read_text()
    assert (recipe.corpus.train, recipe.corpus.validation, recipe.corpus.test) == (44, 10, 14)
    assert recipe.fusion.loss == "lin"
    assert "not for people" in recipe.intended_use.lower()


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


def test_the_demo_checkpoint_comes_from_the_demo_recipe() -> None:
    """The weights in the repository say which text they were trained by: it must be the recipe beside them."""
    pytest.importorskip("torch")
    from affectrt.models.checkpoint import load_checkpoint

    path = DEMO.parents[2] / "models" / "weights" / "rcma-demo.safetensors"
    told = load_checkpoint(path).provenance
    assert told["recipe_text"] == DEMO.read_text()
    assert path.stat().st_size <= 6_000_000
    both, *alone = (sum(d["value"] for d in a["ccc"].values()) / 2 for a in told["accuracy"])
    assert min(d["value"] for d in told["accuracy"][0]["ccc"].values()) >= 0.80
    assert both > max(alone)
