"""A whole training, tiny: drawn corpus, both phases, measurement, checkpoint; interrupted and not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gi")

from affectrt.bundle.contract import Contract  # noqa: E402
from affectrt.models.checkpoint import load_checkpoint  # noqa: E402
from affectrt.runtime import Scheduler  # noqa: E402
from affectrt.runtime.replay import replay  # noqa: E402
from affectrt.training.corpus import Corpus  # noqa: E402
from affectrt.training.media import open_media  # noqa: E402
from affectrt.training.progress import Progress  # noqa: E402
from affectrt.training.recipe import Recipe, read_recipe  # noqa: E402
from affectrt.training.recordings import record_video  # noqa: E402
from affectrt.training.torch_engine import torch_engines  # noqa: E402
from affectrt.training.train import train  # noqa: E402
from affectrt.training.train_encoders import encode  # noqa: E402
from affectrt.training.train_fusion import Features, FusionStages, streamed_estimates  # noqa: E402

TINY = """
name = "tiny"
seed = 5
threads = 1
model = "demo"
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
batch = 8
learning_rate = 1e-3
[encoders.audio]
epochs = 2
batches = 2
batch = 8
learning_rate = 1e-3
[fusion]
epochs = 2
batches = 2
batch = 2
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


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(TINY)
    return read_recipe(path)[0]


@pytest.fixture(scope="module")
def trained(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `whole.safetensors` and the work folder it came from."""
    folder = tmp_path_factory.mktemp("trained")
    train(recipe, TINY, folder / "whole.safetensors", work=folder / "work")
    return folder


def test_the_checkpoint_says_where_it_comes_from(trained: Path) -> None:
    loaded = load_checkpoint(trained / "whole.safetensors")
    told = loaded.provenance
    assert told["recipe"] == "tiny" and told["recipe_text"] == TINY and told["seed"] == 5
    assert told["licence"] == "Apache-2.0" and told["intended_use"] == "tests"
    assert "2+1+1 identities" in told["training_corpus"] and len(told["corpus_sha256"]) == 64
    assert told["versions"]["torch"] == torch.__version__
    assert [a["corpus"].rsplit(", ", 1)[1] for a in told["accuracy"]] == ["video+audio", "video", "audio"]
    assert all(-1 <= a["ccc"][d]["value"] <= 1 for a in told["accuracy"] for d in ("valence", "arousal"))


@pytest.mark.parametrize("words", ["video encoder 1/2", "audio encoder 1/2", "fusion 1/2"])
def test_an_interrupted_training_goes_on_to_the_same_bytes(
    recipe: Recipe, trained: Path, tmp_path: Path, words: str
) -> None:
    shutil.copytree(trained / "work" / "corpus", tmp_path / "corpus")
    out = tmp_path / "resumed.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, TINY, out, work=tmp_path, progress=StopAt(words))
    assert not out.exists()
    rest = StopAt("")
    train(recipe, TINY, out, work=tmp_path, resume=True, progress=rest)
    assert words not in " ".join(rest.lines)
    assert out.read_bytes() == (trained / "whole.safetensors").read_bytes()


def test_windows_without_a_session_give_what_the_session_gives(trained: Path) -> None:
    model = load_checkpoint(trained / "whole.safetensors").model
    contract = Contract.model_validate(model.contract())
    video = Corpus.open(trained / "work" / "corpus").videos("test")[0]
    spans = record_video(contract, video.media_path)
    variants = {
        "video": [encode("video", model.encoders["video"], spans, 40)[0]],
        "audio": [encode("audio", model.encoders["audio"], spans)[0]],
    }
    features = Features(variants, np.zeros((spans.steps, 2), np.float32))
    steps, windowed = streamed_estimates(FusionStages(model.fusion_modules(), contract).eval(), contract, features)
    assert steps.tolist() == list(range(50))
    with open_media(contract, video.media_path) as source:
        estimates = replay(contract, source, Scheduler(contract, torch_engines(model)).infer)
    session = np.array([(e.valence, e.arousal) for e in estimates])
    assert session.shape == (50, 2)
    np.testing.assert_allclose(windowed, session, atol=2e-5)
