"""The one value that every sink takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Estimate", "Quality"]


@dataclass(frozen=True, slots=True)
class Quality:
    """What the estimate could see: face side in decoded pixels, detector score in [0, 1], audio heard.

    `frames_dropped` (live only): frames of the stream that were lost for want of time since its estimate before.
    `words_until_s` (with text only): the media time up to which speech had been turned into words when the fusion was
    asked, at most that of the newest step it saw.
    """

    face_px: float | None = None
    face_score: float | None = None
    audio: bool | None = None
    frames_dropped: int | None = None
    words_until_s: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """Valence and arousal of one track at one step, or over the window of steps that ends with it.

    `t_s` is the step's media time. `valence` and `arousal` lie in [-1, 1]; null where the model does not estimate that
    dimension. `modalities` names those with real input at this very step. `warming_up` is true while the track
    is younger than the contract's warm-up. `age_ms` (live only): wall clock at emission minus wall clock at
    capture of the step.
    """

    t_s: float
    valence: float | None
    arousal: float | None
    track: int
    modalities: tuple[str, ...]
    quality: Quality = field(default_factory=Quality)
    warming_up: bool = False
    age_ms: float | None = None
    source: str | None = None

    def as_record(self) -> dict[str, Any]:
        """The estimate as plain data under the names of the JSON Lines format."""
        record = asdict(self)
        record["modalities"] = list(self.modalities)
        return record
