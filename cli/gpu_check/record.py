"""What a check on a GPU leaves behind: one JSON file, whose figures name the machine and the state it was in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from affectrt.bundle.errors import UsageError
from affectrt.bundle.modalities import Record
from affectrt.bundle.strict_json import problems_from_validation

from .figures import Findings

__all__ = ["GpuCheck", "Outcome", "check_place", "file_name", "in_words", "is_simulated", "read_check", "save_check"]

FORMAT = "affect-gpu-check"


class Outcome(Record):
    """What became of a step. `absent`: what it looks at is not on this machine, which is no failure."""

    step: str
    status: Literal["passed", "failed", "absent"]
    reason: str = ""
    seconds: Annotated[float, Field(ge=0)]


class GpuCheck(Record):
    """One run: where, in which state, what was tried, what was measured."""

    format: Literal["affect-gpu-check"] = "affect-gpu-check"
    format_version: Literal[1] = 1
    made_at: str
    simulated: bool
    revision: str | None
    settings: dict[str, str]
    machine: dict[str, str]
    gpu: Annotated[str, Field(min_length=1)]
    before: dict[str, str]
    after: dict[str, str]
    outcomes: tuple[Outcome, ...]
    findings: Findings

    @property
    def passed(self) -> bool:
        """Whether every step that could run did what it should, and one could."""
        ran = [outcome for outcome in self.outcomes if outcome.status != "absent"]
        return bool(ran) and all(outcome.status == "passed" for outcome in ran)


def is_simulated(gpu: str) -> bool:
    """Whether a device of this name is one of the tests' doubles."""
    return "fake" in gpu.lower() or "simulated" in gpu.lower()


def file_name(gpu: str, date: str) -> str:
    """Such as `nvidia-h200-gpu-check-2026-11-21.json`."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in gpu.lower())
    slug = "-".join(part for part in kept.split("-") if part)[:40] or "gpu"
    return f"{'simulated-' if is_simulated(gpu) else ''}{slug}-gpu-check-{date}.json"


def check_place(folder: Path, gpu: str) -> None:
    """UsageError when results of a simulated device would come to lie among those of real ones."""
    if is_simulated(gpu) and folder.resolve().parts[-2:] == ("benchmarks", "results"):
        raise UsageError(
            f"the device {gpu!r} is simulated: its figures say nothing about any machine",
            expected="a folder other than benchmarks/results for simulated results",
            fix="scripts/gpu-check.sh --out build/gpu-check/simulated",
        )


def save_check(check: GpuCheck, folder: Path) -> Path:
    """Write `check` into `folder`, whole or not at all; UsageError as `check_place`. Returns the file's path."""
    check_place(folder, check.gpu)
    path = folder / file_name(check.gpu, check.made_at[:10])
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(check.model_dump_json(indent=1) + "\n", encoding="utf-8")
        read_check(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def read_check(path: Path) -> GpuCheck:
    """UsageError with every problem when the file does not follow the format."""
    try:
        check = GpuCheck.model_validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        problems = "; ".join(problems_from_validation(error))
        raise UsageError(f"{path.name} is not the record of a GPU check: {problems}", expected=FORMAT) from None
    if check.simulated != is_simulated(check.gpu):
        raise UsageError(f"{path.name} says simulated: {check.simulated} of {check.gpu!r}", expected="the truth of it")
    return check


def in_words(facts: Mapping[str, str]) -> str:
    """One line."""
    return " · ".join(f"{name} {value}" for name, value in facts.items())
