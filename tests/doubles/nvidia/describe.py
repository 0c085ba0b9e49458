"""Writes down the API of the bindings that can be imported here: `python -m doubles.nvidia.describe FILE.json`.

Names, bases, values of enumerations, types of signatures, what may be set. Facts alone: no docstring is kept.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

from doubles.nvidia.signatures import overloads_from_doc, setter_type_from_doc, type_from_getter_doc

_KEPT_SPECIALS = {
    *("__init__", "__getitem__", "__setitem__", "__len__", "__call__", "__iter__", "__bool__", "__eq__", "__str__"),
    *("__repr__", "__enter__", "__exit__"),
}


def describe(module: Any) -> dict[str, Any]:
    """Of every public class and enumeration, nested ones by their dotted names."""
    api: dict[str, Any] = {"version": module.__version__, "enums": {}, "classes": {}, "functions": [], "constants": {}}
    for name, value in sorted(vars(module).items()):
        if name.startswith("_") or inspect.ismodule(value):
            continue
        if inspect.isclass(value):
            _describe_class(api, name, value)
        elif callable(value):
            api["functions"].append(name)
        elif hasattr(type(value), "__members__"):  # trt.float32 = DataType.FLOAT
            api["constants"][name] = [type(value).__qualname__, value.name]
    return api


def _describe_class(api: dict[str, Any], path: str, kind: type) -> None:
    if hasattr(kind, "__members__"):
        api["enums"][path] = {name: int(value) for name, value in kind.__members__.items()}
        return
    members: dict[str, Any] = {}
    for name, value in vars(kind).items():
        if inspect.isclass(value):
            # An alias, as Logger.Severity is of ILogger.Severity, stays an alias.
            if value.__qualname__ == f"{kind.__qualname__}.{name}":
                _describe_class(api, f"{path}.{name}", value)
            else:
                members[name] = {"kind": "alias", "of": value.__qualname__}
        elif isinstance(value, property):
            members[name] = {
                "kind": "property",
                "type": type_from_getter_doc(value.fget.__doc__ or "") if value.fget else None,
                "settable": value.fset is not None,
                "set_type": setter_type_from_doc(value.fset.__doc__ or "") if value.fset else None,
            }
        elif hasattr(type(value), "__members__"):
            members[name] = {"kind": "constant", "of": [type(value).__qualname__, value.name]}
        elif (not name.startswith("_") or name in _KEPT_SPECIALS) and callable(getattr(kind, name)):
            overloads = overloads_from_doc(getattr(kind, name).__doc__ or "")
            members[name] = {"kind": "method", "overloads": overloads}
    bases = [base.__name__ for base in kind.__bases__ if base.__name__ not in {"object", "pybind11_object"}]
    api["classes"][path] = {"bases": bases, "members": members}


if __name__ == "__main__":
    import tensorrt_bindings

    Path(sys.argv[1]).write_text(json.dumps(describe(tensorrt_bindings), indent=1), encoding="utf-8")
