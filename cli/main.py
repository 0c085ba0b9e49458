"""`affectrt VERB …`: finds the verb's module, runs it, and turns errors into messages and exit codes.

Exit codes: 0 fine, 1 failed, 2 wrong use, 130 interrupted.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated, Any, NamedTuple

import typer

from .dependencies import missing_module_fix

__all__ = ["TRACEBACK_VARIABLE", "VERBS", "main"]

TRACEBACK_VARIABLE = "AFFECTRT_TRACEBACK"


class Verb(NamedTuple):
    module: str
    summary: str


# In the order of the data; module M of this room exposes a function M (a function cannot be called `import`).
VERBS: dict[str, Verb] = {
    "demo": Verb("demo", "The whole chain on generated media, then a report page."),
    "transcribe": Verb("transcribe", "Write down what is said in media, with times."),
    "prepare": Verb("prepare", "Turn a corpus's raw files into one to train on."),
    "train": Verb("train", "Train a model on a corpus."),
    "import": Verb("import_", "Turn published weights into a checkpoint."),
    "evaluate": Verb("evaluate", "How well a bundle or checkpoint does on a corpus (CCC)."),
    "export": Verb("export", "Turn a checkpoint into a bundle of ONNX graphs."),
    "calibrate": Verb("calibrate", "Add INT8 and FP16 graphs to a bundle, guarded by CCC."),
    "build": Verb("build", "Make every graph of a bundle executable on this machine."),
    "run": Verb("run", "Valence and arousal of a file or a live source."),
    "assets": Verb("assets", "Fetch what a run may need, such as a face detector."),
    "bench": Verb("bench", "Latency and throughput of a bundle on this machine."),
    "inspect": Verb("inspect", "What is in a bundle."),
    "verify": Verb("verify", "Is a bundle intact, and does every graph run."),
    "doctor": Verb("doctor", "What this machine lacks, and how to get it."),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: `sys.argv`) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # The options before the verb take no value, so the first word that is not an option is the verb.
    verb = next((word for word in arguments if not word.startswith("-")), None)
    try:
        command = typer.main.get_command(_app(verb))
        command.main(args=arguments or ["--help"], prog_name="affectrt")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return _report(error)
    return 0


def _app(verb: str | None) -> typer.Typer:
    """The program with every verb listed, of which only `verb` is loaded."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback()(_root)
    for name, (module, summary) in VERBS.items():
        if name == verb:
            function = getattr(importlib.import_module(f"{__package__}.{module}"), module)
            app.command(name, short_help=summary)(_interruptible(function))
        else:
            app.command(name, help=summary)(_not_loaded)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"affectrt {version('affectrt')}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit."),
    ] = False,
) -> None:
    """Live valence and arousal from face and voice: train, export, quantise, run, measure."""


def _not_loaded() -> None:
    raise AssertionError("a verb that was not on the command line cannot be called")


def _interruptible(function: Callable[..., Any]) -> Callable[..., Any]:
    """Ctrl-C exits with 130 under every version of typer and click, some of which would make it 1."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except KeyboardInterrupt:
            raise SystemExit(130) from None

    return run


def _report(error: Exception) -> int:
    """Print an error to stderr as the user needs it, and return the exit code."""
    from affectrt.bundle.errors import AffectError, MissingDependency  # half a second: pydantic comes along

    told: Exception = error
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        fix = missing_module_fix(error.name)
        if fix is not None:
            told = MissingDependency(f"this command needs the Python module {error.name!r}", fix=fix)
    if os.environ.get(TRACEBACK_VARIABLE, "0") not in {"", "0"}:
        traceback.print_exception(error)
    if isinstance(told, AffectError):
        code, text = told.exit_code, str(told)
    # `models` may import no other room, so its errors are ValueErrors: told apart by where they are defined.
    elif isinstance(told, ValueError) and type(told).__module__.startswith("affectrt."):
        code, text = 1, str(told)
    else:
        code = 1
        text = f"unexpected {type(told).__name__}: {str(told) or 'no message'}"
        text += f"\n  fix:      {TRACEBACK_VARIABLE}=1 shows the traceback; please report it"
    print(f"affectrt: error: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
