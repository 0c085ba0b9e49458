"""Reading JSON from strangers: bounded, strict, and with reasons that a person can act on.

`json.loads` is too friendly for a file that may have been written by an attacker: it takes the last of two
equal keys, NaN, numbers of any length and any depth. Here each of these is an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

__all__ = ["plain_text", "printable", "problems_from_validation", "value_from_json"]

MAX_DEPTH = 16  # the deepest path of a manifest is contract.fusion.stages[i].outputs[j]: 7 levels
MAX_NUMBER_CHARS = 40  # the longest double in shortest form has 24
MAX_SHOWN_CHARS = 120


def printable(value: object) -> str:
    """`value` for an error message: control characters and lone surrogates escaped, long text cut."""
    text = ascii(value) if not isinstance(value, str) or not value.isprintable() else repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"


def plain_text(text: str) -> str:
    """`text` such as a file's name as it is, or as `printable` has it where strict JSON would not hold it."""
    return text if text.isprintable() else printable(text)


def value_from_json(content: bytes) -> Any:
    """Parse strict UTF-8 JSON; raises ValueError with a sentence that says what is wrong."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8: byte {error.start} is 0x{content[error.start]:02x}") from None
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object_from_pairs,
            parse_constant=_refuse_constant,
            parse_int=_int_from_text,
            parse_float=_float_from_text,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError(f"it nests deeper than {MAX_DEPTH} levels") from None
    _check_tree(value)
    return value


def problems_from_validation(error: ValidationError, whole: str = "manifest") -> list[str]:
    """One line per wrong field: its path (`whole` for all), then the reason, without the validator's own vocabulary."""
    return sorted(_problems(error, whole))


def _problems(error: ValidationError, whole: str) -> Iterator[str]:
    for item in error.errors(include_url=False):
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in item["loc"])
        yield f"{path.lstrip('.') or whole}: {_reason(item)}"


def _key(part: str) -> str:
    return part if part.isidentifier() and part.isascii() else printable(part)


def _reason(item: Any) -> str:
    found, ctx = printable(item.get("input")), item.get("ctx", {})
    kind = item["type"]
    plain = {
        "missing": "is missing",
        "extra_forbidden": "is not a field of this format",
        "string_pattern_mismatch": f"{found} does not have the form {ctx.get('pattern')}",
        "literal_error": f"must be {ctx.get('expected')}, not {found}",
        "greater_than": f"must be more than {ctx.get('gt')}, not {found}",
        "greater_than_equal": f"must be at least {ctx.get('ge')}, not {found}",
        "less_than_equal": f"must be at most {ctx.get('le')}, not {found}",
        "too_short": f"needs at least {ctx.get('min_length')} entries",
        "string_too_short": "must not be empty",
        "string_too_long": f"must have at most {ctx.get('max_length')} characters",
        "int_type": f"must be a whole number, not {found}",
        "float_type": f"must be a number, not {found}",
        "string_type": f"must be text, not {found}",
        "tuple_type": f"must be a list, not {found}",
        "dict_type": f"must be an object, not {found}",
        "model_type": f"must be an object, not {found}",
        "finite_number": "must be finite",
        "value_error": str(ctx.get("error")),
    }
    return plain.get(kind, f"{item['msg']}, not {found}")


def _object_from_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it gives the key {printable(twice)} twice in one object")
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}, which is not a number in JSON")


def _int_from_text(text: str) -> int:
    return int(_bounded(text))


def _float_from_text(text: str) -> float:
    return float(_bounded(text))


def _bounded(text: str) -> str:
    if len(text) > MAX_NUMBER_CHARS:
        raise ValueError(f"it holds a number of {len(text)} characters")
    return text


def _check_tree(root: Any) -> None:
    level = [root]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str) and not value.replace("\n", " ").replace("\t", " ").isprintable():
                raise ValueError(f"it holds text with control characters: {printable(value)}")
        if not below:
            return
        level = below
    raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")
