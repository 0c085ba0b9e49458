"""`python -m affectrt.cli.gpu_check`: 0 when every step that could run passed, 1 otherwise, 2 for wrong use."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from affectrt.bundle.errors import AffectError, EngineError

from .bundles import make_bundles, make_paper_bundles
from .check import WORK, run_check
from .parts import fetch_parts
from .record import check_place, save_check
from .state import first_gpu
from .steps import Absent, Collector, Settings, answer
from .table import outcome_line, print_check

__all__ = ["main"]

RESULTS = Path("benchmarks/results")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"  # as pip names it


def gpu_check(
    bundle: Annotated[
        list[Path] | None, typer.Option(help="A bundle; again for more.", show_default="the demos'")
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="To judge bundles on.", show_default="the one that was made")
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="Bundles of the papers' size too.")] = False,
    seconds: Annotated[float, typer.Option(min=0, help="Seconds to time each case, at least.")] = 1.0,
    warmups: Annotated[int, typer.Option(min=1, help="Calls before timing.")] = 200,
    calls: Annotated[int, typer.Option(min=1, help="Calls to time, at least.")] = 200,
    limit: Annotated[float, typer.Option(min=1, help="Seconds after which a step is given up.")] = 900.0,
    out: Annotated[Path, typer.Option(help="Folder for the JSON file.")] = RESULTS,
    work: Annotated[Path, typer.Option(help="Folder for what is built and fetched.")] = Path("build/gpu-check"),
    fetch: Annotated[
        bool,
        typer.Option("--fetch", help="No check: download and make here what a machine without network will need."),
    ] = False,
    fetch_python: Annotated[str, typer.Option(help="That machine's Python.")] = PYTHON,
    fetch_machine: Annotated[str, typer.Option(help="That machine's processor.")] = platform.machine(),
    fetch_cuda: Annotated[int, typer.Option(help="That machine's CUDA; 12 with JetPack 6.")] = 13,
) -> None:
    """Everything real on a machine with an NVIDIA GPU.

    Facts, PyCUDA's and cuda-bindings' memory and capture, bandwidth, matrix peak; then TensorRT engines, ONNX Runtime's
    CUDA provider and PyTorch, as far as each is here. Figures go into one JSON file in benchmarks/results.
    """
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=160)
    settings = Settings(
        work=str(work),
        bundles=tuple(str(path) for path in bundle or ()),
        corpus=None if corpus is None else str(corpus),
        seconds=seconds,
        warmups=warmups,
        calls=calls,
        limit_s=limit,
    )
    if fetch:
        fetch_parts(work, python=fetch_python, machine=fetch_machine, cuda=fetch_cuda)
        _fetch_bundles(settings, paper)
        console.print(f"bring {work} to the machine with the GPU, into the same place of a checkout", markup=False)
        return
    gpu = first_gpu()
    if gpu is None:
        raise EngineError(
            "there is no NVIDIA GPU that CUDA's driver (libcuda.so.1) can use, so nothing was checked",
            expected="a machine with an NVIDIA GPU and its driver",
            fix="on a machine with a GPU: make gpu-check; here: affectrt doctor",
        )
    check_place(out, gpu)
    with Console(stderr=True).status("") as status:
        check = run_check(
            settings,
            gpu,
            paper_bundles=paper,
            tell=lambda outcome: console.print(outcome_line(outcome), markup=False, soft_wrap=True),
            begin=lambda name: status.update(escape(name)),
        )
    print_check(check, console)
    console.print(f"\nsaved {save_check(check, out)}", markup=False)
    raise typer.Exit(0 if check.passed else 1)


def _fetch_bundles(settings: Settings, paper: bool) -> None:
    """The check goes without them, but without TensorRT engines too."""
    made = Collector()
    try:
        make_bundles(made, settings)
        if paper:
            make_paper_bundles(made, settings)
    except Absent as missing:
        raise EngineError(
            f"everything was fetched, but {missing}", expected="an installation of everything", fix="make setup"
        ) from None


def main(argv: list[str] | None = None) -> int:
    """Run one command line; errors become messages."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--child"]:
        _, kind, asked, told = arguments
        answer(WORK[kind], Path(asked), Path(told))
        sys.stdout.flush()
        # Libraries that crash while they are unloaded would turn a step that passed into one that failed.
        os._exit(0)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(gpu_check)
    try:
        typer.main.get_command(app).main(args=arguments, prog_name="gpu-check")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return 130
    except AffectError as error:
        print(f"gpu-check: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
