"""Every command that a document names exists, with the options it names."""

import re
import shlex
import subprocess
from itertools import dropwhile
from pathlib import Path

import pytest

from affectrt.cli.main import VERBS, main

ROOT = Path(__file__).parent.parent
NAMES = ("README.md", "CONTRIBUTING.md", "bundle/SPEC.md", "docs/live.md", "docs/text.md")
DOCUMENTS = [ROOT / name for name in NAMES if (ROOT / name).is_file()]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def commands(document: Path) -> list[str]:
    """Code of a document that is a command: lines of its fenced blocks, and inline code."""
    text = document.read_text(encoding="utf-8")
    fences = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for fence in fences for line in fence.replace("\\\n", " ").splitlines()]
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [line.strip().removeprefix("$ ") for line in lines + inline]


def words_of(command: str) -> list[str]:
    """The words of a shell command without its comment and leading VARIABLE=value pairs; [] if it is none."""
    try:
        words = shlex.split(command, comments=True)
    except ValueError:  # prose with an apostrophe
        return []
    return list(dropwhile(lambda word: re.match(r"[A-Z_]+=", word), words))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_every_make_target_named_exists(document: Path) -> None:
    parts = [words_of(part) for line in commands(document) for part in re.split(r"&&|;", line)]
    named = {word for words in parts if words[:1] == ["make"] for word in words[1:] if "=" not in word}
    assert named <= TARGETS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_every_verb_and_option_named_exists(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = []
    for line in commands(document):
        program, *words = words_of(line) or [""]
        if Path(program).name != "affectrt" or not words or not words[0].islower() or words[0][0] == "-":
            continue  # another program, an option of the whole, or a placeholder such as VERB
        if words[0] not in VERBS:
            missing.append(line)
            continue
        assert main([words[0], "--help"]) == 0
        known = set(re.findall(r"--[a-z0-9-]+", capsys.readouterr().out))
        given = [word.partition("=")[0] for word in words if word.startswith("--")]
        missing += [f"{line}: {option}" for option in given if option not in known]
    assert missing == []


def test_every_target_of_the_makefile_is_in_its_help() -> None:
    told = subprocess.run(
        ["make", "-C", ROOT, "--no-print-directory", "help"], capture_output=True, text=True, check=True
    )
    assert set(re.findall(r"^  make ([a-z-]+)", told.stdout, re.MULTILINE)) == TARGETS


def test_contributing_describes_every_room() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = {init.parent.name for init in ROOT.glob("*/__init__.py")}
    assert rooms
    for room in rooms:
        assert f"| `{room}/` |" in text
