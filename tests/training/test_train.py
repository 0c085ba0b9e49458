"""A whole training, tiny: drawn corpus, both phases, measurement, checkpoint; interrupted and not."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gi")

from affectrt.bundle.contract import Contract  # noqa: E402
from affectrt.bundle.errors import UsageError  # noqa: E402
from affectrt.models.cav import Cav  # noqa: E402
from affectrt.models.checkpoint import load_checkpoint  # noqa: E402
from affectrt.runtime import Scheduler  # noqa: E402
from affectrt.runtime.replay import replay  # noqa: E402
from affectrt.training.corpus import Corpus  # noqa: E402
from affectrt.training.media import open_media  # noqa: E402
from affectrt.training.progress import Progress  # noqa: E402
from affectrt.training.recipe import ModelName, Recipe, read_recipe  # noqa: E402
from affectrt.training.recordings import record_video  # noqa: E402
from affectrt.training.torch_engine import torch_engines  # noqa: E402
from affectrt.training.train import MODELS, train  # noqa: E402
from affectrt.training.train_encoders import encode  # noqa: E402
from affectrt.training.train_fusion import Features, FusionStages, streamed_estimates  # noqa: E402

TINY = """
name = "tiny"
seed = 5
threads = 1
model = "MODEL"
licence = "Apache-2.0"
intended_use = "tests"
[corpus]
seed = 5
train = 2
validation = 1
test = 1
seconds = 2.0
frame_px = 64
[encoders.video]
epochs = 2
batches = 2
batch = 4
learning_rate = 1e-3
[encoders.audio]
epochs = 2
batches = 2
batch = 4
learning_rate = 1e-3
[fusion]
epochs = 2
batches = 2
batch = 2
learning_rate = 1e-3
"""
STILLS = """
[encoders.video.stills]
epochs = 1
batches = 2
batch = 4
learning_rate = 1e-3
"""


class StopAt(Progress):
    """Interrupts the training once it says a line that begins with `words`."""

    def __init__(self, words: str) -> None:
        super().__init__(quiet=True)
        self._words = words
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)
        if self._words and line.startswith(self._words):
            raise KeyboardInterrupt


@dataclass(frozen=True)
class Run:
    """A finished training: `work` is the folder that it left."""

    recipe: Recipe
    text: str
    checkpoint: Path
    work: Path


def _run(model: str, folder: Path) -> Run:
    text = TINY.replace("MODEL", model) + (STILLS if model == "cav-demo" else "")
    (folder / "tiny.toml").write_text(text)
    recipe = read_recipe(folder / "tiny.toml")[0]
    trained = train(recipe, text, folder / "whole.safetensors", work=folder / "work")
    return Run(recipe, text, trained.checkpoint, folder / "work")


@pytest.fixture(scope="module")
def rcma(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _run("demo", tmp_path_factory.mktemp("rcma"))


@pytest.fixture(scope="module")
def cav(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _run("cav-demo", tmp_path_factory.mktemp("cav"))


def test_every_model_that_a_recipe_may_name_has_a_configuration() -> None:
    assert set(MODELS) == set(get_args(ModelName))


def test_the_checkpoint_says_where_it_comes_from(rcma: Run) -> None:
    loaded = load_checkpoint(rcma.checkpoint)
    told = loaded.provenance
    assert told["recipe"] == "tiny" and told["recipe_text"] == rcma.text and told["seed"] == 5
    assert told["licence"] == "Apache-2.0" and told["intended_use"] == "tests"
    assert "2+1+1 identities" in told["training_corpus"] and len(told["corpus_sha256"]) == 64
    assert told["versions"]["torch"] == torch.__version__
    assert [a["corpus"].rsplit(", ", 1)[1] for a in told["accuracy"]] == ["video+audio", "video", "audio"]
    assert all(-1 <= a["ccc"][d]["value"] <= 1 for a in told["accuracy"] for d in ("valence", "arousal"))


def test_a_recipe_trains_the_other_system_and_says_that_its_scores_are_of_means(cav: Run) -> None:
    loaded = load_checkpoint(cav.checkpoint)
    assert type(loaded.model) is Cav
    told = [a["corpus"].split(", test, ")[1] for a in loaded.provenance["accuracy"]]
    assert told == [f"{of}, window means of 128 steps" for of in ("video+audio", "video", "audio")]


@pytest.mark.parametrize(
    ("model", "stops"),
    [
        ("rcma", ("video encoder 1/2", "audio encoder 1/2", "fusion 1/2")),
        ("cav", ("video stills 1/1", "video encoder 1/2", "fusion 1/2")),
    ],
)
def test_a_training_interrupted_in_every_phase_goes_on_to_the_same_bytes(
    request: pytest.FixtureRequest, tmp_path: Path, model: str, stops: tuple[str, ...]
) -> None:
    whole: Run = request.getfixturevalue(model)
    shutil.copytree(whole.work / "corpus", tmp_path / "corpus")
    out = tmp_path / "resumed.safetensors"
    told: list[str] = []
    for number, words in enumerate(stops):
        progress = StopAt(words)
        with pytest.raises(KeyboardInterrupt):
            train(whole.recipe, whole.text, out, work=tmp_path, resume=number > 0, progress=progress)
        assert not out.exists()
        told += progress.lines
    rest = StopAt("")
    train(whole.recipe, whole.text, out, work=tmp_path, resume=True, progress=rest)
    # Nothing was done again: each epoch is told once.
    assert [sum(line.startswith(words) for line in [*told, *rest.lines]) for words in stops] == [1] * len(stops)
    assert out.read_bytes() == whole.checkpoint.read_bytes()


@pytest.mark.parametrize(("model", "estimated"), [("rcma", range(50)), ("cav", (15, 31, 47))])
def test_windows_without_a_session_give_what_the_session_gives(
    request: pytest.FixtureRequest, model: str, estimated: Sequence[int]
) -> None:
    run: Run = request.getfixturevalue(model)
    network = load_checkpoint(run.checkpoint).model
    contract = Contract.model_validate(network.contract())
    assert contract.video is not None
    video = Corpus.open(run.work / "corpus").videos("test")[0]
    spans = record_video(contract, video.media_path)
    variants = {
        "video": [encode("video", network.encoders["video"], spans, contract.video.crop_px)[0]],
        "audio": [encode("audio", network.encoders["audio"], spans)[0]],
    }
    features = Features(variants, np.zeros((spans.steps, 2), np.float32))
    fusion = FusionStages(network.fusion_modules(), contract).eval()
    steps, windowed = streamed_estimates(fusion, contract, features)
    with open_media(contract, video.media_path) as source:
        estimates = replay(contract, source, Scheduler(contract, torch_engines(network)).infer)
    assert steps.tolist() == [round(e.t_s * contract.step_hz) for e in estimates] == list(estimated)
    session = np.array([(e.valence, e.arousal) for e in estimates])
    np.testing.assert_allclose(windowed, session, atol=2e-5)


def test_a_grid_that_leaves_steps_of_a_window_out_is_refused(cav: Run, tmp_path: Path) -> None:
    wrong = cav.recipe.model_copy(update={"fusion": cav.recipe.fusion.model_copy(update={"grid_steps": 3})})
    shutil.copytree(cav.work / "corpus", tmp_path / "corpus")
    with pytest.raises(UsageError, match="divides 16"):
        train(wrong, cav.text, tmp_path / "never.safetensors", work=tmp_path)
