"""Steps of a check: each says what it found, that it failed, or that what it looks at is not there.

No step hides another: each runs in a process of its own with a time limit, so that a library that crashes or hangs
takes nothing with it but its own figures.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from affectrt.bundle.errors import AffectError, MissingDependency
from affectrt.bundle.modalities import Record

from .figures import Accuracy, Build, Check, Copy, Figure, Findings, Library, MatrixPeak, Parity, Roofline, Timed
from .record import Outcome

__all__ = ["Absent", "Collector", "Done", "Settings", "Step", "environment", "run_in_child", "run_step"]

MODULE = "affectrt.cli.gpu_check"
FIELDS: Mapping[type[Record], str] = {
    Library: "libraries",
    Check: "checks",
    Copy: "copies",
    MatrixPeak: "peaks",
    Build: "builds",
    Parity: "parities",
    Timed: "timed",
    Accuracy: "accuracy",
    Roofline: "rooflines",
}


class Settings(Record):
    """How much is measured. `work`: the folder for what is built; sizes are made small by tests alone."""

    work: str = "build/gpu-check"
    bundles: tuple[str, ...] = ()
    corpus: str | None = None
    seconds: Annotated[float, Field(ge=0)] = 1.0
    warmups: Annotated[int, Field(ge=1)] = 200
    calls: Annotated[int, Field(ge=1)] = 200
    parity_rows: Annotated[int, Field(ge=1)] = 8
    copy_bytes: Annotated[int, Field(ge=1)] = 256 << 20
    matrix_sides: tuple[int, ...] = (4096, 8192)
    paper: bool = True
    limit_s: Annotated[float, Field(gt=0)] = 900.0
    in_process: bool = False

    @property
    def site(self) -> Path:
        """Where packages built for the check lie: never the user's environment."""
        return Path(self.work) / "site"


class Absent(Exception):  # noqa: N818 - the name says what is missing, not that it is an error
    """What a step looks at is not on this machine; the message says what that is."""


class Collector:
    """What a step has found so far. `known`: what earlier steps measured."""

    def __init__(self, known: Findings | None = None) -> None:
        self.known = known or Findings()
        self.problems: list[str] = []
        self.facts: dict[str, str] = {}
        self._figures: dict[str, list[Figure]] = {}

    def add(self, figure: Figure) -> None:
        """Keep a figure; a check or a parity that did not pass is a problem as well."""
        self._figures.setdefault(FIELDS[type(figure)], []).append(figure)
        if isinstance(figure, Check) and not figure.passed:
            self.problems.append(f"{figure.name}: {figure.seen}")
        if isinstance(figure, Parity) and not figure.passed:
            self.problems.append(
                f"{figure.bundle} {figure.stage} {figure.asked} ({figure.variant}) differs from ONNX Runtime by "
                f"{figure.relative:.2g}, more than {figure.tolerance:g}"
            )

    def findings(self) -> Findings:
        return Findings.model_validate(
            {"facts": self.facts, **{name: tuple(figures) for name, figures in self._figures.items()}}
        )


@dataclass(frozen=True)
class Step:
    """`work` fills the collector; what it raises is the step's reason. `arguments`: given to `work` by name."""

    name: str
    work: Callable[..., None]
    arguments: Mapping[str, str]


class Done(Record):
    """A step's outcome and findings, as a child process hands them over."""

    outcome: Outcome
    findings: Findings


class Request(Record):
    """What a child process is asked to do."""

    step: str
    arguments: dict[str, str]
    settings: Settings
    known: Findings


def run_step(step: Step, settings: Settings, known: Findings) -> Done:
    """Do `step` here. Never raises: what was found before a failure is kept."""
    found = Collector(known)
    began = time.perf_counter()
    status, reason = "passed", ""
    try:
        step.work(found, settings, **step.arguments)
    except Absent as missing:
        status, reason = "absent", str(missing)
    except MissingDependency as missing:
        status, reason = "absent", _one_line(missing)
    except AffectError as error:
        status, reason = "failed", _one_line(error)
    except Exception as error:  # first contact with a device: whatever a library throws is this step's reason
        status, reason = "failed", f"{type(error).__name__}: {_one_line(error)}"
    if found.problems:
        status, reason = "failed", "; ".join([*found.problems, *([reason] if reason else [])])
    outcome = Outcome.model_validate(
        {"step": step.name, "status": status, "reason": reason, "seconds": time.perf_counter() - began}
    )
    return Done(outcome=outcome, findings=found.findings())


def run_in_child(step: Step, settings: Settings, known: Findings, *, work: str, module: str = MODULE) -> Done:
    """Do `step` in a process of its own; `work` is the name under which the child finds its function."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="affectrt-gpu-check-") as folder:
        asked, told = Path(folder) / "request.json", Path(folder) / "done.json"
        request = Request(step=step.name, arguments=dict(step.arguments), settings=settings, known=known)
        asked.write_text(request.model_dump_json(), encoding="utf-8")
        command = [sys.executable, "-m", module, "--child", work, str(asked), str(told)]
        # In a session of its own, so that what it starts ends with it.
        child = subprocess.Popen(
            command,
            env=environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _, complaints = child.communicate(timeout=settings.limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            return _lost(step, f"did not end within {settings.limit_s:g} s", began)
        if child.returncode == 0 and told.is_file():
            return Done.model_validate_json(told.read_bytes())
    lines = complaints.decode(errors="replace").strip().splitlines()
    ended = f"exit code {child.returncode}"
    if child.returncode < 0:
        ended = f"killed by {signal.Signals(-child.returncode).name}"
    return _lost(step, f"{ended}: {lines[-1] if lines else 'it said nothing'}", began)


def environment(settings: Settings) -> dict[str, str]:
    """This process's, with the packages built for the check in front."""
    given = dict(os.environ)
    folders = [str(settings.site.resolve()), *filter(None, [given.get("PYTHONPATH")])]
    return {**given, "PYTHONPATH": os.pathsep.join(folders)}


def answer(work: Callable[..., None], asked: Path, told: Path) -> None:
    """In the child: do what `asked` says and write what came of it to `told`."""
    request = Request.model_validate_json(asked.read_bytes())
    done = run_step(Step(request.step, work, request.arguments), request.settings, request.known)
    told.write_text(done.model_dump_json(), encoding="utf-8")


def _lost(step: Step, reason: str, began: float) -> Done:
    outcome = Outcome(step=step.name, status="failed", reason=reason, seconds=time.perf_counter() - began)
    return Done(outcome=outcome, findings=Findings())


def _one_line(error: Any) -> str:
    return " ".join(str(error).split()) or type(error).__name__
