"""Which values a signature takes, what the code behind a facade gets to see of them, and the way back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

from doubles.nvidia.behaviour import Behaviour

__all__ = ["Converter", "MisfitError"]

_SEQUENCE = re.compile(r"^(?:List|list|collections\.abc\.Sequence)\[(.*)\]$")
_DIMS = {"Dims", "Dims2", "DimsHW", "Dims3", "Dims4"}


class MisfitError(Exception):
    """No form of the function takes these arguments."""


class Converter:
    def __init__(self, module: ModuleType, named: dict[str, type]) -> None:
        self.module = module
        self._named = named

    def bind(
        self, overloads: list[dict[str, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[dict[str, Any], str | None]:
        """The arguments by name, converted, and the declared type of the result; of the first form that fits."""
        problems = []
        for form in overloads:
            if form["parameters"] is None:
                return {f"arg{at}": value for at, value in enumerate(args)} | kwargs, form["returns"]
            try:
                return self._bind_form(form["parameters"][1:], args, kwargs), form["returns"]
            except MisfitError as problem:
                problems.append(str(problem))
        raise MisfitError("; ".join(problems) or "no such form")

    def _bind_form(self, parameters: list[list[Any]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        names = [name for name, _, _ in parameters]
        if len(args) > len(parameters):
            raise MisfitError(f"{len(args)} arguments where {len(parameters)} are taken")
        given = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name not in names or name in given:
                raise MisfitError(f"unexpected keyword {name!r}")
            given[name] = value
        missing = [name for name, _, has_default in parameters if name not in given and not has_default]
        if missing:
            raise MisfitError(f"missing {', '.join(missing)}")
        kinds = {name: (kind, has_default) for name, kind, has_default in parameters}
        return {name: self.convert(value, kinds[name][0], kinds[name][1]) for name, value in given.items()}

    def convert(self, value: Any, kind: str, allow_none: bool = False) -> Any:  # noqa: PLR0911 - one line a type
        """What the code behind gets; raises MisfitError."""
        if value is None and (allow_none or kind in {"None", "object"}):
            return None
        sequence = _SEQUENCE.match(kind)
        if sequence:
            if not isinstance(value, Sequence) or isinstance(value, str | bytes):
                raise MisfitError(f"{value!r} is no {kind}")
            return [self.convert(item, sequence[1]) for item in value]
        if kind in {"int", "typing.SupportsInt"} and _is_integer(value):
            return int(value)
        if kind in {"float", "typing.SupportsFloat"} and (_is_integer(value) or isinstance(value, float)):
            return float(value)
        if kind == "bool" and isinstance(value, bool):
            return value
        if kind == "str" and isinstance(value, str | bytes):
            return value if isinstance(value, str) else value.decode()
        if kind in {"buffer", "typing_extensions.Buffer", "bytes"} and _is_buffer(value):
            return memoryview(value)
        if kind in {"tuple", "list", "slice"} and type(value).__name__ == kind:
            return value
        if kind in {"Iterable", "collections.abc.Iterable"} and isinstance(value, Iterable):
            return list(value)
        if kind == "object":
            return value
        return self._convert_bound(value, kind)

    def _convert_bound(self, value: Any, kind: str) -> Any:
        bound = self._named.get(kind)
        if kind in _DIMS and isinstance(value, tuple | list) and all(_is_integer(size) for size in value):
            return tuple(int(size) for size in value)
        if bound is None or not isinstance(value, bound):
            raise MisfitError(f"{type(value).__name__} {str(value)[:60]!r} is no {kind}")
        if kind in _DIMS:
            return value._behind.sizes
        behind = getattr(value, "_behind", None)
        # Users' own classes (a logger, a progress monitor) go through as they are.
        return behind if isinstance(behind, Behaviour) and type(value) is bound and kind != "ILogger" else value

    def wrap(self, value: Any, kind: str | None) -> Any:
        """What the caller gets: facades for what stands behind one, Dims for sizes."""
        if isinstance(value, Behaviour):
            return value.facade()
        sequence = _SEQUENCE.match(kind or "")
        if sequence and isinstance(value, list):
            return [self.wrap(item, sequence[1]) for item in value]
        if kind in _DIMS and isinstance(value, tuple):
            return self._named[kind](value)
        return value


def _is_integer(value: Any) -> bool:
    return not isinstance(value, float | str | bytes) and (hasattr(value, "__index__") or hasattr(value, "__int__"))


def _is_buffer(value: Any) -> bool:
    try:
        memoryview(value)
    except TypeError:
        return False
    return True
