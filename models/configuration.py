"""What the configurations of all networks share: they are checked whole, written as plain data and read back."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from .errors import ConfigError

__all__ = ["MAX_PX", "MAX_STEPS", "MAX_WIDTH", "OUTPUTS", "Config", "choice", "integer", "integers", "names", "number"]

OUTPUTS = ("valence", "arousal")

AnyConfig = TypeVar("AnyConfig", bound="Config")

# Far above any sensible network, far below what exhausts a machine before the weights are read.
MAX_WIDTH = 16_384
MAX_STEPS = 4096
MAX_PX = 1024


@dataclass(frozen=True, kw_only=True)
class Config(ABC):
    """Every hyper-parameter of one network. Making one that contradicts itself raises ConfigError with all mistakes.

    `later`: fields that came after the first files were written. Where one is missing it has its default, which
    therefore never changes, and with its default it is not written.
    """

    later: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        problems = self.problems()
        if problems:
            raise ConfigError(
                f"{len(problems)} mistake(s) in the configuration:\n    " + "\n    ".join(problems),
                expected=f"the fields of affectrt.models.{type(self).__name__}",
                fix="start from a configuration of affectrt.models.sizes",
            )

    @abstractmethod
    def problems(self) -> list[str]:
        """Every rule that is broken, in the order of the fields."""

    def to_dict(self) -> dict[str, object]:
        """Plain data, tuples as lists."""
        usual = {field.name: field.default for field in dataclasses.fields(self) if field.name in self.later}
        data = dataclasses.asdict(self).items()
        return {name: _as_lists(value) for name, value in data if name not in usual or value != usual[name]}

    @classmethod
    def from_dict(cls: type[AnyConfig], data: Mapping[str, object]) -> AnyConfig:
        """The configuration that `to_dict` wrote. ConfigError names every field that is missing or unknown."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown, missing = sorted(set(data) - known), sorted(known - cls.later - set(data))
        if unknown or missing:
            found = [f"unknown {name!r}" for name in unknown] + [f"missing {name!r}" for name in missing]
            raise ConfigError(
                f"fields of the configuration: {', '.join(found)}",
                expected=f"exactly {', '.join(sorted(known))}",
                fix="write the file with the version of affectrt that reads it",
            )
        return cls(**{name: _as_tuples(value) for name, value in data.items()})


def _as_lists(value: object) -> object:
    return [_as_lists(item) for item in value] if isinstance(value, tuple) else value


def _as_tuples(value: object) -> object:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list) else value


def names(field: str, value: object, known: tuple[str, ...]) -> list[str]:
    if isinstance(value, tuple) and value and value == tuple(name for name in known if name in value):
        return []
    return [f"{field} must be one or more of {', '.join(known)}, as a tuple in this order, not {value!r}"]


def choice(field: str, value: object, known: tuple[str, ...]) -> list[str]:
    return [] if isinstance(value, str) and value in known else [f"{field} must be one of {known}, not {value!r}"]


def number(field: str, value: object, low: float, high: float) -> list[str]:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high:
        return []
    return [f"{field} must be a number in [{low:g}, {high:g}], not {value!r}"]


def integer(field: str, value: object, high: int, *, low: int = 1) -> list[str]:
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return []
    return [f"{field} must be an integer in [{low}, {high}], not {value!r}"]


def integers(field: str, value: object, high: int, *, count: int | None = None, most: int = 16) -> list[str]:
    lengths = f"{count}" if count is not None else f"1 to {most}"
    if not isinstance(value, tuple) or not (len(value) == count if count is not None else 1 <= len(value) <= most):
        return [f"{field} must be a tuple of {lengths} integers, not {value!r}"]
    return [problem for index, item in enumerate(value) for problem in integer(f"{field}[{index}]", item, high)]
