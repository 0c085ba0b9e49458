"""What TensorRT's ONNX parser supports, by version: operators.json, read and checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from affectrt.bundle.errors import UsageError

__all__ = ["TABLES", "Limits", "Operator", "OperatorTable", "tables_for"]

# Oldest first. 10.1 stands for 10.3 of JetPack 6 as well, whose own list is not public.
TABLES = ("10.1", "10.16", "11.1")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Record):
    """What one table allows of an operator; operators.json says what the fields mean."""

    types: str | None = None
    data_input: int | None = 0
    ranks: tuple[int, ...] = ()
    outputs: int | None = None
    constant_inputs: tuple[int, ...] = ()
    absent_inputs: tuple[int, ...] = ()
    zero_inputs: tuple[int, ...] = ()
    input_below: Mapping[int, int] = {}
    static_input: bool = False
    last_axis: int | None = None
    symmetric_pads: bool = False
    same_activations: bool = False
    attributes: Mapping[str, tuple[int | str, ...]] = {}
    attribute_patterns: Mapping[str, str] = {}
    without_attributes: tuple[str, ...] = ()
    instead: str | None = None


class Operator(Limits):
    since: str = TABLES[0]
    refused: str | None = None
    tables: Mapping[str, Limits] = {}


class _Source(_Record):
    opsets: tuple[int, int]
    restates: str
    not_read: str


class _File(_Record):
    about: tuple[str, ...]
    tables: Mapping[str, _Source]
    types: Mapping[str, tuple[str, ...]]
    operators: Mapping[str, Operator]


class OperatorTable:
    """One version's table."""

    def __init__(self, version: str) -> None:
        self.version = version
        file = _read()
        self.opsets = file.tables[version].opsets
        self._file = file

    def why_refused(self, name: str) -> tuple[str, str | None] | None:
        """Why the parser does not take an operator at all, and the way round if one is known; None where it does."""
        operator = self._file.operators.get(name)
        if operator is None:
            return "is in no list of the parser's operators", None
        if operator.refused is not None:
            return operator.refused, operator.instead
        if TABLES.index(operator.since) > TABLES.index(self.version):
            return "is unknown to this version's parser", operator.instead
        return None

    def limits(self, name: str) -> Limits:
        """The limits of an operator that is taken."""
        operator = self._file.operators[name]
        change = operator.tables.get(self.version)
        if change is None:
            return operator
        return operator.model_copy(update={field: getattr(change, field) for field in change.model_fields_set})

    def types(self, limits: Limits) -> tuple[str, ...]:
        return self._file.types[limits.types] if limits.types is not None else ()


def tables_for(tensorrt: str | None) -> tuple[OperatorTable, ...]:
    """Every table, or the newest that is not newer than a version such as 10.3.0.30. Raises UsageError."""
    if tensorrt is None:
        return tuple(OperatorTable(version) for version in TABLES)
    wanted = _numbers(tensorrt)
    older = [version for version in TABLES if wanted and _numbers(version) <= wanted]
    if not older:
        raise UsageError(
            f"TensorRT version {tensorrt!r}",
            expected=f"{TABLES[0]} or newer, as 10.3.0",
            fix="give TensorRT's own version",
        )
    return (OperatorTable(older[-1]),)


def _numbers(version: str) -> tuple[int, ...]:
    """Major and minor; nothing where the text is no version."""
    found = re.fullmatch(r"(\d+)\.(\d+)([.+-].*)?", version.strip())
    return (int(found[1]), int(found[2])) if found else ()


@cache
def _read() -> _File:
    text = Path(__file__).with_name("operators.json").read_text(encoding="utf-8")
    return _File.model_validate(json.loads(text))
