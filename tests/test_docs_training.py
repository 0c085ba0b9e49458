"""docs/training.md: the whole road as it is written there, and its figures are the code's."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from affectrt.cli.main import main
from affectrt.training.prepare import affwild2, recola
from affectrt.training.prepare.folder import COLUMNS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
EXPERIMENT = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As a checkout is, as far as the page needs one."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/weights").symlink_to(ROOT / "models/weights")
    (tmp_path / "my.toml").write_text(EXPERIMENT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_road_from_raw_recordings_to_a_live_run_is_as_it_is_written(folder: Path) -> None:
    pytest.importorskip("lightning")
    assert [words[1] for words in COMMANDS[1:]] == [
        *("prepare", "train", "evaluate", "export", "calibrate", "run", "run")
    ]
    subprocess.run([sys.executable, *COMMANDS[0][1:]], check=True)
    for words in COMMANDS[1:]:
        assert main(words[1:]) == 0, words
    for page in ("prepared.html", "scores.html"):
        assert "<html" in (folder / page).read_text(encoding="utf-8")
    for lines, least in (("out.jsonl", 300), ("live.jsonl", 20)):
        head, *estimates = (folder / lines).read_text(encoding="utf-8").splitlines()
        assert len(estimates) >= least and "affectrt-estimates" in head
        assert {"valence", "arousal"} <= json.loads(estimates[-1]).keys()


def test_the_page_s_experiment_and_configurations_are_understood(folder: Path) -> None:
    pytest.importorskip("torch")
    from affectrt.training.experiments.config import read_config

    config, _ = read_config(folder / "my.toml")
    assert config.features == "cached" and config.protocol == "repaired"
    for path in re.findall(r"training/configs/\S+\.toml", PAGE):
        assert read_config(ROOT / path)[0].init.needs == ("ir50", "vggish")


def test_every_option_that_the_page_names_is_one_of_its_verb(capsys: pytest.CaptureFixture[str]) -> None:
    told = {}
    for verb in ("prepare", "train", "evaluate", "export", "calibrate", "run", "import", "transcribe"):
        assert main([verb, "--help"]) == 0
        told[verb] = capsys.readouterr().out
    lines = re.findall(r"affectrt (\w+) ([^`\n]*)", PAGE)
    assert len(lines) > 12
    for verb, rest in lines:
        for option in re.findall(r"--[a-z][a-z-]*", rest) if verb in told else ():
            assert option in told[verb], (verb, option)
    everything = "".join([*told.values(), (ROOT / "scripts/training-figures.py").read_text(encoding="utf-8")])
    for option in re.findall(r"--[a-z][a-z-]*", PAGE):
        assert option in everything or option == "--logdir", option


def test_layouts_and_figures_of_the_page_are_the_code_s() -> None:
    assert f"{affwild2.MEDIA}/" in PAGE and f"{affwild2.CROPS}/" in PAGE
    assert f"`{','.join(COLUMNS)}`" in PAGE
    for kind, rows in recola.DELAYS.items():
        assert f"{rows} pictures of {kind}" in PAGE or f"{rows} of {kind}" in PAGE
    table = (ROOT / "training/experiments/rules.py").read_text(encoding="utf-8")
    assert len(re.findall(r"^\| \d+ ", table, re.MULTILINE)) == 18 and "eighteen differences" in PAGE


def test_every_field_of_an_experiment_and_its_defaults_are_on_the_page() -> None:
    pytest.importorskip("torch")
    from affectrt.training.experiments.config import _DEFAULTS, ExperimentConfig

    table = PAGE[PAGE.index("## What an experiment says") : PAGE.index("## Encoders that do not learn")]
    told = {
        name for line in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", line)
    }
    assert told == set(ExperimentConfig.model_fields)
    rcma, cav = _DEFAULTS["rcma"], _DEFAULTS["cav"]
    figures = [", ".join(str(of[name]) for name in ("epochs", "batch", "hop")) for of in (rcma, cav)]
    assert f"| {' / '.join(figures)} |" in table


def test_the_page_s_links_exist() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).is_file(), link
