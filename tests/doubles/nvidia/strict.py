"""Builds a module `tensorrt` from a description: what the real bindings refuse, it refuses in the same way.

Unknown attributes, wrong arity, unknown keywords, wrong types and writes to what is read-only end as with pybind11.
What a call means is not here but in the classes that stand behind the facades: see `behaviour`.
"""

from __future__ import annotations

import types
import warnings
from typing import Any, ClassVar

from doubles.nvidia.behaviour import BEHAVIOURS, NotSimulatedError, complete_module
from doubles.nvidia.conversion import Converter, MisfitError
from doubles.nvidia.faults import tensorrt as injected

__all__ = ["build_module"]

Api = dict[str, Any]


def build_module(api: Api) -> types.ModuleType:
    """`api` is what `describe` wrote. The caller puts the module into sys.modules."""
    module = types.ModuleType("tensorrt")
    module.__version__ = api["version"]  # type: ignore[attr-defined]
    named: dict[str, type] = {path: _enumeration(path, values) for path, values in api["enums"].items()}
    converter = Converter(module, named)
    for path in api["classes"]:
        _build_class(path, api, named, converter)
    for path, kind in named.items():
        owner, _, leaf = path.rpartition(".")
        setattr(named[owner] if owner else module, leaf, kind)
    for path, described in api["classes"].items():
        for name, member in described["members"].items():
            if member["kind"] == "alias":
                setattr(named[path], name, named[member["of"]])
            elif member["kind"] == "constant":
                setattr(named[path], name, getattr(named[member["of"][0]], member["of"][1]))
    for name, (owner, leaf) in api["constants"].items():
        setattr(module, name, getattr(named[owner], leaf))
    complete_module(module, api["functions"])
    injected.known = {f"{path}.{name}" for path, kind in api["classes"].items() for name in kind["members"]}
    return module


# --- enumerations -----------------------------------------------------------------------------------------------------


def _enumeration(path: str, values: dict[str, int]) -> type:
    """As pybind11's: no integer, though it turns into one; equal to members of its own kind alone."""
    label = path.rpartition(".")[2]

    class Enumeration:
        __slots__ = ("name", "value")
        __members__: ClassVar[dict[str, Any]] = {}

        def __new__(cls, value: int) -> Any:
            for member in cls.__members__.values():
                if member.value == value:
                    return member
            raise ValueError(f"{value} is no {path}")

        def __int__(self) -> int:
            return self.value

        __index__ = __int__

        def __repr__(self) -> str:
            return f"<{label}.{self.name}: {self.value}>"

        def __str__(self) -> str:
            return f"{label}.{self.name}"

        def __hash__(self) -> int:
            return self.value

        def __eq__(self, other: object) -> bool:
            return type(other) is type(self) and other.value == self.value

    Enumeration.__name__, Enumeration.__qualname__, Enumeration.__module__ = label, path, "tensorrt"
    Enumeration.__members__ = {}
    for name, value in values.items():
        member = object.__new__(Enumeration)
        member.name, member.value = name, value
        Enumeration.__members__[name] = member
        setattr(Enumeration, name, member)
    return Enumeration


# --- classes ----------------------------------------------------------------------------------------------------------


class _Checked(type):
    """pybind11 refuses an object whose class overrides `__init__` without calling the one of the bound class."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__call__(*args, **kwargs)
        if not hasattr(made, "_behind"):
            raise TypeError(f"{cls.__mro__[1].__name__}.__init__() must be called when overriding __init__")
        return made


def _build_class(path: str, api: Api, named: dict[str, type], converter: Converter) -> type:
    if path in named:
        return named[path]
    described = api["classes"][path]
    bases = tuple(_build_class(base, api, named, converter) for base in described["bases"] if base in api["classes"])
    is_buffer = path == "IHostMemory"  # before Python 3.12 only a built-in can lend its memory
    space: dict[str, Any] = {"__module__": "tensorrt", "__qualname__": path}
    if not is_buffer:
        space["__slots__"] = () if bases else ("__weakref__", "_behind")
    else:
        space.update({name: _refusal(path, name) for name in ("__len__", "__getitem__", "__iter__", "__contains__")})
        space.update({"__setattr__": _refuse_unknown, "__bool__": lambda self: True, "__hash__": object.__hash__})
    for name, member in described["members"].items():
        if name in {"__enter__", "__exit__"}:
            space[name] = _enter if name == "__enter__" else _exit
        elif member["kind"] == "method":
            space[name] = _method(path, name, member["overloads"], converter)
        elif member["kind"] == "property":
            space[name] = _property(path, name, member, converter)
    kind = _Checked(path.rpartition(".")[2], bases or ((bytes,) if is_buffer else (object,)), space)
    named[path] = kind
    return kind


def _refusal(path: str, name: str) -> Any:
    def refuse(*_: object) -> Any:
        raise TypeError(f"object of type '{path}' has no {name}")

    return refuse


def _refuse_unknown(self: Any, name: str, value: object) -> None:
    if name not in {"_behind"}:
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
    object.__setattr__(self, name, value)


def _enter(self: Any) -> Any:
    warnings.warn("Context managers for TensorRT types are deprecated.", DeprecationWarning, stacklevel=2)
    return self


def _exit(self: Any, *_: object) -> None:
    return None


def _method(path: str, name: str, overloads: list[dict[str, Any]], converter: Converter) -> Any:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if name == "__init__" and not overloads:
            raise TypeError(f"tensorrt.{path}: No constructor defined!")
        try:
            bound, returns = converter.bind(overloads, args, kwargs)
        except MisfitError as misfit:
            raise TypeError(f"{name}(): incompatible function arguments for {path}: {misfit}") from None
        injected.note(path, name, args, kwargs)
        fails = injected.strikes(f"{path}.{name}")
        if name == "__init__":
            if fails:
                raise TypeError("pybind11::init(): factory function returned nullptr")
            behind = BEHAVIOURS.get(path)
            self._behind = behind(converter.module, **bound) if behind else None
            return None
        return _answer(self, path, name, bound, returns, fails, converter)

    call.__name__, call.__qualname__ = name, f"{path}.{name}"
    return call


def _answer(
    self: Any, path: str, name: str, bound: dict[str, Any], returns: str | None, fails: bool, converter: Converter
) -> Any:
    behind = self._behind
    if fails:
        behind.log_error(f"{path}::{name}: Error Code 1: injected by a test")
        return False if returns == "bool" else None
    function = getattr(behind, name, None)
    if function is None:
        raise NotSimulatedError(f"{path}.{name} is not simulated")
    positional = [value for key, value in bound.items() if key.startswith("arg")]
    named = {key: value for key, value in bound.items() if not key.startswith("arg")}
    return converter.wrap(function(*positional, **named), returns)


def _property(path: str, name: str, member: dict[str, Any], converter: Converter) -> property:
    def get(self: Any) -> Any:
        if not hasattr(type(self._behind), name) and name not in vars(self._behind):
            raise NotSimulatedError(f"{path}.{name} is not simulated")
        return converter.wrap(getattr(self._behind, name), member["type"])

    def set_(self: Any, value: Any) -> None:
        try:
            converted = converter.convert(value, member["set_type"] or "object", allow_none=True)
        except MisfitError as misfit:
            raise TypeError(f"(): incompatible function arguments for {path}.{name}: {misfit}") from None
        injected.note(path, f"{name}=", (value,), {})
        if injected.strikes(f"{path}.{name}"):
            self._behind.log_error(f"{path}::{name}: Error Code 1: injected by a test")
            return
        if not hasattr(type(self._behind), name) and name not in vars(self._behind):
            raise NotSimulatedError(f"{path}.{name} is not simulated")
        setattr(self._behind, name, converted)

    return property(get, set_ if member["settable"] else None)
