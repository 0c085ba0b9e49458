"""One thing that was looked at on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Tier"]

Tier = Literal["runtime", "live", "text", "demo", "export", "train", "bench", "cpu", "accelerator", "trap"]


@dataclass(frozen=True)
class Finding:
    """`fix`: the command, or what to do. `required`: without it estimates of a file, the runtime tier, do not work."""

    tier: Tier
    name: str
    ok: bool
    found: str
    fix: str | None = None
    required: bool = False
