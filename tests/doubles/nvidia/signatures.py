"""Reads the signature lines that pybind11 writes into docstrings; the rest of a docstring is never kept."""

from __future__ import annotations

import re

__all__ = ["overloads_from_doc", "setter_type_from_doc", "type_from_getter_doc"]

# [name, type, has a default]
Parameter = list[object]

_LINE = re.compile(r"^(?:\d+\. )?(\w+)\((.*)\)(?: -> (.*))?$")
_NUMBERED = re.compile(r"^\s*\d+\. \w+\(")
_PREFIX = re.compile(r"\btensorrt_bindings\.(?:tensorrt\.)?|\bnvinfer1::(?:v_\w+::)?|\bnvonnxparser::")
# C++ names that reach the signatures where a class was bound after its first use.
_ALIASES = {"IParserError": "ParserError"}


def overloads_from_doc(doc: str) -> list[dict[str, object]]:
    """One entry a form: `{"parameters": [[name, type, has default], …] or None for any, "returns": type or None}`."""
    lines = (doc or "").split("\n")
    wanted = [line for line in lines if _NUMBERED.match(line)] if "Overloaded function" in doc else lines[:1]
    return [form for line in wanted if (form := _form(line.strip())) is not None]


def type_from_getter_doc(doc: str) -> str | None:
    found = overloads_from_doc("get" + doc) if doc.startswith("(") else []
    return None if not found else found[0]["returns"]  # type: ignore[return-value]


def setter_type_from_doc(doc: str) -> str | None:
    found = overloads_from_doc("set" + doc) if doc.startswith("(") else []
    parameters = found[0]["parameters"] if found else None
    return parameters[1][1] if isinstance(parameters, list) and len(parameters) == 2 else None


def _form(line: str) -> dict[str, object] | None:
    match = _LINE.match(line)
    if match is None:
        return None
    _, arguments, returns = match.groups()
    parameters: list[Parameter] | None = []
    for part in _split(arguments):
        if part.startswith("*"):
            parameters = None
            break
        declared, _, default = part.partition(" = ")
        name, _, kind = declared.partition(":")
        parameters.append([name.strip(), _plain(kind.strip()), bool(default)])
    return {"parameters": parameters, "returns": _plain(returns) if returns else None}


def _split(arguments: str) -> list[str]:
    """At the commas outside brackets."""
    parts, depth, start = [], 0, 0
    for at, sign in enumerate(arguments):
        depth += (sign in "[(<") - (sign in "])>")
        if sign == "," and depth == 0:
            parts.append(arguments[start:at].strip())
            start = at + 1
    return [*parts, arguments[start:].strip()] if arguments.strip() else []


def _plain(kind: str) -> str:
    kind = _PREFIX.sub("", kind)
    return _ALIASES.get(kind, kind)
