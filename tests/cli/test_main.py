"""The command line finds verbs lazily and turns every failure into a sentence and an exit code."""

import json
import subprocess
import sys
from types import ModuleType

import pytest

from affectrt.bundle import EngineError, UsageError
from affectrt.cli import main as main_module
from affectrt.cli.main import VERBS, main

HEAVY = ("torch", "onnx", "onnxruntime", "onnxscript", "cv2", "gi", "scipy", "matplotlib")


def replace_verb(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let `affectrt inspect` raise `error`."""

    def inspect() -> None:
        raise error

    module = ModuleType("affectrt.cli.inspect")
    module.inspect = inspect  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_help_of_the_program_and_of_every_verb_loads_nothing_heavy() -> None:
    script = f"""
import contextlib, io, json, sys
from affectrt.cli.main import VERBS, main
told = {{}}
for words in ([], *([verb] for verb in VERBS)):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main([*words, "--help"])
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    told[" ".join(words)] = [code, heavy, "--help" in out.getvalue()]
print(json.dumps(told))
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert told == {words: [0, [], True] for words in ("", *VERBS)}, answer.stderr


def test_help_lists_every_verb_with_its_whole_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for verb, (_, summary) in VERBS.items():
        assert f"  {verb} " in out
        assert summary in out


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Commands:" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "affectrt 0.1.0\n"


@pytest.mark.parametrize("words", [["frobnicate"], ["--nonsense"], ["inspect"], ["inspect", "a.affect", "--nonsense"]])
def test_wrong_use_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "Usage: affectrt" in told.err


@pytest.mark.parametrize(("error", "code"), [(EngineError, 1), (UsageError, 2)])
def test_an_error_says_found_expected_and_fix(
    error: type[EngineError], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace_verb(monkeypatch, error("a frog", expected="a prince", fix="kiss it"))
    assert main(["inspect"]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "affectrt: error: a frog\n  expected: a prince\n  fix:      kiss it\n"


def test_an_error_of_the_models_is_a_message_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of_models = type("CheckpointError", (ValueError,), {"__module__": "affectrt.models.checkpoint"})
    replace_verb(monkeypatch, of_models("x.safetensors is cut short"))
    assert main(["inspect"]) == 1
    assert capsys.readouterr().err == "affectrt: error: x.safetensors is cut short\n"


@pytest.mark.parametrize(
    ("module", "fix"),
    [
        ("torch", "-m pip install 'affectrt[export]'"),
        ("onnx.helper", "-m pip install 'affectrt[export]'"),
        ("pytest_benchmark", "-m pip install 'affectrt[bench]'"),
        ("cv2", "-m pip install 'affectrt'"),
        ("gi", "sudo apt-get install --no-install-recommends python3-gi"),
    ],
)
def test_a_missing_module_is_answered_with_the_command_that_brings_it(
    module: str, fix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace_verb(monkeypatch, ModuleNotFoundError(f"No module named {module!r}", name=module))
    assert main(["inspect"]) == 1
    err = capsys.readouterr().err
    assert f"needs the Python module '{module}'" in err
    assert fix in err


def test_a_bug_is_one_line_and_a_hint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(main_module.TRACEBACK_VARIABLE, raising=False)
    replace_verb(monkeypatch, ZeroDivisionError("division by zero"))
    assert main(["inspect"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("affectrt: error: unexpected ZeroDivisionError: division by zero\n")
    assert "AFFECTRT_TRACEBACK=1" in err
    assert "Traceback" not in err


def test_the_traceback_is_there_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(main_module.TRACEBACK_VARIABLE, "1")
    replace_verb(monkeypatch, ZeroDivisionError("division by zero"))
    assert main(["inspect"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_ctrl_c_exits_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    replace_verb(monkeypatch, KeyboardInterrupt())
    assert main(["inspect"]) == 130
    assert "Traceback" not in capsys.readouterr().err
