"""What a finder remembers of one face: where it is, how it moves, and when it was last seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..five_point import Points
from .geometry import Geometry, overlap
from .look import Look, likeness
from .yunet import Detection

__all__ = ["KnownFace"]

# A detector's box trembles, optical flow does not but drifts: flow moves the face, detections pull it back, gently.
_PULL_S = 0.1
_LEAST_PULL = 0.35
_FULL_PULL_AT = 0.15  # deviation, in sides of the face, from which a detection is right and flow was wrong
_JUMP_AT = 0.3
_NEAR = 1.5
_VELOCITY_WEIGHT = 0.5
_LOOK_WEIGHT = 0.2
_CLEAR_SHARE = 0.93
_SOON_S = 0.5
_BACK_LIKE, _BACK_SHARE = 0.25, 0.85
_SHOWN_GATE, _LOST_GATE, _SHOWN_RATIO = 0.6, 1.2, 1.6
_HIDDEN_GATE, _GATE_PER_S, _HIDDEN_RATIO = 0.6, 1.2, 1.8


@dataclass(eq=False)
class KnownFace:
    """One person. Times in seconds, places in pixels of the picture that the detector sees.

    `now` is where it is at `at_s`, `drift` how flow moves it, `pull` what is left of the way to the last detection.
    `confirmed_s` is when it was last detected, `clear` and `clear_s` where and when nothing hid a part of it: only then
    are its `velocity`, its `look` and its `usual_score` learnt. `shown`: in view; else it waits where it was going.
    """

    number: int
    now: Geometry
    at_s: float
    confirmed_s: float
    clear: Geometry
    clear_s: float
    score: float
    usual_score: float
    look: Look
    points: Points = field(default_factory=lambda: np.zeros((0, 2)))
    velocity: Points = field(default_factory=lambda: np.zeros(2))
    drift: Points = field(default_factory=lambda: np.zeros(2))
    pull: Points = field(default_factory=lambda: np.zeros((7, 2)))
    shown: bool = True

    @staticmethod
    def born(number: int, found: Detection, look: Look, pts_s: float) -> KnownFace:
        place, score = found.geometry, found.score
        return KnownFace(number, place, pts_s, pts_s, place, pts_s, score, score, look)

    def follow(self, move: tuple[Points, Points], dt_s: float) -> None:
        """Go with the flow from the picture before, and a part of the way to where the last detection was."""
        similarity, self.points = move
        moved = self.now.moved(similarity)
        if dt_s > 0:
            self.drift = (moved.centre - self.now.centre) / dt_s
        part = self.pull * (1 - math.exp(-dt_s / _PULL_S))
        self.now = Geometry(moved.rows + part)
        self.pull = self.pull - part
        self.at_s += dt_s

    def hide(self) -> None:
        self.shown = False
        self.points = np.zeros((0, 2))

    def expected(self, pts_s: float) -> Geometry:
        """Where it should be: as far on as flow had it going, or for a hidden face as its last detections had."""
        if self.shown:
            return self.now.shifted(self.drift * (pts_s - self.at_s))
        return self.clear.shifted(self.velocity * (pts_s - self.clear_s))

    def near(self, place: Geometry, pts_s: float) -> bool:
        """Whether a place is within one and a half faces of where this one should be."""
        return math.dist(self.expected(pts_s).centre.tolist(), place.centre.tolist()) < _NEAR * place.side

    def affinity(self, found: Detection, look: Look, pts_s: float) -> float:
        """How well a detection fits; 0: it cannot be this face. Without flow the gate is wider."""
        place, other = self.expected(pts_s), found.geometry
        ratio = place.side / other.side
        distance = math.dist(place.centre.tolist(), other.centre.tolist()) / math.sqrt(place.side * other.side)
        if self.shown:
            gate, limit = _SHOWN_GATE if len(self.points) else _LOST_GATE, _SHOWN_RATIO
        else:
            gate, limit = _HIDDEN_GATE + _GATE_PER_S * (pts_s - self.clear_s), _HIDDEN_RATIO
        like = likeness(self.look, look)
        # A wrong number is worse than a new one: who was away must be well in view, and look like it.
        back = like >= _BACK_LIKE and found.score >= _BACK_SHARE * self.usual_score
        if distance >= gate or not 1 / limit < ratio < limit or not (self.shown or back):
            return 0.0
        return 1 - distance / gate + overlap(place, other) + like + (1.0 if self.shown else 0.0)

    def confirm(self, found: Detection, look: Look, pts_s: float) -> None:
        """It was detected here."""
        place = found.geometry
        off = place.rows - self.now.rows
        deviation = max(math.hypot(*off[0].tolist()), float(np.abs(off[1]).max())) / place.side
        if not self.shown or not len(self.points) or deviation > _JUMP_AT:
            self.now, self.pull = place, np.zeros_like(off)
        else:
            self.pull = off * min(1.0, max(_LEAST_PULL, deviation / _FULL_PULL_AT))
        if found.score >= _CLEAR_SHARE * self.usual_score:
            self._learn(found, look, pts_s)
        self.confirmed_s = self.at_s = pts_s
        self.score, self.shown = found.score, True

    def _learn(self, found: Detection, look: Look, pts_s: float) -> None:
        since = pts_s - self.clear_s
        if 0 < since <= _SOON_S:  # over a longer way, speed says little of how it moves now
            speed = (found.geometry.centre - self.clear.centre) / since
            self.velocity = self.velocity + _VELOCITY_WEIGHT * (speed - self.velocity)
        self.usual_score += _LOOK_WEIGHT * (found.score - self.usual_score)
        self.look = self.look + np.float32(_LOOK_WEIGHT) * (look - self.look)
        self.clear, self.clear_s = found.geometry, pts_s
