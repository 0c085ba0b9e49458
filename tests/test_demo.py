"""The demo: the whole chain on drawn media, everything behind the report kept, nothing left half done."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import affectrt.models
from affectrt.bundle import open_bundle
from affectrt.cli.main import main
from affectrt.training.metrics import ccc

STEP_HZ = 25.0
FILES = {
    "clip.mp4",
    "predictions-fp32.jsonl",
    "predictions-int8.jsonl",
    "rcma-demo.affect",
    "report.html",
    "report.png",
    "summary.json",
    "truth.csv",
}


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from affectrt.models.rcma import Rcma
    from affectrt.models.sizes import demo_config

    return saved(Rcma, demo_config(), tmp_path_factory.mktemp("demo"))


def saved(network: Any, config: Any, folder: Path) -> Path:
    """A checkpoint of the demo's size with random weights: the chain must hold whatever a model has learnt."""
    import torch

    from affectrt.models.checkpoint import save_checkpoint

    torch.manual_seed(0)
    path = folder / "untrained.safetensors"
    provenance = {"recipe": "none", "training_corpus": "none", "licence": "Apache-2.0", "intended_use": "tests"}
    save_checkpoint(network(config).eval(), path, provenance)
    return path


@pytest.fixture(scope="module")
def made(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a short demo leaves."""
    out = tmp_path_factory.mktemp("demo") / "deep" / "demo-out"
    assert main(["demo", "--out", str(out), "--seconds", "6", "--checkpoint", str(untrained), "--threads", "2"]) == 0
    return out


def predictions(path: Path) -> tuple[dict[str, object], list[dict[str, float]]]:
    header, *lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return header, lines


def truth(path: Path) -> np.ndarray:
    """Rows of seconds, valence, arousal."""
    with path.open(encoding="utf-8") as file:
        return np.array([[float(value) for value in row.values()] for row in csv.DictReader(file)])


def test_everything_behind_the_report_is_kept_and_nothing_else(made: Path) -> None:
    assert {p.name for p in made.iterdir()} == FILES
    assert [p.name for p in made.parent.iterdir()] == [made.name]


def test_a_run_stays_small_and_without_torch(made: Path, tmp_path: Path) -> None:
    """The whole process, at demo size: no torch, no onnx, and less than 600 MB at its peak."""
    script = """
import sys
for name in ("torch", "onnx", "onnxscript", "safetensors"):
    sys.modules[name] = None  # an import of it raises
from affectrt.cli.main import main
code = main(sys.argv[1:])
# Not getrusage: its peak is inherited from the process that started this one.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""
    arguments = ["run", str(made / "rcma-demo.affect"), str(made / "clip.mp4"), str(tmp_path / "out.jsonl"), "--quiet"]
    answer = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1 + 6 * STEP_HZ
    assert int(answer.stdout.split()[-1]) < 600_000, f"{answer.stdout} kB"


def test_each_precision_ran_what_its_plan_says(made: Path) -> None:
    bundle = open_bundle(made / "rcma-demo.affect")
    assert set(bundle.precisions()) >= {"fp32", "int8"}
    assert bundle.plan("int8")["video"] == "int8"
    for precision in ("fp32", "int8"):
        header, lines = predictions(made / f"predictions-{precision}.jsonl")
        assert header["precision"] == precision
        assert header["bundle_sha256"] == bundle.fingerprint
        assert len(lines) == 6 * STEP_HZ
    _, fp32 = predictions(made / "predictions-fp32.jsonl")
    _, int8 = predictions(made / "predictions-int8.jsonl")
    assert [row["valence"] for row in fp32] != [row["valence"] for row in int8], "INT8 computed the very same"


def test_summary_is_what_the_files_say(made: Path) -> None:
    summary = json.loads((made / "summary.json").read_text(encoding="utf-8"))
    rows = truth(made / "truth.csv")
    for precision, run in summary["runs"].items():
        _, lines = predictions(made / run["predictions"])
        assert [round(line["t_s"] * STEP_HZ) for line in lines] == [round(t * STEP_HZ) for t in rows[:, 0]]
        for column, name in enumerate(("valence", "arousal"), start=1):
            found = ccc(np.array([line[name] for line in lines]), rows[:, column])
            assert run["ccc"][name] == pytest.approx(found, abs=1e-6), precision
        assert run["times_real_time"] == pytest.approx(6.0 / run["wall_s"])
        assert sum(run["seconds"].values()) <= run["wall_s"]


def test_report_shows_the_summary(made: Path) -> None:
    page = (made / "report.html").read_text(encoding="utf-8")
    summary = json.loads((made / "summary.json").read_text(encoding="utf-8"))
    for run in summary["runs"].values():
        assert f"{run['ccc']['valence']:.3f}".replace("-", "−").replace("−0.000", "0.000") in page
    assert summary["bundle"]["fingerprint"] in page
    assert page.count("data:image/jpeg;base64,") == 9
    assert "Drawn faces, synthetic voice" in page
    assert (made / "report.png").stat().st_size < 200_000
    resources = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", page)
    assert all(r.startswith(("data:", "#")) for r in resources)


@pytest.mark.slow
def test_means_over_windows_are_compared_with_means_of_the_truth(tmp_path: Path) -> None:
    """CAV: an estimate every 16 steps, each of the mean over the 128 steps up to its own, or what there is of them."""
    from affectrt.models.cav import Cav
    from affectrt.models.sizes import cav_demo_config

    out = tmp_path / "demo-out"
    words = ["--seconds", "6", "--threads", "2", "--checkpoint", str(saved(Cav, cav_demo_config(), tmp_path))]
    assert main(["demo", "--out", str(out), *words]) == 0
    assert {p.name for p in out.iterdir()} == {*FILES, "cav-demo.affect"} - {"rcma-demo.affect"}
    drawn = truth(out / "truth.csv")[:, 1:]
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "with an estimate every 0.64 s, each of the mean over the 5.12 s up to its time" in page
    assert "truth (drawn by the generator), mean over 5.12 s" in page
    for run in summary["runs"].values():
        _, lines = predictions(out / run["predictions"])
        steps = [round(line["t_s"] * STEP_HZ) for line in lines]
        assert steps == list(range(15, 150, 16))
        means = np.array([drawn[max(0, step - 127) : step + 1].mean(axis=0) for step in steps])
        for column, name in enumerate(("valence", "arousal")):
            assert run["ccc"][name] == pytest.approx(
                ccc(np.array([x[name] for x in lines]), means[:, column]), abs=1e-6
            )
        assert run["times_real_time"] == pytest.approx(6.0 / run["wall_s"])


def test_a_checkpoint_and_a_system_are_not_both_taken(untrained: Path, tmp_path: Path) -> None:
    words = ["--system", "cav", "--checkpoint", str(untrained), "--out", str(tmp_path / "out")]
    assert main(["demo", *words]) == 2
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_demo_is_replaced_only_on_request(
    made: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (made / "summary.json").read_bytes()
    assert main(["demo", "--out", str(made), "--checkpoint", str(untrained)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (made / "summary.json").read_bytes() == before


def test_a_folder_of_somebody_else_is_never_replaced(
    tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert main(["demo", "--out", str(tmp_path), "--checkpoint", str(untrained), "--overwrite"]) == 2
    assert "not the output of a demo" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_demo_that_fails_leaves_nothing_and_spoils_nothing(made: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a checkpoint")
    out = tmp_path / "demo-out"
    assert main(["demo", "--out", str(out), "--seconds", "4", "--checkpoint", str(broken)]) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["broken.safetensors"]
    before = {p.name: p.stat().st_mtime_ns for p in made.iterdir()}
    assert main(["demo", "--out", str(made), "--seconds", "4", "--checkpoint", str(broken), "--overwrite"]) == 1
    assert {p.name: p.stat().st_mtime_ns for p in made.iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize("system", ["rcma", "cav"])
def test_the_demos_own_checkpoint_follows_the_truth(system: str, tmp_path: Path) -> None:
    """Thresholds well below what training reached: one clip is one draw of a person."""
    if not (Path(affectrt.models.__path__[0]) / "weights" / f"{system}-demo.safetensors").is_file():
        pytest.skip(f"there are no demo weights of {system} yet")
    out = tmp_path / "demo-out"
    assert main(["demo", "--out", str(out), "--system", system]) == 0
    runs = json.loads((out / "summary.json").read_text(encoding="utf-8"))["runs"]
    for name in ("valence", "arousal"):
        assert runs["fp32"]["ccc"][name] > 0.5
        assert runs["int8"]["ccc"][name] > runs["fp32"]["ccc"][name] - 0.03
