"""What went wrong, in the user's words.

AffectError            found, expected, and the command that mends it; exit code 1
├── UsageError         the command or its arguments are wrong; exit code 2
├── BundleError        a bundle is damaged, incomplete or of another format
├── MediaError         a source cannot be read as audio or video
├── EngineError        a graph cannot be executed on this machine
├── MissingDependency  an optional package is not installed
└── ParityError        an exported or quantised graph does not compute what its origin computes
"""

from __future__ import annotations

__all__ = [
    "AffectError",
    "BundleError",
    "EngineError",
    "MediaError",
    "MissingDependency",
    "ParityError",
    "UsageError",
    "listed",
]

MAX_PROBLEMS_SHOWN = 20


class AffectError(Exception):
    """An error that a person can act on: what was found, what was expected, and how to mend it."""

    exit_code = 1

    def __init__(self, found: str, *, expected: str | None = None, fix: str | None = None) -> None:
        self.found = found
        self.expected = expected
        self.fix = fix
        super().__init__(found)

    def __str__(self) -> str:
        lines = [self.found]
        if self.expected is not None:
            lines.append(f"  expected: {self.expected}")
        if self.fix is not None:
            lines.append(f"  fix:      {self.fix}")
        return "\n".join(lines)


class UsageError(AffectError):
    exit_code = 2


class BundleError(AffectError):
    pass


class MediaError(AffectError):
    pass


class EngineError(AffectError):
    pass


class MissingDependency(AffectError):
    pass


class ParityError(AffectError):
    pass


def listed(title: str, problems: list[str]) -> str:
    """A title, then one line a problem, as far as a screen takes them."""
    shown = [f"  - {p}" for p in problems[:MAX_PROBLEMS_SHOWN]]
    if len(problems) > MAX_PROBLEMS_SHOWN:
        shown.append(f"  - and {len(problems) - MAX_PROBLEMS_SHOWN} more")
    return "\n".join([f"{title}:", *shown])
