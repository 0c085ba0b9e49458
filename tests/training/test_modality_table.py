"""What a missing modality costs: which fusions are compared, with what they are scored, and what the page says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gi")
pytest.importorskip("matplotlib")

import affectrt.models  # noqa: E402
from affectrt.bundle.contract import Contract  # noqa: E402
from affectrt.bundle.errors import AffectError  # noqa: E402
from affectrt.models.cav import Cav  # noqa: E402
from affectrt.models.sizes import cav_demo_config, demo_config, text_demo_config  # noqa: E402
from affectrt.training import fusion_runs  # noqa: E402
from affectrt.training.fit import fit  # noqa: E402
from affectrt.training.fusion_results import append_result, read_results  # noqa: E402
from affectrt.training.fusion_systems import Settings  # noqa: E402
from affectrt.training.modality_report import page, rows  # noqa: E402
from affectrt.training.modality_results import (  # noqa: E402
    ModalityResult,
    ModalitySystem,
    ModalityTable,
    by_seed,
    proper_sets,
    set_name,
)
from affectrt.training.modality_table import MODALITIES, main, make_table, option_of  # noqa: E402
from affectrt.training.progress import Progress  # noqa: E402
from affectrt.training.recipe import CorpusRecipe, FusionRecipe  # noqa: E402
from affectrt.training.train_fusion import Features, FusionTask, streamed_ccc  # noqa: E402

DOCS = Path(__file__).parents[2] / "docs"
DEMOS = {"rcma": demo_config(), "cav": cav_demo_config(), "rcma-text": text_demo_config()}
QUICK = Settings(systems=("rcma",), seeds=(0, 1), processes=1, quick=True)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder in which everything of the tiny RCMA has been trained."""
    folder = tmp_path_factory.mktemp("modality")
    make_table(QUICK, folder, Progress(quiet=True))
    return folder


def test_every_proper_set_of_three_modalities_is_there_once_and_the_larger_ones_first() -> None:
    sets = proper_sets(("video", "audio", "text"))
    assert [len(chosen) for chosen in sets] == [2, 2, 2, 1, 1, 1]
    assert len(set(sets)) == 6 and sets[0] == ("video", "audio") and sets[-1] == ("text",)


@pytest.mark.parametrize("system", MODALITIES)
def test_a_fusion_of_a_set_encodes_just_these_and_that_of_all_is_the_demo_s(system: str) -> None:
    everything = MODALITIES[system]  # type: ignore[index]
    for chosen in (everything, *proper_sets(everything)):
        option = option_of(system, chosen)  # type: ignore[arg-type]
        network = option.network(DEMOS[system])
        assert tuple(network.encoders) == chosen and option.name == set_name(chosen)
        assert option.shipped == (chosen == everything) == (network.config == DEMOS[system])


def test_all_that_is_asked_for_is_trained_and_scored_with_every_set(work: Path) -> None:
    (system,) = make_table(QUICK, work, Progress(quiet=True)).systems
    trained = {(r.option, r.drop_modality, r.seed) for r in system.results}
    wanted = [("video+audio", 0.15), ("video+audio", 0.0), ("video", 0.0), ("audio", 0.0)]
    assert trained == {(*pair, seed) for pair in wanted for seed in (0, 1)} and len(system.results) == 8
    for result in (*system.without, *system.dropped):
        assert set(result.given) == {"video", "audio"} and list(result.ccc) == ["valence", "arousal"]
    for one, other in zip(system.without, system.dropped, strict=True):
        assert one.given != other.given and one.ccc != other.ccc, "with the recipe's dropout another fusion is trained"
        assert one.given["video"] != one.given["audio"] != one.ccc


def test_the_session_without_a_modality_scores_what_its_windows_score(work: Path) -> None:
    (system,) = make_table(QUICK, work, Progress(quiet=True)).systems
    played = [r for r in system.results if r.session is not None]
    assert [(r.option, r.drop_modality, r.seed) for r in played] == [("video+audio", 0.15, 0)]
    assert played[0].session == pytest.approx(played[0].ccc, abs=1e-6)
    assert set(played[0].played) == {"video", "audio"}
    for name, session in played[0].played.items():
        assert session == pytest.approx(played[0].given[name], abs=1e-6)


def test_a_score_of_a_set_that_the_session_does_not_confirm_stops_the_run(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(*given: object, without: Sequence[str] = ()) -> tuple[float, ...]:
        """Leaves no modality out, whatever it is told."""
        return streamed_ccc(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(fusion_runs, "streamed_ccc", deaf)
    kept = (work / "results.jsonl").read_bytes()
    (work / "results.jsonl").unlink()
    try:
        with pytest.raises(AffectError, match=r"rcma video\+audio, video: CCC .* through the session"):
            make_table(QUICK, work, Progress(quiet=True))
    finally:
        (work / "results.jsonl").write_bytes(kept)


def _recording(seed: int, contract: Contract) -> Features:
    """A slow path, which every modality shows with noise of its own."""
    rng = np.random.default_rng(seed)
    steps = np.arange(1200)[:, None] / 25
    truth = np.sin(steps * rng.uniform(0.3, 0.9, 2) + rng.uniform(0, 6, 2)).astype(np.float32)
    variants = {}
    for at, (name, modality) in enumerate(contract.modalities.items()):
        shown = np.random.default_rng(100 + at).normal(size=(2, modality.feature_dim))
        noise = rng.normal(size=(len(truth), modality.feature_dim))
        variants[name] = [(truth @ shown + noise).astype(np.float32)]
    return Features(variants, truth)


def test_a_fusion_that_learnt_without_some_modalities_is_worth_more_when_one_is_missing() -> None:
    contract = Contract.model_validate(Cav(cav_demo_config()).contract())
    train, test = ([_recording(seed, contract) for seed in seeds] for seeds in (range(6), range(6, 9)))
    lost: dict[float, float] = {}
    for drop in (0.0, 0.3):
        recipe = FusionRecipe(epochs=1, batches=60, batch=32, learning_rate=3e-3, drop_modality=drop, grid_steps=4)
        torch.manual_seed(0)
        task = FusionTask(Cav(cav_demo_config()).fusion_modules(), contract, train, test, recipe)
        fit(task, recipe, (0, 9))
        missing = [streamed_ccc(task.module, contract, test, without=[name]) for name in contract.modalities]
        lost[drop] = 1 - float(np.mean(missing))
    assert lost[0.3] < 0.7 * lost[0.0], lost


def _result(option: str, drop: float, seed: int, ccc: float, given: Mapping[str, float]) -> ModalityResult:
    def both(value: float) -> dict[str, float]:
        return {"valence": value + 0.01 * seed, "arousal": value - 0.1 + 0.01 * seed}

    checked = drop > 0 and seed == 0
    return ModalityResult(
        identity=f"{option} {drop} {seed}",
        system="rcma",
        option=option,
        seed=seed,
        ccc=both(ccc),
        session=both(ccc) if checked else None,
        validation=0.8,
        best_epoch=1,
        parameters=1234,
        cpu_s=60.0,
        drop_modality=drop,
        given={name: both(value) for name, value in given.items()},
        played={name: both(value + 2e-5) for name, value in given.items()} if checked else {},
    )


def _made_up() -> ModalityTable:
    results = [
        result
        for seed in (0, 1, 2)
        for result in (
            _result("video+audio", 0.2, seed, 0.84, {"video": 0.7, "audio": 0.6}),
            _result("video+audio", 0.0, seed, 0.85, {"video": 0.6, "audio": 0.4}),
            _result("video", 0.0, seed, 0.75, {}),
            _result("audio", 0.0, seed, 0.65, {}),
        )
    ]
    system = ModalitySystem(
        system="rcma",
        checkpoint="rcma-demo.safetensors",
        checkpoint_sha256="ab" * 32,
        corpus=CorpusRecipe(seed=1, train=3, validation=2, test=4, seconds=9, frame_px=64),
        corpus_sha256="cd" * 32,
        hop_steps=10,
        described_steps=1,
        fusion=FusionRecipe(epochs=6, batches=30, batch=12, learning_rate=1e-3, drop_modality=0.2),
        results=tuple(results),
    )
    return ModalityTable(seeds=(0, 1, 2), versions={}, systems=(system,))


def test_the_page_says_what_dropout_costs_and_what_it_gives_back() -> None:
    lines = page(_made_up()).splitlines()
    assert "| video and audio | 0.810 ± 0.010 | 0.800 ± 0.010 | -0.010 ± 0.000 | – |" in lines
    assert "| video | 0.560 ± 0.010 | 0.660 ± 0.010 | +0.100 ± 0.000 | 0.710 ± 0.010 |" in lines
    outputs = "0.410 ± 0.010 | 0.610 ± 0.010 | 0.660 ± 0.010 | 0.310 ± 0.010 | 0.510 ± 0.010 | 0.560 ± 0.010"
    assert f"| audio | {outputs} |" in lines
    text = " ".join(page(_made_up()).split())
    assert "dropout changes the mean CCC by -0.010 (-0.010, -0.010, -0.010 by seed)" in text
    assert "by +0.150 in the mean over the 2 sets, from +0.100 (video given) to +0.200 (audio given)" in text
    assert "is better by 0.200 in the mean than one trained without dropout, and by 0.050 than one trained with" in text
    assert "in these 3 cases its CCC differs from the one here by 2e-05 at most" in text
    assert "with dropout 40% of the windows lose one modality" in text
    assert max(len(line) for line in lines if not line.startswith("|")) <= 120
    assert "+0.200 ± 0.000" in rows(_made_up())


def test_results_of_other_tables_in_the_same_folder_are_left_alone(tmp_path: Path) -> None:
    store, result = tmp_path / "results.jsonl", _result("video", 0.0, 0, 0.75, {})
    plain = type(result).__base__
    append_result(store, plain(**result.model_dump(exclude={"drop_modality", "given", "played"})))
    assert not read_results(store, ModalityResult)
    append_result(store, result)
    assert list(read_results(store, ModalityResult).values()) == [result]


def test_the_command_makes_page_picture_and_results_of_what_is_there(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--quick", "--system", "rcma", "--processes", "1", "--work", str(work), "--out", str(tmp_path)]
    assert main(given) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"modality-table.{end}" for end in ("json", "md", "png")
    ]
    table = ModalityTable.model_validate_json((tmp_path / "modality-table.json").read_bytes())
    assert (tmp_path / "modality-table.md").read_text(encoding="utf-8") == page(table)
    assert (tmp_path / "modality-table.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.strip() == rows(table).strip()


def test_wrong_use_is_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--processes", "0", "--work", str(tmp_path)]) == 2
    assert "modality-table: error: --processes 0" in capsys.readouterr().err


@pytest.mark.skipif(not (DOCS / "modality-table.json").exists(), reason="no table has been committed yet")
def test_the_committed_page_is_what_its_results_say_of_the_committed_weights() -> None:
    table = ModalityTable.model_validate_json((DOCS / "modality-table.json").read_bytes())
    assert (DOCS / "modality-table.md").read_text(encoding="utf-8") == page(table)
    assert table.seeds == (0, 1, 2) and [s.system for s in table.systems] == list(MODALITIES)
    for system in table.systems:
        weights = Path(affectrt.models.__path__[0]) / "weights" / system.checkpoint
        assert hashlib.sha256(weights.read_bytes()).hexdigest() == system.checkpoint_sha256
        assert system.modalities == MODALITIES[system.system]
        assert len(system.without) == len(system.dropped) == 3
        for name in system.sets[1:]:
            assert len(system.alone(name)) == 3
        gained = [mean(by_seed(system.dropped, n)) - mean(by_seed(system.without, n)) for n in system.sets[1:]]
        assert mean(gained) > 0, "modality dropout gives something back where something is missing"
