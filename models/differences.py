"""What distinguishes the tensors of a file from those of a network, told whole and in one order."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

__all__ = ["Described", "described", "differences", "listed"]

# Type as safetensors names it, then the shape; None for what is no tensor at all.
Described = tuple[str | None, list[int] | None]

TYPES = {torch.float32: "F32", torch.int64: "I64"}


def described(tensor: Tensor) -> Described:
    return TYPES.get(tensor.dtype, str(tensor.dtype)), list(tensor.shape)


def differences(wanted: Mapping[str, Described], found: Mapping[str, Described]) -> list[str]:
    """One line for all missing names, one for all unexpected ones, one for each other type or shape; sorted."""
    lines = []
    if missing := set(wanted) - set(found):
        lines.append(f"missing: {listed(missing)}")
    if unexpected := set(found) - set(wanted):
        lines.append(f"unexpected: {listed(unexpected)}")
    lines += [
        f"{name} is {found[name][0]} {found[name][1]}, not {wanted[name][0]} {wanted[name][1]}"
        for name in sorted(set(wanted) & set(found))
        if found[name] != wanted[name]
    ]
    return lines


def listed(names: Collection[str]) -> str:
    """Names for people, sorted. A file chooses its names: what could steer a terminal is shown escaped."""
    return ", ".join(name if name.isprintable() else ascii(name) for name in sorted(names))
