"""What a segment remembers of one face, or of the voice alone, over time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from .alignment import PlacedFrame
from .crops import CropSpans
from .engines.base import Array
from .estimate import Quality
from .timeline import Features, FeatureTimeline

__all__ = ["VOICE", "Pending", "Shown", "Track"]

VOICE = -1
"""The track of the voice alone, while no face that was found is in view."""


@dataclass
class Shown:
    """The steps that share one span (for video: one frame), and its features once they are known."""

    steps: list[int]
    origin: PlacedFrame | None
    features: Features | None = None


@dataclass
class Track:
    """One life of one track: its features, what its detector said, and how far its estimates have come.

    `until` is the step before which it ends, None while it lives. `queue` is shared with the number's earlier lives.
    """

    number: int
    first_step: int
    next_fusion: int
    video: FeatureTimeline | None
    emitted_until: int
    spans: CropSpans
    queue: deque[Pending]
    last_seen: int
    until: int | None = None
    faces: dict[int, tuple[float, float | None]] = field(default_factory=dict)
    shown: Shown | None = None


@dataclass
class Pending:
    """Estimates that wait for the results of all fusion stages of one run, or were skipped."""

    number: int
    first_step: int
    steps: Sequence[int]
    rows: Sequence[int]
    described: list[tuple[tuple[str, ...], Quality]]
    results: dict[str, Array] = field(default_factory=dict)
    skipped: bool = False
