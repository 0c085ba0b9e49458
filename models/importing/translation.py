"""Their tensors → ours: renamed, what is dead left out, everything that does not fit told at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..differences import Described, described, differences, listed
from .forms import Form
from .reading import SourceFile

__all__ = ["Dropped", "SourceReport", "translate"]

COUNTER = ".num_batches_tracked"  # of batch norms; files from before torch 0.4.1 have none, and inference needs none
DIRECTION = ".parametrizations.weight.original1"  # of weight norm, whose effective weight is g · v / ‖v‖


@dataclass(frozen=True)
class Dropped:
    """Tensors of a file that are not in the result, and why."""

    label: str
    reason: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class SourceReport:
    """What became of one file. `filled` names what the file lacked and was made up: counters of batches, as 0."""

    file: str
    sha256: str
    form: str
    holds: str
    unwrapped: tuple[str, ...]
    beside: dict[str, str]
    dropped: tuple[Dropped, ...]
    filled: tuple[str, ...]
    notes: tuple[str, ...]


def translate(
    file: SourceFile, form: Form, wanted: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], SourceReport, list[str]]:
    """The part of `wanted` (our whole network's names and shapes) that the file is for, under our names.

    The third is every problem, in the file's names: missing, unexpected, of another shape; where there is none of
    these, numbers with which a network cannot compute. With a problem the first is incomplete.
    """
    expected = {form.theirs(name.removeprefix(form.path)): name for name in wanted if name.startswith(form.path)}
    groups = ((dead, [name for name in dead.names(file.tensors) if name not in expected]) for dead in form.dead)
    dropped = tuple(Dropped(dead.label, dead.reason, tuple(names)) for dead, names in groups if names)
    gone = {name for group in dropped for name in group.names}
    live = {name: tensor for name, tensor in file.tensors.items() if name not in gone}
    filled = tuple(sorted(name for name in expected if name.endswith(COUNTER) and name not in live))
    report = SourceReport(
        file.name, file.sha256, form.name, form.holds, file.unwrapped, file.beside, dropped, filled, form.notes
    )
    problems = differences(
        {name: described(wanted[ours]) for name, ours in expected.items() if name not in filled},
        {name: _as_loaded(tensor) for name, tensor in live.items()},
    )
    problems = problems or _wrong_values(file, form, live, expected)
    if problems:
        return {}, report, problems
    state = {expected[name]: torch.zeros((), dtype=torch.int64) for name in filled}
    # Copies, because tensors of a file may share memory, which would tie weights that are separate.
    state |= {
        ours: live[name].to(wanted[ours].dtype).clone(memory_format=torch.contiguous_format)
        for name, ours in expected.items()
        if name in live
    }
    return state, report, []


def _as_loaded(tensor: Tensor) -> Described:
    """Floating-point numbers of any width become float32."""
    return described(tensor.to("meta", torch.float32) if tensor.is_floating_point() else tensor)


def _wrong_values(file: SourceFile, form: Form, live: Mapping[str, Tensor], expected: Mapping[str, str]) -> list[str]:
    infinite, negative, nowhere, unequal = [], [], [], []
    for name, tensor in live.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.float()).all()):
            infinite.append(name)
        elif name.endswith(".running_var") and bool((tensor < 0).any()):
            negative.append(name)
        elif expected[name].endswith(DIRECTION) and not bool(tensor.flatten(1).any(dim=1).all()):
            nowhere.append(name)
    for dead in form.dead:
        for name in dead.names(file.tensors):
            original = dead.original(name)
            if original is not None and not _same(file.tensors[name], live.get(original)):
                unequal.append(name)
    told = {
        "NaN or infinity in": infinite,
        "a negative variance in": negative,
        "a filter of length 0, which has no direction, in": nowhere,
        "not the copies that they should be:": unequal,
    }
    return [f"{what} {listed(names)}" for what, names in told.items() if names]


def _same(copy: Tensor, original: Tensor | None) -> bool:
    return original is not None and copy.dtype == original.dtype and torch.equal(copy, original)
