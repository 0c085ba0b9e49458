"""The comparison of fusions: what is computed again, what the page says, and whether both can be trusted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gi")
pytest.importorskip("matplotlib")

from affectrt.bundle.errors import AffectError  # noqa: E402
from affectrt.models.sizes import cav_demo_config, demo_config  # noqa: E402
from affectrt.models.systems import SYSTEMS  # noqa: E402
from affectrt.training import fusion_runs, fusion_systems, fusion_table  # noqa: E402
from affectrt.training.fusion_options import OPTIONS, PAPER_RECURSIONS  # noqa: E402
from affectrt.training.fusion_report import page, tables_text  # noqa: E402
from affectrt.training.fusion_results import (  # noqa: E402
    FusionTable,
    Result,
    SystemTable,
    append_result,
    read_results,
    spread,
)
from affectrt.training.fusion_systems import Settings  # noqa: E402
from affectrt.training.fusion_table import main, make_table  # noqa: E402
from affectrt.training.progress import Progress  # noqa: E402
from affectrt.training.recipe import CorpusRecipe, FusionRecipe  # noqa: E402

DOCS = Path(__file__).parents[2] / "docs"
DEMOS = {"rcma": demo_config(), "cav": cav_demo_config()}
QUICK = Settings(systems=("rcma",), seeds=(0, 1), processes=1, quick=True)


class Lines(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    @property
    def trained(self) -> list[str]:
        return [line for line in self.lines if " seed " in line]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only two of RCMA's options, so that a whole run takes a moment."""
    chosen = tuple(o for o in OPTIONS["rcma"] if o.name in ("concatenation", "all-raw-2"))
    monkeypatch.setattr(fusion_table, "OPTIONS", {"rcma": chosen})


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder in which the tiny corpus is drawn and encoded, and which holds no results."""
    folder = tmp_path_factory.mktemp("fusion")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusion_table, "OPTIONS", {"rcma": ()})
        make_table(QUICK, folder, Lines())
    return folder


@pytest.fixture
def fresh(work: Path) -> Path:
    (work / "results.jsonl").unlink(missing_ok=True)
    return work


def figures(table: FusionTable) -> dict[tuple[str, int], Mapping[str, float]]:
    return {(r.option, r.seed): r.ccc for s in table.systems for r in s.results}


@pytest.mark.usefixtures("few")
def test_a_run_that_was_stopped_goes_on_where_it_was_to_the_same_figures(fresh: Path) -> None:
    whole = make_table(QUICK, fresh, Lines())
    store = fresh / "results.jsonl"
    lines = store.read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    store.write_bytes(b"".join(lines[:2]) + lines[2][:40])  # killed while it wrote the third
    rest = Lines()
    resumed = figures(make_table(QUICK, fresh, rest))
    assert resumed == figures(whole)
    assert {tuple(ccc) for ccc in resumed.values()} == {("valence", "arousal")}  # the order of the table's columns
    assert len(rest.trained) == 2
    again = Lines()
    assert figures(make_table(QUICK, fresh, again)) == figures(whole)
    assert again.trained == [] and "4 trainings, 4 of them are there already" in again.lines


@pytest.mark.usefixtures("few")
def test_results_of_other_settings_are_not_mixed_in(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_table(QUICK, fresh, Lines())
    monkeypatch.setattr(fusion_systems, "TINY_FUSION", {**fusion_systems.TINY_FUSION, "learning_rate": 0.01})
    told = Lines()
    second = make_table(QUICK, fresh, told)
    assert len(told.trained) == 4
    assert figures(first).keys() == figures(second).keys() and figures(first) != figures(second)
    identities = [{r.identity for r in t.systems[0].results} for t in (first, second)]
    assert identities[0].isdisjoint(identities[1])
    monkeypatch.undo()


@pytest.mark.usefixtures("few")
def test_two_processes_find_what_one_finds(fresh: Path) -> None:
    alone = make_table(QUICK, fresh, Lines())
    (fresh / "results.jsonl").unlink()
    both = make_table(dataclasses.replace(QUICK, processes=2), fresh, Lines())
    assert figures(both) == figures(alone)


@pytest.mark.usefixtures("few")
def test_the_demo_s_fusion_scores_through_the_session_what_its_windows_score(fresh: Path) -> None:
    results = make_table(QUICK, fresh, Lines()).systems[0].results
    checked = [r for r in results if r.session is not None]
    assert [(r.option, r.seed) for r in checked] == [("all-raw-2", 0)]
    assert checked[0].session == pytest.approx(checked[0].ccc, abs=1e-3)


@pytest.mark.usefixtures("few")
def test_a_score_that_the_session_does_not_confirm_stops_the_run(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion_runs, "streamed_ccc", lambda *given, **named: (0.5, 0.5))
    with pytest.raises(AffectError, match="through the session"):
        make_table(QUICK, fresh, Lines())


def test_the_command_trains_every_option_and_leaves_page_picture_and_results(
    fresh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    given = ["--quick", "--system", "rcma", "--processes", "1", "--work", str(fresh), "--out", str(out)]
    assert main(given) == 0
    assert sorted(path.name for path in out.iterdir()) == ["fusion-table.json", "fusion-table.md", "fusion-table.png"]
    table = FusionTable.model_validate_json((out / "fusion-table.json").read_bytes())
    assert figures(table).keys() == {(o.name, seed) for o in OPTIONS["rcma"] for seed in (0, 1)}
    assert (out / "fusion-table.md").read_text() == page(table)
    assert (out / "fusion-table.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.strip() == tables_text(table).strip()


def test_wrong_use_is_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--processes", "0", "--work", str(tmp_path)]) == 2
    assert "--processes 0" in capsys.readouterr().err


@pytest.mark.parametrize("system", OPTIONS)
def test_every_option_is_another_network_and_one_is_the_demo_s(system: str) -> None:
    options = OPTIONS[system]  # type: ignore[index]
    demo = DEMOS[system]
    configs = [option.network(demo).config.to_dict() for option in options]
    assert all(a != b for at, a in enumerate(configs) for b in configs[:at])
    assert len({option.name for option in options}) == len({option.words for option in options}) == len(options)

    def shapes(network: torch.nn.Module) -> dict[str, torch.Size]:
        return {name: tensor.shape for name, tensor in network.state_dict().items()}

    shipped = [option for option in options if option.shipped]
    assert len(shipped) == 1
    assert shapes(shipped[0].network(demo)) == shapes(SYSTEMS[system][1](demo))


def test_the_paper_s_figures_are_those_of_its_third_table() -> None:
    """Mean of valence and arousal on fold 1 of Aff-Wild2 for l = 1, 2, 3, 4; of CAV's paper there are none."""
    assert dict(PAPER_RECURSIONS) == {1: 0.607, 2: 0.618, 3: 0.629, 4: 0.615}
    beside = {o.name: o.paper for options in OPTIONS.values() for o in options if o.paper is not None}
    assert beside == {"time-map-1": 0.607, "time-map-2": 0.618, "time-map-3": 0.629, "time-map-4": 0.615}


def result(option: str, seed: int, valence: float, arousal: float, system: str = "rcma") -> Result:
    return Result(
        identity=f"{system} {option} {seed}",
        system=system,  # type: ignore[arg-type]
        option=option,
        seed=seed,
        ccc={"valence": valence, "arousal": arousal},
        validation=0.8,
        best_epoch=1,
        parameters=12_345,
        cpu_s=60.0,
    )


def made_up(system: str) -> SystemTable:
    """Concatenation 0.80, 0.82, 0.84 in valence, all else a little less with every row."""
    rows = []
    for at, option in enumerate(OPTIONS[system]):  # type: ignore[index]
        for seed, offset in enumerate((-0.02, 0.0, 0.02)):
            less = 0.0 if option.name == "concatenation" else 0.001 * (at + 1)
            rows.append(result(option.name, seed, 0.82 + offset - less, 0.86 - offset - less, system))
    return SystemTable(
        system=system,  # type: ignore[arg-type]
        checkpoint=f"{system}-demo.safetensors",
        checkpoint_sha256="ab" * 32,
        corpus=CorpusRecipe(seed=1, train=3, validation=2, test=4, seconds=9, frame_px=64),
        corpus_sha256="cd" * 32,
        hop_steps=10 if system == "rcma" else 16,
        described_steps=1 if system == "rcma" else 128,
        fusion=FusionRecipe(epochs=6, batches=30, batch=12, learning_rate=1e-3),
        results=tuple(rows),
    )


def test_a_row_is_the_mean_and_the_sample_deviation_over_the_seeds() -> None:
    results = [
        result("concatenation", seed, v, a) for seed, (v, a) in enumerate([(0.80, 0.6), (0.82, 0.7), (0.9, 0.5)])
    ]
    found = spread(results, "valence")
    assert found.mean == pytest.approx(np.mean([0.80, 0.82, 0.9]))
    assert found.deviation == pytest.approx(np.std([0.80, 0.82, 0.9], ddof=1))
    # the deviation of the means, not the mean of the deviations
    assert spread(results).deviation == pytest.approx(np.std([0.70, 0.76, 0.70], ddof=1))
    assert str(spread(results[:1], "arousal")) == "0.600 ± 0.000"


def test_the_page_puts_every_figure_into_its_row() -> None:
    text = page(FusionTable(seeds=(0, 1, 2), versions={}, systems=(made_up("rcma"), made_up("cav"))))
    rows = {line.split(" | ")[0].strip("| *"): line for line in text.splitlines() if line.startswith("| ")}
    expected = "| concatenation, no attention | 12 345 | 0.820 ± 0.020 | 0.860 ± 0.020 | 0.840 ± 0.000 | not found |"
    assert rows["concatenation, no attention"] == expected
    for layers, figure in PAPER_RECURSIONS.items():
        assert rows[f"time-map, l = {layers}"].endswith(f"| {figure:.3f} |")
    assert all(rows[option.words].endswith("| not found |") for option in OPTIONS["cav"] if not option.shipped)
    plain = " ".join(text.split())
    assert "the paper l = 3 (0.629), 2 (0.618), 4 (0.615), 1 (0.607); `time-map` here l = 1 (0.830), 2 (0.829)" in plain
    assert "a difference of -0.013 to -0.004" in plain  # time-map l = 4 is row 13, others-projected row 4
    assert "the mean annotation of the last 128" in plain
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120


def test_a_line_cut_short_costs_one_result_and_no_more(tmp_path: Path) -> None:
    store = tmp_path / "results.jsonl"
    append_result(store, result("video", 0, 0.6, 0.5))
    append_result(store, result("audio", 0, 0.6, 0.5))
    store.write_bytes(store.read_bytes()[:-20])
    assert [r.option for r in read_results(store, Result).values()] == ["video"]
    append_result(store, result("concatenation", 0, 0.8, 0.8))
    assert [r.option for r in read_results(store, Result).values()] == ["video", "concatenation"]


@pytest.mark.skipif(not (DOCS / "fusion-table.json").exists(), reason="no table has been committed yet")
def test_the_committed_page_is_what_its_results_say_of_the_committed_weights() -> None:
    import hashlib

    import affectrt.models

    table = FusionTable.model_validate(json.loads((DOCS / "fusion-table.json").read_text(encoding="utf-8")))
    assert (DOCS / "fusion-table.md").read_text(encoding="utf-8") == page(table)
    assert table.seeds == (0, 1, 2)
    for system in table.systems:
        weights = Path(affectrt.models.__path__[0]) / "weights" / system.checkpoint
        assert hashlib.sha256(weights.read_bytes()).hexdigest() == system.checkpoint_sha256
        assert {(r.option, r.seed) for r in system.results} == {
            (o.name, s) for o in OPTIONS[system.system] for s in table.seeds
        }
        assert any(r.session == pytest.approx(r.ccc, abs=1e-3) for r in system.results if r.session)
