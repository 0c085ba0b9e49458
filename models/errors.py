"""What a person can do wrong with a model or its file.

ModelError(ValueError)  found, expected, and how to mend it
├── ConfigError         a configuration contradicts itself or a stated limit
└── CheckpointError     a file is not a checkpoint, or not one of this model
"""

from __future__ import annotations

__all__ = ["CheckpointError", "ConfigError", "ModelError"]


class ModelError(ValueError):
    """The same three lines as `affectrt.bundle.errors.AffectError`, which this room may not import."""

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


class ConfigError(ModelError):
    pass


class CheckpointError(ModelError):
    pass
