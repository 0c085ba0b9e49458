"""What a documented file holds, in its own names: one `Form` for each kind of file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from ..parts import PARTS

__all__ = ["Dead", "Form", "Refused", "Tensors", "count", "most_say", "renamed", "size"]

Tensors = Mapping[str, Tensor]

MAX_MODULES = 256  # more than any configuration allows; a file may number its modules as it likes


@dataclass(frozen=True)
class Dead:
    """Tensors of a file that its network never uses. `pattern` matches their names from the start.

    `copy_of` is a template for re.sub: they must equal the tensors of these names, which are used.
    """

    label: str
    pattern: str
    reason: str
    copy_of: str | None = None

    def names(self, tensors: Tensors) -> list[str]:
        return sorted(name for name in tensors if re.match(self.pattern, name))

    def original(self, name: str) -> str | None:
        return None if self.copy_of is None else re.sub(self.pattern, self.copy_of, name, count=1)


@dataclass(frozen=True)
class Form:
    """One kind of file. Names are the file's, after `net` and `module.` have been taken off.

    A file is recognised when each of the regular expressions `marks` matches the start of some name and none of
    `unless` does. `fields` reads from the shapes what the configuration says of this file's part; it must come
    through with any tensor missing or of another shape, for the comparison afterwards tells of those. `theirs` maps
    our name, relative to the part (or the whole network, where `part` is None), to the file's.
    """

    name: str
    system: str
    part: str | None
    holds: str
    marks: tuple[str, ...]
    fields: Callable[[Tensors], dict[str, object]]
    theirs: Callable[[str], str]
    training_corpus: str
    unless: tuple[str, ...] = ()
    dead: tuple[Dead, ...] = ()
    notes: tuple[str, ...] = ()
    licence: str | None = None  # what is known of it, where the file itself says nothing

    @property
    def path(self) -> str:
        """Where the file's tensors are in our network; empty for all of it."""
        return "" if self.part is None else PARTS[self.part].path + "."

    def recognises(self, tensors: Tensors) -> bool:
        return _recognises(self.marks, self.unless, tensors)


@dataclass(frozen=True)
class Refused:
    """A kind of file that is known but not read, and why. `marks` and `unless` are those of a `Form`."""

    holds: str
    marks: tuple[str, ...]
    reason: str
    expected: str
    unless: tuple[str, ...] = ()

    def recognises(self, tensors: Tensors) -> bool:
        return _recognises(self.marks, self.unless, tensors)


def _recognises(marks: tuple[str, ...], unless: tuple[str, ...], tensors: Tensors) -> bool:
    def found(pattern: str) -> bool:
        return any(re.match(pattern, name) for name in tensors)

    return all(map(found, marks)) and not any(map(found, unless))


def size(tensors: Tensors, name: str, axis: int, default: int) -> int:
    """One side of a tensor; `default` where it is missing or has no such side."""
    tensor = tensors.get(name)
    return default if tensor is None or tensor.ndim <= axis or not tensor.shape[axis] else int(tensor.shape[axis])


def most_say(tensors: Tensors, axes: Iterable[tuple[str, int]], documented: int) -> int:
    """The side that most of these (name, axis) have; among equals, and where nothing tells, the documented one.

    So a single tensor of a wrong shape is outvoted, and the comparison can blame it alone.
    """
    sides = [size(tensors, name, axis, 0) for name, axis in axes]
    votes = Counter(side for side in sides if side)
    return max(votes, key=lambda side: (votes[side], side == documented), default=documented)


def count(tensors: Tensors, prefix: str) -> int:
    """How many numbered modules follow `prefix`, those included of which every tensor is missing."""
    numbers = (re.match(rf"{re.escape(prefix)}\.(\d{{1,6}})\.", name) for name in tensors)
    return min(MAX_MODULES, max((int(match[1]) + 1 for match in numbers if match), default=0))


def renamed(rules: Mapping[str, str]) -> Callable[[str], str]:
    """A map of names from patterns and their templates for re.sub; the first that matches from the start counts."""

    def theirs(name: str) -> str:
        for pattern, template in rules.items():
            if re.match(pattern, name):
                return re.sub(pattern, template, name, count=1)
        return name

    return theirs
