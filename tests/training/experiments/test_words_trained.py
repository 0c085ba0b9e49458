"""Experiments that read words, from the command line to whole checkpoints, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.reading_experiments import ALL, READS, Begun, own, reads, run
from doubles.text_models import VOCABULARY, make_bert
from doubles.tiny_experiments import NO_DROPOUT, as_toml, tiny, toy, trained_by

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

from affectrt.bundle.errors import UsageError  # noqa: E402
from affectrt.cli.main import main  # noqa: E402
from affectrt.models.checkpoint import load_checkpoint, save_checkpoint, save_part  # noqa: E402
from affectrt.models.errors import CheckpointError  # noqa: E402
from affectrt.models.parts import PARTS  # noqa: E402
from affectrt.training.experiments.config import network_of, read_config  # noqa: E402

ROOT = Path(__file__).parents[3]


def test_a_training_that_reads_goes_on_to_the_same_bits_and_not_with_another_bert(
    bert: Path, corpus: Path, tmp_path: Path
) -> None:
    from lightning.pytorch.callbacks import Callback

    class StopError(Exception):
        pass

    class Stop(Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.current_epoch == 1:
                raise StopError

    config = reads(bert, epochs=2, drop_modality=0.2)
    run(config, corpus, tmp_path / "whole.safetensors", work=tmp_path / "whole")
    work = tmp_path / "work"
    with pytest.raises(StopError):
        run(config, corpus, tmp_path / "no.safetensors", work=work, callbacks=[Stop()])
    state = torch.load(work / "last.ckpt", weights_only=True)
    assert not any("bert" in name for name in [*state["state_dict"], *state["affectrt"]["best"]])
    moved = make_bert(tmp_path / "moved")  # another folder, the same BERT
    another = reads(make_bert(tmp_path / "other", seed=1), epochs=2, drop_modality=0.2)
    with pytest.raises(UsageError, match="another configuration"):
        run(another, corpus, tmp_path / "no.safetensors", work=work, resume=True)
    run(config.model_copy(update={"text": moved}), corpus, tmp_path / "resumed.safetensors", work=work, resume=True)
    ends = [load_checkpoint(tmp_path / f"{name}.safetensors") for name in ("whole", "resumed")]
    assert ends[0].model.config == ends[1].model.config
    for name, tensor in ends[0].model.state_dict().items():
        assert torch.equal(tensor, ends[1].model.state_dict()[name]), name


def published(path: Path, folder: Path, fields: dict[str, Any]) -> tuple[Path, list[str]]:
    """A published experiment of small widths as a file, and its --init, of random backbones of that size."""
    config, _ = read_config(path)
    network = config.network.model_copy(update={"fields": fields})
    config = config.model_copy(update={"network": network, "epochs": 1, "published": None})
    file = folder / f"{path.stem}.toml"
    file.write_text(as_toml(config), encoding="utf-8")
    torch.manual_seed(3)
    small = network_of(config)
    inits = []
    for name in config.init.needs:
        part = PARTS[name]
        save_part(part, small.get_submodule(part.path), small.config, folder / f"{name}.safetensors", {})
        inits += ["--init", str(folder / f"{name}.safetensors")]
    return file, inits


SLOW = [pytest.mark.slow]
WITH_WORDS = [
    path for path in sorted((ROOT / "training/configs").glob("*.toml")) if '"text"' in path.read_text(encoding="utf-8")
]


def test_the_published_experiments_with_words_are_those_that_the_papers_have() -> None:
    assert [path.stem for path in WITH_WORDS] == [
        "rcma-v1",
        *(f"rjcma-fold{fold}" for fold in range(6)),
        *(f"rjcma-table3-l{layers}" for layers in range(1, 5)),
    ]


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, id=p.stem, marks=[] if p.stem in {"rcma-v1", "rjcma-fold1"} else SLOW) for p in WITH_WORDS],
)
def test_a_published_experiment_trains_from_the_command_line_with_a_bert(
    path: Path, bert: Path, corpus: Path, tmp_path: Path
) -> None:
    file, inits = published(path, tmp_path, READS)
    out, common = tmp_path / "x.safetensors", ["--corpus", str(corpus), "--accelerator", "cpu"]
    assert main(["train", str(file), *common, *inits, "--text", str(bert), "--out", str(out)]) == 0
    loaded = load_checkpoint(out)
    config: Any = loaded.model.config
    assert config.text_layers == 4 and config.text_vocabulary == VOCABULARY and config.text_std not in (0.0, 1.0)
    (source,) = loaded.provenance["sources"]
    assert source["file"] == "tiny-bert/model.safetensors" and len(source["sha256"]) == 64
    assert loaded.provenance["experiment"]["protocol"] == "published"
    assert "text" not in loaded.provenance["experiment"] and str(bert) not in str(loaded.provenance)


@pytest.mark.slow
def test_two_processes_train_the_network_with_words_that_one_trains(bert: Path, corpus: Path, tmp_path: Path) -> None:
    """Without dropout, whose draws follow the process; batches of 5, so that none of 17 windows is left out."""
    optimiser = {"learning_rate": 1e-2, "epsilon": 1e-2}
    config = reads(epochs=2, batch=5, fields=NO_DROPOUT["rcma"], optimiser=optimiser)
    one, two = (trained_by(n, config, corpus, tmp_path / str(n), "--text", str(bert)).model for n in (1, 2))
    assert one.config == two.config
    torch.testing.assert_close(two.state_dict(), one.state_dict(), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_checkpoint_with_words_exports_and_both_are_evaluated_with_words(
    bert: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, bundle = tmp_path / "x.safetensors", tmp_path / "x.affect"
    run(reads(bert, epochs=2), corpus, out)
    assert main(["export", str(out), "--out", str(bundle), "--quiet"]) == 0
    found = {}
    for model in (out, bundle):
        for modalities in ("video,audio,text", "video,audio"):
            capsys.readouterr()
            told = ["--split", "validation", "--modalities", modalities, "--hop", "10", "--json"]
            assert main(["evaluate", str(model), str(corpus), *told]) == 0
            found[model.suffix, modalities] = capsys.readouterr().out
    assert len(set(found.values())) > 2
    (bundled,) = [json.loads((bundle / "manifest.json").read_text())["contract"]["text"]]
    assert bundled["stage"] == "text" and bundled["std"] == load_checkpoint(out).model.config.text_std


@pytest.mark.slow
def test_a_bundle_s_engines_encode_its_own_words_and_leave_those_of_a_bert_to_the_bert(
    bert: Path, corpus: Path, tmp_path: Path
) -> None:
    torch.manual_seed(4)
    weights, bundle = tmp_path / "begun.safetensors", tmp_path / "begun.affect"
    told = {"recipe": "toy", "training_corpus": "none", "licence": "CC0-1.0", "intended_use": "tests"}
    save_checkpoint(network_of(own()), weights, told)
    assert main(["export", str(weights), "--out", str(bundle), "--quiet"]) == 0
    init = {"files": [str(weights)], "take": "encoders"}
    given = {"features": "cached", "init": init}
    backends = {}
    for name, config in (("own", own(**given)), ("bert", reads(bert, **given))):
        computed = Begun(config, corpus, tmp_path / f"{name}-torch")
        engines = {"bundle": str(bundle), "backend": "onnxruntime"}
        begun = Begun(
            type(config).model_validate({**config.model_dump(), "encoders": engines}), corpus, tmp_path / name
        )
        for modality in ALL:
            (decides,) = (tmp_path / name / "features").glob(f"{modality}-*/decides.json")
            backends[name, modality] = json.loads(decides.read_text())["encoder"]["backend"]
        for index in range(len(begun.sets[0])):
            found, expected = (each.sets[0].item(index) for each in (begun, computed))
            for modality in ALL:
                key = f"{modality}_features"
                np.testing.assert_allclose(found[key], expected[key], rtol=1e-3, atol=1e-4)
    assert set(backends.values()) == {"onnxruntime", "torch"}
    assert [key for key, backend in backends.items() if backend == "torch"] == [("bert", "text")]


def test_what_words_need_and_do_not_need_is_told(bert: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    with pytest.raises(UsageError, match="nobody makes vectors") as told:
        run(reads(), corpus, out)
    assert "--text" in (told.value.fix or "")
    with pytest.raises(UsageError, match="reads no words"):
        run(tiny(text=bert), corpus, out)
    with pytest.raises(UsageError, match="has an encoder of words already"):
        run(own(text=bert), corpus, out)
    with pytest.raises(CheckpointError, match="gives vectors of 12 numbers"):
        run(reads(bert, fields={"text_dim": 16}), corpus, out)
    with pytest.raises(CheckpointError, match="no folder"):
        run(reads(tmp_path / "nowhere"), corpus, out)
    silent = toy(tmp_path / "silent", tiny(), spoken=(2,))  # the validation video alone
    with pytest.raises(UsageError, match="under no step of the training videos") as told:
        run(reads(bert), silent, out)
    assert "affectrt transcribe" in (told.value.fix or "") and "--words" in (told.value.fix or "")
    cav = tiny("cav", text=bert)
    with pytest.raises(UsageError, match="reads no words"):
        run(cav, toy(tmp_path / "cav", cav, train=(150,), validation=(140,)), out)
    assert not out.exists()


def test_text_is_no_option_of_a_recipe(bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(ROOT / "training/recipes/rcma-demo.toml")
    assert main(["train", recipe, "--text", str(bert), "--out", str(tmp_path / "x.safetensors")]) == 2
    assert "--text" in capsys.readouterr().err
