"""What a segment remembers of one face over time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from .alignment import PlacedFrame
from .crops import CropSpans
from .engines.base import Array
from .estimate import Quality
from .timeline import Features, FeatureTimeline

__all__ = ["Pending", "Shown", "Track"]


@dataclass
class Shown:
    """The steps that share one span (for video: one frame), and its features once they are known."""

    steps: list[int]
    origin: PlacedFrame | None
    features: Features | None = None


@dataclass
class Track:
    """One face over time: its features, what its detector said, and how far its estimates have come."""

    number: int
    first_step: int
    next_fusion: int
    video: FeatureTimeline | None
    emitted_until: int
    spans: CropSpans
    faces: dict[int, tuple[float, float | None]] = field(default_factory=dict)
    shown: Shown | None = None
    queue: deque[Pending] = field(default_factory=deque)


@dataclass
class Pending:
    """Estimates that wait for the results of all fusion stages of one run."""

    track: Track
    steps: range
    rows: Sequence[int]
    described: list[tuple[tuple[str, ...], Quality]]
    results: dict[str, Array] = field(default_factory=dict)
