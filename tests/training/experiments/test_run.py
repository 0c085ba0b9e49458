"""Whole trainings of tiny networks: they learn, go on after an interruption to the same bits, refuse what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from doubles.tiny_experiments import NO_DROPOUT, TINY, tiny, toy, trained_by

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from lightning.pytorch.callbacks import Callback  # noqa: E402

from affectrt.bundle.errors import UsageError  # noqa: E402
from affectrt.models.checkpoint import load_checkpoint, save_checkpoint, save_part  # noqa: E402
from affectrt.models.parts import PARTS  # noqa: E402
from affectrt.training.experiments.batch_norm import CpuSyncBatchNorm  # noqa: E402
from affectrt.training.experiments.beginning import begin_with  # noqa: E402
from affectrt.training.experiments.config import network_of  # noqa: E402
from affectrt.training.experiments.run import train_experiment  # noqa: E402


class KilledError(Exception):
    pass


class KillAt(Callback):
    """Ends a training before a batch, or after the end of an epoch: nothing more of it runs."""

    def __init__(self, epoch: int, batch: int | None) -> None:
        self.epoch, self.batch = epoch, batch

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            raise KilledError

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        if self.batch is None and trainer.current_epoch == self.epoch:
            raise KilledError


def run(config: Any, corpus: Path, out: Path, **more: Any) -> Any:
    return train_experiment(config, "text", corpus, out, accelerator="cpu", **more)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy(tmp_path_factory.mktemp("toy") / "rcma", tiny())


def test_a_tiny_network_learns_valence_from_light(corpus: Path, tmp_path: Path) -> None:
    network = {"variant": "demo", "modalities": ["video"], "fields": TINY}
    config = tiny(output="valence", epochs=12, network=network, optimiser={"learning_rate": 1e-2})
    trained = run(config, corpus, tmp_path / "toy.safetensors")
    assert trained.ccc["valence"] > 0.6
    loaded = load_checkpoint(trained.checkpoint)
    assert loaded.provenance["recipe"] == "toy"
    assert loaded.provenance["validation_ccc"] == trained.ccc
    assert str(tmp_path) not in str(loaded.provenance)


HARD = {
    "protocol": "published",
    "epochs": 9,
    "early_stop": None,
    "optimiser": {"learning_rate": 0.05},
    "release": {"stages": 3, "below": 0.025, "min_epochs": 1},
    "schedule": {"kind": "plateau", "warm_up_epochs": 1, "patience": 0},
}


@pytest.mark.parametrize(
    ("changes", "kills"),
    [
        ({"drop_modality": 0.3, "release": {"stages": 3}, "epochs": 3}, [(0, 1), (2, None)]),
        # two releases, and the end of the last, within eight epochs
        pytest.param(HARD, [(e, b) for e in range(8) for b in (0, 1, None)], marks=pytest.mark.slow),
    ],
    ids=["repaired", "published-with-releases"],
)
def test_a_training_that_was_killed_goes_on_to_the_same_bits(
    corpus: Path, tmp_path: Path, changes: dict[str, Any], kills: list[tuple[int, int | None]]
) -> None:
    config = tiny(**changes)
    whole = run(config, corpus, tmp_path / "whole.safetensors", work=tmp_path / "whole")
    work = tmp_path / "killed"
    for kill in kills:
        with pytest.raises(KilledError):
            run(config, corpus, tmp_path / "no.safetensors", work=work, resume=True, callbacks=[KillAt(*kill)])
    resumed = run(config, corpus, tmp_path / "resumed.safetensors", work=work, resume=True)
    assert resumed.ccc == whole.ccc and resumed.epochs == whole.epochs
    assert (tmp_path / "resumed.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert (work / "best.safetensors").read_bytes() == (tmp_path / "whole/best.safetensors").read_bytes()
    ends = [torch.load(f / "last.ckpt", weights_only=True) for f in (work, tmp_path / "whole")]
    assert ends[0]["affectrt"]["course"] == ends[1]["affectrt"]["course"]
    if "schedule" in changes:
        assert ends[0]["affectrt"]["course"]["stage"] == 3
    for name, tensor in ends[0]["state_dict"].items():
        assert torch.equal(tensor, ends[1]["state_dict"][name]), name
    moments = [end["optimizer_states"][0]["state"] for end in ends]
    assert all(torch.equal(moments[0][i][k], moments[1][i][k]) for i in moments[0] for k in moments[0][i])


def test_going_on_with_a_training_that_stopped_early_repeats_its_result(corpus: Path, tmp_path: Path) -> None:
    config = tiny(epochs=50, early_stop=1, optimiser={"learning_rate": 0.2})
    first = run(config, corpus, tmp_path / "a.safetensors", work=tmp_path / "work")
    second = run(config, corpus, tmp_path / "b.safetensors", work=tmp_path / "work", resume=True)
    assert first.stopped == "early" and first.epochs < 50
    assert (second.ccc, second.epochs, second.stopped) == (first.ccc, first.epochs, first.stopped)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_the_state_of_another_training_is_refused_and_no_state_is_overwritten(corpus: Path, tmp_path: Path) -> None:
    run(tiny(epochs=1), corpus, tmp_path / "a.safetensors", work=tmp_path / "work")
    before = (tmp_path / "work/last.ckpt").read_bytes()
    with pytest.raises(UsageError, match="is the state of a training"):
        run(tiny(epochs=1), corpus, tmp_path / "a.safetensors", work=tmp_path / "work")
    assert (tmp_path / "work/last.ckpt").read_bytes() == before
    with pytest.raises(UsageError, match="another configuration"):
        run(tiny(epochs=1, seed=4), corpus, tmp_path / "a.safetensors", work=tmp_path / "work", resume=True)
    (tmp_path / "work/last.ckpt").write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="not a training state"):
        run(tiny(epochs=1), corpus, tmp_path / "a.safetensors", work=tmp_path / "work", resume=True)


def test_cav_trains_its_fusion_and_leaves_its_encoders_as_they_were(tmp_path: Path) -> None:
    config = tiny("cav", epochs=2)
    corpus = toy(tmp_path / "toy", config, train=(168,), validation=(152,))
    torch.manual_seed(config.seed)
    before = network_of(config).state_dict()
    trained = run(config, corpus, tmp_path / "cav.safetensors")
    after = load_checkpoint(trained.checkpoint).model.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"fusions"}


@pytest.mark.parametrize("protocol", ["published", "repaired"])
def test_frozen_batch_norms_drift_as_published_and_stay_when_repaired(
    corpus: Path, tmp_path: Path, protocol: str
) -> None:
    config = tiny(protocol=protocol, epochs=1, release={"stages": 1})
    torch.manual_seed(config.seed)
    before = network_of(config).state_dict()
    after = load_checkpoint(run(config, corpus, tmp_path / "x.safetensors").checkpoint).model.state_dict()
    moved = {n for n in before if n.startswith("encoders.video.backbone") and not torch.equal(before[n], after[n])}
    frozen = {name for name in moved if ".output." not in name}
    assert moved - frozen
    assert bool(frozen) == (protocol == "published")
    assert all("running" in name or "tracked" in name for name in frozen)


def test_a_step_without_a_face_has_a_feature_of_zeros_when_repaired_and_that_of_a_black_frame_as_published(
    tmp_path: Path,
) -> None:
    from affectrt.bundle.contract import Contract
    from affectrt.training.experiments.data import collated
    from affectrt.training.experiments.module import AffectModule
    from affectrt.training.experiments.series import WindowSet
    from affectrt.training.prepared import PreparedCorpus

    found = {}
    root = toy(tmp_path / "toy", tiny(), train=(15,), unseen=(4,))
    for protocol in ("published", "repaired"):
        config = tiny(protocol=protocol)
        torch.manual_seed(0)
        network = network_of(config).eval()
        contract = Contract.model_validate(network.contract())
        windows = WindowSet(PreparedCorpus.open(root).videos("train"), contract, config.rules, hop=10, scored=False)
        with torch.inference_mode():
            features = AffectModule(config, network, windows).features(collated([windows.item(0)]))
            black = network.encoders["video"](torch.zeros(1, 16, 16, 3, dtype=torch.uint8))
            seen = network.encoders["video"](collated([windows.item(0)])["frames"][0, 3:4])
        torch.testing.assert_close(features["video"][0, 3], seen[0])
        found[protocol] = features["video"][0]
        expected = black[0] if protocol == "published" else torch.zeros(8)
        for step in (4, 15, 19):  # no face; past the end of the video
            torch.testing.assert_close(found[protocol][step], expected)
        assert bool(features["audio"][0, 17].any()) == (protocol == "published")


def test_weights_to_begin_with_must_fit_and_be_there(tmp_path: Path) -> None:
    config = tiny(init={"needs": ["ir50"]})
    torch.manual_seed(1)
    other = network_of(config)
    with pytest.raises(UsageError, match="begins with the weights of ir50"):
        begin_with(network_of(config), config)
    part, path = PARTS["ir50"], tmp_path / "ir50.safetensors"
    save_part(part, other.get_submodule(part.path), other.config, path, {})
    given = config.model_copy(update={"init": config.init.model_copy(update={"files": (path,)})})
    network = network_of(given)
    begin_with(network, given)
    ours, theirs = (n.get_submodule(part.path).state_dict() for n in (network, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    wider = tiny(fields={"video_dim": 9}).model_copy(update={"init": given.init})
    with pytest.raises(UsageError, match="does not fit"):
        begin_with(network_of(wider), wider)
    whole = tmp_path / "whole.safetensors"
    save_checkpoint(other, whole, {})
    from_whole = given.model_copy(update={"init": given.init.model_copy(update={"files": (whole,)})})
    begin_with(network, from_whole)
    assert all(torch.equal(network.state_dict()[n], t) for n, t in other.state_dict().items())
    with pytest.raises(UsageError, match="another network"):
        begin_with(network_of(wider), wider.model_copy(update={"init": from_whole.init}))


def test_a_corpus_of_another_contract_and_words_without_vectors_are_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="prepared for another contract"):
        run(tiny(fields={"resize_px": 20}), corpus, tmp_path / "x.safetensors")
    reads = tiny(network={"variant": "demo", "modalities": ["video", "audio", "text"], "fields": TINY})
    with pytest.raises(UsageError, match="reads words"):
        run(reads, corpus, tmp_path / "x.safetensors")


def test_half_precision_on_a_cpu_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="16-mixed on a CPU"):
        run(tiny(precision="16-mixed"), corpus, tmp_path / "x.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("system", ["rcma", "cav"])
def test_two_processes_train_the_network_that_one_trains(system: str, tmp_path: Path) -> None:
    """Without dropout, whose draws follow the process; batches of 5 are shared unequally.

    Adam divides by the size of the gradient: with its own epsilon it would make rounding as large as any step.
    """
    optimiser = {"learning_rate": 1e-2, "epsilon": 1e-2}
    config = tiny(system, epochs=2, batch=5, fields=NO_DROPOUT[system], optimiser=optimiser)
    lengths = {"train": (168, 168), "validation": (152,)} if system == "cav" else {}
    corpus = toy(tmp_path / "toy", config, **lengths)
    one, two = (trained_by(processes, config, corpus, tmp_path / str(processes)) for processes in (1, 2))
    assert one.provenance["validation_ccc"] == pytest.approx(two.provenance["validation_ccc"], abs=1e-4)
    torch.testing.assert_close(two.model.state_dict(), one.model.state_dict(), rtol=1e-4, atol=1e-5)


def test_the_batch_norm_over_processes_is_torchs_own_where_there_is_one() -> None:
    torch.manual_seed(0)
    own = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    ours = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    ours.load_state_dict(own.state_dict())
    CpuSyncBatchNorm().apply(ours)
    rows = torch.randn(6, 3)
    for _ in range(3):
        gradients = []
        for network in (own, ours):
            network.zero_grad()
            network(rows).square().mul(torch.arange(4)).sum().backward()
            gradients.append(network[0].weight.grad)
        torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-5)
    assert ours.state_dict().keys() == own.state_dict().keys()
    for name, tensor in own.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor)
