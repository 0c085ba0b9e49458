"""Words in experiments: a frozen BERT's vectors, scaled by the protocol's rules, and whole checkpoints at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.text_models import BERT_WIDTH, VOCABULARY, make_bert
from doubles.tiny_experiments import TINY, as_toml, tiny, toy

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

from affectrt.bundle.contract import Contract  # noqa: E402
from affectrt.bundle.errors import UsageError  # noqa: E402
from affectrt.cli.main import main  # noqa: E402
from affectrt.models.checkpoint import load_checkpoint, save_checkpoint, save_part  # noqa: E402
from affectrt.models.errors import CheckpointError  # noqa: E402
from affectrt.models.parts import PARTS  # noqa: E402
from affectrt.runtime import Scheduler  # noqa: E402
from affectrt.training.examined import examined_videos  # noqa: E402
from affectrt.training.experiments.beginning import begin_with, cached_features  # noqa: E402
from affectrt.training.experiments.config import network_of, read_config  # noqa: E402
from affectrt.training.experiments.data import collated  # noqa: E402
from affectrt.training.experiments.module import AffectModule  # noqa: E402
from affectrt.training.experiments.run import train_experiment  # noqa: E402
from affectrt.training.experiments.series import WindowSet  # noqa: E402
from affectrt.training.experiments.words import words_of  # noqa: E402
from affectrt.training.prepared import PreparedCorpus  # noqa: E402
from affectrt.training.progress import Progress  # noqa: E402
from affectrt.training.text import parts_of, pieces_of_network, word_vectors  # noqa: E402
from affectrt.training.torch_engine import torch_engines  # noqa: E402

ROOT = Path(__file__).parents[3]
READS = {**TINY, "text_dim": BERT_WIDTH, "text_tcn": [8]}
ALL = ["video", "audio", "text"]
OWN = {
    "text_dim": 24,
    "text_layers": 5,
    "text_heads": 4,
    "text_intermediate": 40,
    "text_positions": 40,
    "text_lengths": [8, 16, 32],
    "text_vocabulary": list(VOCABULARY),
    "text_tcn": [8],
    "text_mean": 0.05,
    "text_std": 2.0,
}
TRAIN, VALIDATION, UNANNOTATED = (40, 50, 19, 33, 61), (45, 47), (5, 6)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bert(tmp_path_factory.mktemp("hub") / "tiny-bert")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven videos, of which two say nothing."""
    return toy(
        tmp_path_factory.mktemp("toy") / "rcma",
        tiny(),
        train=TRAIN,
        validation=VALIDATION,
        unannotated=UNANNOTATED,
        unseen=(12,),
        spoken=(0, 1, 2, 4, 5),
    )


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def reads(bert: Path | None = None, **changes: Any) -> Any:
    fields = {**READS, **changes.pop("fields", {})}
    network = {"variant": "demo", "modalities": ALL, "fields": fields}
    return tiny(network=network, text=bert, epochs=changes.pop("epochs", 1), release={"stages": 0}, **changes)


def own(**changes: Any) -> Any:
    fields = {**TINY, **OWN, **changes.pop("fields", {})}
    return tiny(network={"variant": "text-demo", "fields": fields}, release={"stages": 0}, **changes)


def run(config: Any, corpus: Path, out: Path, **more: Any) -> Any:
    return train_experiment(config, "text", corpus, out, accelerator="cpu", **more)


class Begun:
    """A training as far as its first batch."""

    def __init__(self, config: Any, root: Path, cache: Path) -> None:
        self.corpus = PreparedCorpus.open(root)
        torch.manual_seed(2)
        self.network = network_of(config)
        self.videos = [self.corpus.videos(split) for split in ("train", "validation")]
        words = words_of(config, self.network, self.videos[0])
        begin_with(self.network, config)
        quiet = Progress(quiet=True)
        self.features = cached_features(config, self.network, self.corpus, cache, quiet, words)
        assert words is not None and self.features is not None
        self.scales = words.scales(self.network, config, self.features, self.videos)
        self.whole = words.whole(self.network)
        self.contract = Contract.model_validate(self.network.contract())
        self.sets = [
            WindowSet(v, self.contract, config.rules, hop=config.hop, scored=s, features=self.features, scale=scale)
            for v, s, scale in zip(self.videos, (False, True), self.scales, strict=True)
        ]


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


def test_a_lost_modality_may_be_the_words(bert: Path, corpus: Path, tmp_path: Path) -> None:
    windows = Begun(reads(bert), corpus, tmp_path).sets[0]
    spoken = [bool(windows.item(0, np.random.default_rng(n), 0.3)["text_features"].any()) for n in range(30)]
    assert 3 < spoken.count(False) < 20


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
    """Without dropout, whose draws follow the process; Adam's epsilon as in the test without words."""
    still = {"ir_dropout": 0.0, "tcn_dropout": 0.0, "attention_dropout": 0.0}
    optimiser = {"learning_rate": 1e-2, "epsilon": 1e-2}
    file = tmp_path / "toy.toml"
    file.write_text(as_toml(reads(epochs=2, fields=still, optimiser=optimiser)), encoding="utf-8")
    found = []
    for devices in ("1", "2"):
        out = tmp_path / f"{devices}.safetensors"
        told = ["--text", str(bert), "--work", str(tmp_path / devices), "--devices", devices, "--accelerator", "cpu"]
        command = ["train", str(file), "--corpus", str(corpus), "--out", str(out), *told]
        ran = subprocess.run(
            [sys.executable, "-m", "affectrt.cli.main", *command],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=600,
        )
        assert ran.returncode == 0, ran.stderr
        found.append(load_checkpoint(out).model)
    assert found[0].config == found[1].config
    for name, tensor in found[0].state_dict().items():
        torch.testing.assert_close(found[1].state_dict()[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


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
